// Jobs that belong together: the same prompt, sent to several engines at once. No DOM.
import type { Job } from "../../api/types.ts";

/** Newest first within the list of batches; in a batch in the order of creation. */
export interface Batch {
  /** Of its first job. */
  id: string;
  jobs: Job[];
}

/** Jobs of one click are created within this time. */
const SAME_CLICK_SECS = 15;

/** Groups jobs, newest first, into batches. */
export function groupJobs(jobs: readonly Job[]): Batch[] {
  const batches: Batch[] = [];
  for (const job of [...jobs].reverse()) {
    const last = batches.at(-1);
    if (last && belongs(last, job)) last.jobs.push(job);
    else batches.push({ id: job.id, jobs: [job] });
  }
  return batches.reverse();
}

function belongs({ jobs }: Batch, job: Job): boolean {
  const [first] = jobs;
  return (
    first !== undefined &&
    job.created_at - first.created_at <= SAME_CLICK_SECS &&
    jobs.every((it) => it.binding !== job.binding) &&
    isSameTask(first, job)
  );
}

function isSameTask(a: Job, b: Job): boolean {
  if (!a.request || !b.request) return false;
  const sources = (job: Job) => (job.request?.sources ?? []).join(" ");
  return a.request.prompt === b.request.prompt && sources(a) === sources(b);
}

/** The jobs, with a newer state of one of them, newest first. */
export function withJob(jobs: readonly Job[], changed: Job): Job[] {
  const at = jobs.findIndex((it) => it.id === changed.id);
  if (at === -1) return [changed, ...jobs];
  return jobs.map((it) => (it.id === changed.id ? { ...changed, request: changed.request ?? it.request } : it));
}
