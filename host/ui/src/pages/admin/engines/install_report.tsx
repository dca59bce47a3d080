import { useEffect, useState } from "preact/hooks";
import { useResource } from "../../../components/resource.ts";
import { formatDuration } from "../../../format.ts";
import { IconAlert, IconCheck } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { describeEngine } from "./requests.ts";
import { RightList } from "./right_list.tsx";
import { shortDigest } from "./states.ts";
import type { InstallReport } from "./types.ts";

const SECOND_MS = 1_000;

interface InstallProgressProps {
  name: string;
  size: string;
  /** Of the upload; `undefined` while the server compiles. */
  fraction: number | undefined;
  onStop: (() => void) | undefined;
}

/** The upload, then the time that compiling takes. */
export function InstallProgress({ name, size, fraction, onStop }: InstallProgressProps) {
  const elapsed = useElapsed();
  const isUploading = fraction !== undefined;
  return (
    <div class="stack install-progress">
      <p class="wrap">
        <strong dir="auto">{name}</strong> <span class="muted">{size}</span>
      </p>
      <progress max={1} aria-label={t.engines.installation.title} {...(isUploading ? { value: fraction } : {})} />
      <p role="status">{isUploading ? t.engines.installation.uploading : t.engines.installation.compiling}</p>
      <p class="muted">
        {!isUploading && `${t.engines.installation.compilingHint} `}
        {elapsed >= SECOND_MS && t.engines.installation.elapsed(formatDuration(elapsed))}
      </p>
      {onStop && (
        <div class="row end">
          <button type="button" onClick={onStop}>
            {t.engines.installation.cancel}
          </button>
        </div>
      )}
    </div>
  );
}

/** Milliseconds since it was shown first, in whole seconds. */
function useElapsed(): number {
  const [elapsed, setElapsed] = useState(0);
  useEffect(() => {
    const started = Date.now();
    const timer = setInterval(() => setElapsed(Math.floor((Date.now() - started) / SECOND_MS) * SECOND_MS), SECOND_MS);
    return () => clearInterval(timer);
  }, []);
  return elapsed;
}

interface ReportProps {
  report: InstallReport;
  onReview: (name: string) => void;
  onAgain: () => void;
  onClose: () => void;
}

/** What became of the component: what was checked, and what is to be decided. */
export function Report({ report, onReview, onAgain, onClose }: ReportProps) {
  const isParked = report.state === "parked";
  // Of a component that waits, the last step lists its permissions, which are below.
  const steps = isParked && report.new_rights.length > 0 ? report.steps.slice(0, -1) : report.steps;
  const Icon = isParked ? IconAlert : IconCheck;
  return (
    <div class="stack" role="status">
      <p class="install-result">
        <Icon aria-hidden="true" class={isParked ? "warn-icon" : "good"} />
        <strong>{titleOf(report)}</strong>
      </p>
      <h3>{t.engines.installation.steps}</h3>
      <ol class="install-checks">
        {steps.map((step, index) => (
          <li key={index} dir="auto" class="wrap">
            {shortenDigests(step)}
          </li>
        ))}
      </ol>
      {isParked && report.new_rights.length > 0 && (
        <>
          <h3>{t.engines.reviewNew}</h3>
          <div class="scroll-y" tabIndex={0} role="group" aria-label={t.engines.reviewNew}>
            <RightList level={4} rights={report.new_rights.map((right) => ({ right, state: "new" }))} bindings={[]} />
          </div>
        </>
      )}
      {!isParked && <GrantedRights name={report.engine} />}
      <div class="row end">
        <button type="button" class="quiet" onClick={onAgain}>
          {t.engines.installation.again}
        </button>
        {isParked ? (
          <button type="button" class="primary" onClick={() => onReview(report.engine)}>
            {t.engines.review}
          </button>
        ) : (
          <>
            <a class="button" href={`/admin/engines/${encodeURIComponent(report.engine)}`}>
              {t.engines.installation.open}
            </a>
            <button type="button" class="primary" onClick={onClose}>
              {t.engines.installation.close}
            </button>
          </>
        )}
      </div>
    </div>
  );
}

/** What the engine may do now. A new engine serves without a question. */
function GrantedRights({ name }: { name: string }) {
  const engine = useResource((signal) => describeEngine(name, signal), [name]);
  const granted = engine.value?.rights.filter((it) => it.state === "granted") ?? [];
  if (granted.length === 0) return null;
  return (
    <>
      <h3>{t.engines.installation.may}</h3>
      <div class="scroll-y" tabIndex={0} role="group" aria-label={t.engines.installation.may}>
        <RightList level={4} rights={granted} bindings={engine.value?.serving?.bindings ?? []} />
      </div>
    </>
  );
}

function titleOf({ state, engine, version }: InstallReport): string {
  const { installation } = t.engines;
  if (state === "parked") return installation.parked(engine, version);
  return state === "candidate" ? installation.candidate(engine, version) : installation.done(engine, version);
}

/** A whole digest is longer than a line. */
function shortenDigests(text: string): string {
  return text.replace(/\b[0-9a-f]{64}\b/g, (digest) => `${shortDigest(digest)}…`);
}
