import { Failure } from "../../../components/notice.tsx";
import { useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { formatTime } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { Section } from "../../../components/section.tsx";
import { engineHistory } from "./requests.ts";
import { shortDigest } from "./states.ts";
import type { EngineStatus, HistoryEntry } from "./types.ts";

/** What happened to an engine, newest first. */
export function History({ engine }: { engine: EngineStatus }) {
  const states = engine.versions.map((it) => it.state).join(" ");
  const history = useResource((signal) => engineHistory(engine.name, signal), [engine.name, engine.revision, engine.pinned, states]);
  const versions = new Map(engine.versions.map((it) => [it.digest, it.version]));
  return (
    <Section title={t.engines.versions.history}>
      {history.error !== undefined && <Failure error={history.error} onRetry={history.reload} />}
      {!history.value && history.error === undefined && <Skeleton class="row-skeleton" />}
      {history.value?.length === 0 && <p class="muted">{t.engines.versions.noHistory}</p>}
      <ol class="engine-history">
        {history.value?.map((entry, index) => (
          <Entry key={index} entry={entry} version={versions.get(entry.digest)} />
        ))}
      </ol>
    </Section>
  );
}

function Entry({ entry, version }: { entry: HistoryEntry; version: string | undefined }) {
  // Of some events, the reason is only the version again.
  const why = entry.why === version ? "" : entry.why;
  return (
    <li>
      <time class="muted" dateTime={new Date(entry.at * 1_000).toISOString()}>
        {formatTime(entry.at)}
      </time>
      <span class="history-what">{t.engines.versions.events[entry.what] ?? entry.what}</span>
      <span class="history-detail">
        {version} <code title={entry.digest}>{shortDigest(entry.digest)}</code>{" "}
        <span class="muted" dir="auto">
          {t.engines.versions.by(entry.by || t.admin.server)}
        </span>
        {why !== "" && (
          <span class="wrap history-why" dir="auto">
            {why}
          </span>
        )}
      </span>
    </li>
  );
}
