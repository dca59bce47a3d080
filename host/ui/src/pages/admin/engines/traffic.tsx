import { get } from "../../../api/client.ts";
import { Empty, Failure } from "../../../components/notice.tsx";
import { useResource } from "../../../components/resource.ts";
import { formatBytes, formatNumber } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { RefusalList } from "../audit/refusal_list.tsx";
import { Section } from "../../../components/section.tsx";
import { trafficOf } from "./series.ts";
import type { EngineDescription, UpstreamFigures } from "./types.ts";

/** Refusals that are shown here. */
const MAX_REFUSALS = 20;

/** What the engine sent and received by upstream, and what it was refused. */
export function Traffic({ engine }: { engine: EngineDescription }) {
  const rows = trafficOf(engine.figures);
  const urls = new Map(engine.serving?.bindings.flatMap((it) => it.upstreams.map((upstream) => [upstream.name, upstream.base_url] as const)));
  return (
    <>
      {rows.length === 0 ? (
        <Empty title={t.engines.traffic.none}>{t.engines.traffic.noneHint}</Empty>
      ) : (
        <>
          <p class="muted">{t.engines.traffic.lead}</p>
          <TrafficTable rows={rows} urls={urls} />
        </>
      )}
      <Refused name={engine.engine.name} />
    </>
  );
}

function TrafficTable({ rows, urls }: { rows: readonly UpstreamFigures[]; urls: ReadonlyMap<string, string | null> }) {
  const { traffic } = t.engines;
  return (
    // On a narrow window the table scrolls, also by keyboard.
    <div class="scroll-x" tabIndex={0} role="group" aria-label={t.engines.tabs.traffic}>
      <table class="traffic">
        <thead>
          <tr>
            <th scope="col">{traffic.upstream}</th>
            <th scope="col" class="number">
              {traffic.requests}
            </th>
            <th scope="col" class="number">
              {traffic.failed}
            </th>
            <th scope="col" class="number wide-only">
              {traffic.sent}
            </th>
            <th scope="col" class="number">
              {traffic.received}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.upstream}>
              <td>
                <strong>{row.upstream ?? traffic.images}</strong>
                <br />
                <small class="wrap">{urls.get(row.upstream ?? "") ?? ""}</small>
              </td>
              <td class="number">{formatNumber(row.requests)}</td>
              <td class={row.failed_requests > 0 ? "number bad-number" : "number muted"}>{formatNumber(row.failed_requests)}</td>
              <td class="number wide-only">{formatBytes(row.sent_bytes)}</td>
              <td class="number">{formatBytes(row.received_bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Refused({ name }: { name: string }) {
  const load = async (signal: AbortSignal) => {
    const { lines } = await get("/api/v1/audit", { query: { engine: name, limit: 1_000 }, signal });
    return lines.filter((it) => it.engine === name && it.job !== "").slice(0, MAX_REFUSALS);
  };
  const refused = useResource(load, [name]);
  const { traffic } = t.engines;
  return (
    <Section title={traffic.refused} hint={traffic.refusedHint}>
      {refused.error !== undefined && <Failure error={refused.error} onRetry={refused.reload} />}
      {refused.value?.length === 0 && <p class="muted">{traffic.noneRefused}</p>}
      {refused.value && refused.value.length > 0 && (
        <>
          <RefusalList refusals={refused.value} />
          <a href={`/admin/audit?engine=${encodeURIComponent(name)}`}>{traffic.inAudit}</a>
        </>
      )}
    </Section>
  );
}
