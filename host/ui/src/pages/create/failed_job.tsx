import type { Job, UsableEngine } from "../../api/types.ts";
import { Menu } from "../../components/menu.tsx";
import { IconReload } from "../../icons.ts";
import { isAboutSize, showSize, smallerSize } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { recipeOf, type Actions } from "./actions.ts";

interface FailedJobProps {
  job: Job;
  engines: readonly UsableEngine[];
  actions: Actions;
}

/** Why there is no image, and what to do next, where the image would be. */
export function FailedJob({ job, engines, actions }: FailedJobProps) {
  const isStopped = job.state === "cancelled";
  const title = isStopped ? t.create.stopped : job.state === "interrupted" ? t.create.interrupted : t.create.failed;
  const engine = engines.find((it) => it.name === job.binding);
  const canBeSmaller = !isStopped && isAboutSize(`${job.error?.code} ${job.error?.message} ${job.error?.hint}`);
  const smaller = canBeSmaller ? smallerSize(job.request?.size ?? engine?.default_size) : undefined;
  const isEdit = job.operation === "edit";
  const others = engines.filter((it) => it.name !== job.binding && it.is_ready && (!isEdit || it.abilities.edit));
  return (
    <div class={isStopped ? "trouble failed-job stopped" : "trouble failed-job"} role={isStopped ? "status" : "alert"}>
      <strong>{title}</strong>
      {job.error && (
        <p class="failed-message" dir="auto">
          {job.error.message}
        </p>
      )}
      {job.error?.hint && (
        <p class="muted failed-message" dir="auto">
          {job.error.hint}
        </p>
      )}
      {job.request && (
        <div class="row">
          <button type="button" onClick={() => void actions.retry(job)}>
            <IconReload aria-hidden="true" />
            {t.shell.retry}
          </button>
          {smaller && (
            <button type="button" onClick={() => void actions.retry(job, { size: smaller })}>
              {t.create.trySize(showSize(smaller))}
            </button>
          )}
          {others.length > 0 && !isStopped && <OtherEngineMenu job={job} engines={others} actions={actions} />}
          <button type="button" class="quiet" onClick={() => actions.reuse(recipeOf(job), "all")}>
            {t.create.changeRequest}
          </button>
        </div>
      )}
    </div>
  );
}

function OtherEngineMenu({ job, engines, actions }: FailedJobProps) {
  const retryOn = (engine: UsableEngine) => {
    // Model and parameters belong to the engine that failed.
    if (!job.request) return;
    const { model: _model, parameters: _parameters, ...request } = job.request;
    void actions.retry({ ...job, request }, { engine: engine.name });
  };
  return (
    <Menu label={t.create.otherEngine} face={t.create.otherEngine} class="">
      {engines.map((it) => (
        <button key={it.name} type="button" onClick={() => retryOn(it)}>
          {titleOf(it)}
        </button>
      ))}
    </Menu>
  );
}
