import { useEffect, useState } from "preact/hooks";
import { get } from "../../../api/client.ts";
import { CopyButton } from "../../../components/copy.tsx";
import { Empty } from "../../../components/notice.tsx";
import { useResource } from "../../../components/resource.ts";
import { Section } from "../../../components/section.tsx";
import { formatBytes, formatDuration, formatNumber, formatPercent, formatTime } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { formatJobTime } from "./job_time.ts";
import { Bindings } from "./bindings.tsx";
import { totalsOf, type Totals } from "./series.ts";
import { servingVersion } from "./states.ts";
import type { EngineDescription, ServingComponent } from "./types.ts";

/** What the engine does now and did today, what it can do, and with which settings. */
export function Overview({ engine }: { engine: EngineDescription }) {
  const { serving } = engine;
  const totals = totalsOf(engine.figures, Date.now());
  return (
    <>
      {totals.jobs + totals.running > 0 ? (
        <>
          <Tiles totals={totals} />
          <LazyCharts name={engine.engine.name} jobs={totals.jobs} />
        </>
      ) : (
        <Empty title={t.engines.overview.noJobs}>{t.engines.overview.noJobsHint}</Empty>
      )}
      {totals.failures.length > 0 && <Failures failures={totals.failures} />}
      {serving ? <Serving serving={serving} engine={engine} /> : <p class="muted">{t.engines.overview.notServing}</p>}
    </>
  );
}

function Tiles({ totals }: { totals: Totals }) {
  const { overview } = t.engines;
  const duration = (value: number | undefined) => (value === undefined ? t.admin.none : formatDuration(value));
  const failed = totals.jobs > 0 ? formatPercent(totals.failed / totals.jobs) : t.admin.none;
  return (
    <dl class="figure-tiles">
      <Tile label={overview.running} value={formatNumber(totals.running)} isLive={totals.running > 0} />
      <Tile label={overview.jobs} value={formatNumber(totals.jobs)} />
      <Tile label={overview.failed} value={failed} />
      <Tile label={overview.p50} value={duration(totals.p50_ms)} />
      <Tile label={overview.p99} value={duration(totals.p99_ms)} />
      <Tile label={overview.cpu} value={totals.mean_cpu_ms === undefined ? t.admin.none : formatJobTime(totals.mean_cpu_ms)} />
      <Tile label={overview.memory} value={formatBytes(totals.peak_memory_bytes)} />
    </dl>
  );
}

function Tile({ label, value, isLive = false }: { label: string; value: string; isLive?: boolean }) {
  return (
    <div class="figure-tile">
      <dt>{label}</dt>
      <dd>
        {isLive && <span class="dot live" aria-hidden="true" />}
        {value}
      </dd>
    </div>
  );
}

type ChartsModule = typeof import("./charts.tsx");

/** The charts, whose library is loaded when the first one is shown. */
function LazyCharts(charts: { name: string; jobs: number }) {
  const [module, setModule] = useState<ChartsModule | undefined>();
  useEffect(() => {
    // Without the library the figures are still there.
    import("./charts.tsx").then(setModule, () => undefined);
  }, []);
  return module ? <module.Charts {...charts} /> : <div class="chart-skeleton" aria-hidden="true" />;
}

function Failures({ failures }: { failures: Totals["failures"] }) {
  return (
    <Section title={t.engines.overview.failures}>
      <p class="quiet-line">
        {failures.map(([reason, count]) => (
          <span key={reason}>
            <code>{reason}</code> {formatNumber(count)}
          </span>
        ))}
      </p>
    </Section>
  );
}

function Serving({ serving, engine }: { serving: ServingComponent; engine: EngineDescription }) {
  const { overview } = t.engines;
  const groups = useResource((signal) => get("/api/v1/bindings", { signal }), []);
  const version = servingVersion(engine.engine);
  return (
    <>
      <Section title={overview.can}>
        <ul class="abilities">
          {serving.abilities.map((it) => (
            <li key={it} class="chip">
              {abilityText(it)}
            </li>
          ))}
        </ul>
      </Section>
      <Section title={overview.bindings} hint={overview.bindingsHint}>
        <Bindings bindings={serving.bindings} groups={new Map(groups.value?.bindings.map((it) => [it.name, it.groups ?? []]))} />
      </Section>
      <Section title={overview.component}>
        <dl class="facts">
          <dt>{overview.digest}</dt>
          <dd class="digest">
            <code>{serving.digest}</code>
            <CopyButton text={serving.digest} />
          </dd>
          <dt>{overview.file}</dt>
          <dd dir="auto">{version?.file || overview.uploaded}</dd>
          {version && (
            <>
              <dt>{overview.size}</dt>
              <dd>{formatBytes(version.size_bytes)}</dd>
              <dt>{overview.since}</dt>
              <dd>{formatTime(version.added_at)}</dd>
            </>
          )}
          <dt>{overview.imports}</dt>
          <dd>
            {serving.imports.map((it) => (
              <code key={it} class="import-name">
                {it}
              </code>
            ))}
          </dd>
        </dl>
      </Section>
    </>
  );
}

/** An ability in the language of the page. */
function abilityText(ability: string): string {
  const known = t.engines.abilities[ability];
  if (known !== undefined) return known;
  const count = /^up to (\d+) images per job$/.exec(ability)?.[1];
  if (count !== undefined) return t.engines.abilityCount(count);
  const sources = /^edits up to (\d+) images at once$/.exec(ability)?.[1];
  if (sources !== undefined) return t.engines.abilitySources(sources);
  return ability === "edits one image" ? t.engines.abilityOneSource : ability;
}
