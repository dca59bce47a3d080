import { useState } from "preact/hooks";
import { Failure } from "../../../components/notice.tsx";
import { useAction } from "../../../components/resource.ts";
import { IconPin } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { History } from "./history.tsx";
import { Hosts } from "./hosts.tsx";
import { abort, promote, setPinned } from "./requests.ts";
import { RollbackDialog } from "./rollback_dialog.tsx";
import type { EngineDescription, VersionStatus } from "./types.ts";
import { VersionRow } from "./version_row.tsx";

interface VersionsProps {
  engine: EngineDescription;
  onChange: () => void;
  onReview: () => void;
}

/** The versions of an engine, what can be done with each, and what happened before. */
export function Versions({ engine: { engine, hosts }, onChange, onReview }: VersionsProps) {
  const [chosen, setChosen] = useState<VersionStatus | undefined>();
  const change = useAction(async (action: (name: string) => Promise<unknown>) => {
    await action(engine.name);
    onChange();
  });
  const isRollout = engine.versions.some((it) => it.state === "candidate");
  return (
    <>
      {isRollout && <p class="muted">{t.engines.versions.watchHint}</p>}
      {change.error !== undefined && <Failure error={change.error} />}
      <ul class="version-list">
        {engine.versions.map((version) => (
          <VersionRow
            key={version.digest}
            engine={engine}
            version={version}
            isBusy={change.isRunning}
            onPromote={() => void change.run(promote)}
            onAbort={() => void change.run(abort)}
            onServe={() => setChosen(version)}
            onReview={onReview}
          />
        ))}
      </ul>
      {engine.revision > 0 && (
        <div class="row pin-row">
          <IconPin aria-hidden="true" class={engine.pinned ? "on" : ""} />
          <span class="grow muted">{engine.pinned ? t.engines.versions.pinnedHint : t.engines.versions.pinHint}</span>
          <button type="button" class="small" disabled={change.isRunning} onClick={() => void change.run((name) => setPinned(name, !engine.pinned))}>
            {engine.pinned ? t.engines.versions.unpin : t.engines.versions.pin}
          </button>
        </div>
      )}
      <Hosts hosts={hosts} />
      <History engine={engine} />
      {chosen && <RollbackDialog engine={engine} version={chosen} onDone={onChange} onClose={() => setChosen(undefined)} />}
    </>
  );
}
