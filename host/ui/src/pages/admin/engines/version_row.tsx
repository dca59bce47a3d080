import type { ComponentChildren } from "preact";
import { CopyButton } from "../../../components/copy.tsx";
import { formatAgo, formatBytes, formatNumber, formatTime } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { Status } from "../../../components/status.tsx";
import { shortDigest, versionState, versionTone } from "./states.ts";
import type { EngineStatus, VersionStatus } from "./types.ts";

interface VersionRowProps {
  engine: EngineStatus;
  version: VersionStatus;
  isBusy: boolean;
  onPromote: () => void;
  onAbort: () => void;
  onServe: () => void;
  onReview: () => void;
}

/** A version: its state, where it is from, what it did, and what can be done with it. */
export function VersionRow({ engine, version, ...actions }: VersionRowProps) {
  const state = versionState(engine, version);
  const { versions } = t.engines;
  const stateText = state === "canary" ? t.engines.canaryShare(engine.percent) : versions.states[state];
  return (
    <li>
      <div class="grow stack tight">
        <span class="row">
          <strong>{version.version}</strong>
          <Status tone={versionTone(state)}>{stateText}</Status>
        </span>
        <span class="quiet-line">
          <span class="digest">
            <code title={version.digest}>{shortDigest(version.digest)}</code>
            <CopyButton text={version.digest} label={`${t.shell.copy}: ${versions.digest}`} />
          </span>
          <span title={formatTime(version.added_at)}>{formatAgo(version.added_at)}</span>
          <span dir="auto">{version.file !== "" ? version.file : versions.by(version.added_by || t.admin.server)}</span>
          <span>{formatBytes(version.size_bytes)}</span>
          {version.jobs !== null && version.jobs > 0 && (
            <span>
              {versions.jobs}: {versions.jobsFailed(formatNumber(version.jobs), formatNumber(version.failed ?? 0))}
            </span>
          )}
        </span>
        {version.reason !== "" && (
          <span class="muted wrap" dir="auto">
            {version.reason}
          </span>
        )}
      </div>
      {(engine.revision > 0 || state === "parked") && <Actions state={state} version={version} {...actions} />}
    </li>
  );
}

type ActionsProps = Omit<VersionRowProps, "engine"> & { state: ReturnType<typeof versionState> };

function Actions({ state, version, isBusy, onPromote, onAbort, onServe, onReview }: ActionsProps): ComponentChildren {
  const { versions } = t.engines;
  if (state === "parked") {
    return (
      <button type="button" class="small" onClick={onReview}>
        {t.engines.review}
      </button>
    );
  }
  if (state === "canary" || state === "watched") {
    return (
      <span class="row">
        <button type="button" class="small danger" title={versions.abortHint} disabled={isBusy} onClick={onAbort}>
          {versions.abort}
        </button>
        <button type="button" class="small" title={versions.promoteHint} disabled={isBusy} onClick={onPromote}>
          {versions.promote}
        </button>
      </span>
    );
  }
  if (state === "retired" || state === "rolled-back" || state === "fallback") {
    return (
      <button type="button" class="small" aria-label={`${versions.serveThis}: ${shortDigest(version.digest)}`} disabled={isBusy} onClick={onServe}>
        {versions.serveThis}
      </button>
    );
  }
  return null;
}
