import { t } from "../../../text/index.ts";
import { codeOf, urlsOf, wordsOf } from "./right_list.tsx";
import { defaultUrls, mostTelling, type ParsedRight } from "./rights.ts";
import { servingVersion } from "./states.ts";
import type { BindingDetails, DeclaredRight, EngineStatus, VersionStatus } from "./types.ts";

/** Permissions that are shown before the review. */
const MAX_SHOWN = 2;

interface DecisionsProps {
  engines: readonly EngineStatus[];
  onReview: (name: string) => void;
}

/** The versions that wait for approval, with what they ask for. */
export function Decisions({ engines, onReview }: DecisionsProps) {
  const waiting = engines.flatMap((engine) => {
    const version = engine.versions.find((it) => it.state === "parked");
    return version ? [{ engine, version }] : [];
  });
  if (waiting.length === 0) return null;
  return (
    <section class="decisions" aria-label={t.engines.decisions}>
      {waiting.map(({ engine, version }) => (
        <Decision key={version.digest} engine={engine} version={version} onReview={() => onReview(engine.name)} />
      ))}
    </section>
  );
}

interface DecisionProps {
  engine: EngineStatus;
  version: VersionStatus;
  /** Known URLs of upstreams. */
  bindings?: readonly BindingDetails[];
  onReview: () => void;
}

export function Decision({ engine, version, bindings = [], onReview }: DecisionProps) {
  const serving = servingVersion(engine);
  return (
    <div class="decision">
      <div>
        <strong dir="auto">{titleOf(engine, version, serving !== undefined)}</strong>
        <p class="muted">
          <Summary rights={version.new_rights} bindings={bindings} /> {serving && t.engines.servesMeanwhile(serving.version)}
        </p>
      </div>
      <button type="button" aria-label={`${t.engines.review}: ${engine.name}`} onClick={onReview}>
        {t.engines.review}
      </button>
    </div>
  );
}

function titleOf(engine: EngineStatus, version: VersionStatus, isUpdate: boolean): string {
  if (!isUpdate) return t.engines.newEngine(engine.name, version.version);
  const { length } = version.new_rights;
  if (length === 0) return t.engines.asksForNothing(engine.name, version.version);
  return t.engines.asksForMore(engine.name, version.version, length);
}

/** The first permissions; requests before anything else, since they say most. */
function Summary({ rights, bindings }: { rights: readonly string[]; bindings: readonly BindingDetails[] }) {
  const declared = rights.map((right): DeclaredRight => ({ right, state: "new" }));
  const urls = { ...defaultUrls(declared), ...urlsOf(bindings) };
  const shown = mostTelling(declared).slice(0, MAX_SHOWN);
  const more = rights.length - shown.length;
  if (rights.length === 0) return <>{t.engines.reviewNothing}</>;
  return (
    <>
      {shown.map((right) => (
        <span key={right.right}>
          {wordsOf(right)}: <code class="wrap">{codeOf(right, urlOf(right, urls)) || right.right}</code>
          {". "}
        </span>
      ))}
      {more > 0 && shown.length > 0 && <span>{t.engines.andMore(more)}</span>}
    </>
  );
}

function urlOf({ parsed }: ParsedRight, urls: Record<string, string>): string | undefined {
  return parsed.kind === "request" ? urls[parsed.upstream] : undefined;
}
