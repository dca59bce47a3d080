import { Dialog } from "../../../components/dialog.tsx";
import { Failure, Notice } from "../../../components/notice.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { t } from "../../../text/index.ts";
import { reloadEngines } from "../engine_list.ts";
import { abort, describeEngine, grant } from "./requests.ts";
import { RightList } from "./right_list.tsx";
import { servingVersion } from "./states.ts";
import type { EngineDescription, PendingComponent } from "./types.ts";

interface ReviewDialogProps {
  name: string;
  onClose: () => void;
}

/** Shows what a component asks for that waits for approval, and allows or rejects exactly this component. */
export function ReviewDialog({ name, onClose }: ReviewDialogProps) {
  const engine = useResource((signal) => describeEngine(name, signal), [name]);
  const pending = engine.value?.pending;
  const decide = useAction(async (isAllowed: boolean) => {
    if (isAllowed && pending) await grant(name, pending.digest);
    else await abort(name);
    await reloadEngines();
    onClose();
  });
  const foot = pending && (
    <>
      <button type="button" class="danger" disabled={decide.isRunning} onClick={() => void decide.run(false)}>
        {t.engines.reject}
      </button>
      <button type="button" class="primary" disabled={decide.isRunning} onClick={() => void decide.run(true)}>
        {t.engines.allow}
      </button>
    </>
  );
  return (
    <Dialog title={t.engines.reviewTitle(name, pending?.version ?? "")} onClose={onClose} foot={foot} class="review">
      {engine.error !== undefined && <Failure error={engine.error} onRetry={engine.reload} />}
      {!engine.value && engine.error === undefined && <Skeleton class="review-skeleton" />}
      {engine.value && pending && <Review engine={engine.value} pending={pending} />}
      {engine.value && !pending && <p>{t.engines.reviewNothing}</p>}
      {decide.error !== undefined && <Failure error={decide.error} />}
    </Dialog>
  );
}

function Review({ engine, pending }: { engine: EngineDescription; pending: PendingComponent }) {
  const added = engine.rights.filter((it) => it.state === "new");
  const dropped = engine.rights.filter((it) => it.state === "unused");
  const same = engine.rights.filter((it) => it.state === "granted" || it.state === "denied");
  const bindings = engine.serving?.bindings ?? [];
  const serving = servingVersion(engine.engine);
  return (
    <>
      {pending.previous_engine !== "" && <Notice isBad>{t.engines.renamed(pending.previous_engine)}</Notice>}
      {engine.rights.length === 0 && <p>{t.engines.reviewNothing}</p>}
      {added.length > 0 && (
        <section class="stack">
          <h3>{t.engines.reviewNew}</h3>
          <RightList level={4} rights={added} bindings={bindings} />
        </section>
      )}
      {dropped.length > 0 && (
        <section class="stack">
          <h3>{t.engines.reviewDropped}</h3>
          <RightList level={4} rights={dropped} bindings={bindings} />
        </section>
      )}
      {same.length > 0 && (
        <details class="fold">
          <summary>{t.engines.reviewSame(same.length)}</summary>
          <RightList level={4} rights={same} bindings={bindings} />
        </details>
      )}
      <p class="muted wrap">
        {t.engines.reviewBound(pending.digest)} {serving && `${t.engines.servesMeanwhile(serving.version)} ${t.engines.newWatched}`}
      </p>
    </>
  );
}
