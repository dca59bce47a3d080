// The active jobs of the user, with a button to stop each.
import { useId, useState } from "preact/hooks";
import { messageOf, post, remove } from "../../api/client.ts";
import type { Job } from "../../api/types.ts";
import { Confirm } from "../../components/confirm.tsx";
import { useAction } from "../../components/resource.ts";
import { IconQueue, IconStop } from "../../icons.ts";
import { activeJobs, noteJob } from "../../jobs.ts";
import { t } from "../../text/index.ts";
import { progressText } from "./frames.tsx";

export async function stopJob({ id }: Job): Promise<void> {
  noteJob(await remove("/api/v1/jobs/{id}", { path: { id } }));
}

export function Queue() {
  const id = useId();
  const [isAsking, setIsAsking] = useState(false);
  const jobs = [...activeJobs.value.values()].sort((a, b) => a.created_at - b.created_at);
  return (
    <>
      <button type="button" class={jobs.length > 0 ? "chip on queue-button" : "chip queue-button"} popovertarget={id} aria-haspopup="dialog">
        <IconQueue aria-hidden="true" />
        <span class="queue-label">{t.create.queue}</span>
        <span class="queue-count">{jobs.length}</span>
      </button>
      <div id={id} class="queue" popover="auto" role="dialog" aria-label={t.create.queue}>
        {jobs.length === 0 ? (
          <p class="muted">{t.create.queueEmpty}</p>
        ) : (
          <ul>
            {jobs.map((job) => (
              <QueueItem key={job.id} job={job} />
            ))}
          </ul>
        )}
        {jobs.length > 1 && (
          <button type="button" class="small danger" onClick={() => setIsAsking(true)}>
            <IconStop aria-hidden="true" />
            {t.create.stopAll}
          </button>
        )}
      </div>
      {isAsking && (
        <Confirm title={t.create.stopAllTitle(jobs.length)} label={t.create.stopAll} isDanger onConfirm={stopAll} onClose={() => setIsAsking(false)}>
          <p class="muted">{t.create.stopAllHint}</p>
        </Confirm>
      )}
    </>
  );
}

function QueueItem({ job }: { job: Job }) {
  const stop = useAction(() => stopJob(job));
  const { progress } = job;
  return (
    <li>
      <div class="queue-text">
        <span class="truncate" dir="auto">
          {job.request?.prompt ?? t.create.title}
        </span>
        <small class="truncate" dir="auto">
          {job.binding} · {stop.error === undefined ? progressText(job, progress) : messageOf(stop.error)}
        </small>
        <progress max={1} aria-label={t.create.running} {...(progress?.fraction === undefined ? {} : { value: progress.fraction })} />
      </div>
      <button type="button" class="quiet icon" aria-label={t.create.stopJob((job.request?.prompt ?? "").slice(0, 80))} title={t.create.stop} disabled={stop.isRunning} onClick={() => void stop.run()}>
        <IconStop aria-hidden="true" />
      </button>
    </li>
  );
}

async function stopAll(): Promise<void> {
  const jobs = [...activeJobs.peek().values()];
  await post("/api/v1/jobs/stop", { body: {} });
  // Events say so too; without them the list would stay.
  for (const job of jobs) noteJob({ ...job, state: "cancelled", progress: null });
}
