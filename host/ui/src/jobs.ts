// The signed-in user's jobs that run or wait, from the server and its events.
import { computed, effect, signal } from "@preact/signals";
import { get } from "./api/client.ts";
import { onEvent, onGap } from "./api/events.ts";
import type { Job, JobProgress } from "./api/types.ts";
import { user } from "./session.ts";

/** By id. A job leaves when it ends. */
export const activeJobs = signal<ReadonlyMap<string, Job>>(new Map());
export const activeJobCount = computed(() => activeJobs.value.size);

const listeners = new Set<(job: Job) => void>();

/** Calls the listener at each change of a job's state, also at its end. Returns the function that stops it. */
export function onJob(listener: (job: Job) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function isActive(job: Job): boolean {
  return job.state === "waiting" || job.state === "running";
}

/** Jobs that ended while this page was open, in the order of their end. */
const endedJobs = new Map<string, Job>();
/** More than there are responses on their way. */
const MAX_ENDED_JOBS = 500;
const STAGES: Partial<Record<Job["state"], number>> = { waiting: 0, running: 1 };

function stageOf({ state }: Job): number {
  return STAGES[state] ?? 2;
}

/** The job as received, or what is known of it if that is newer: events overtake responses. */
export function newestOf(job: Job): Job {
  const known = endedJobs.get(job.id) ?? activeJobs.peek().get(job.id);
  return known && stageOf(known) > stageOf(job) ? known : job;
}

function rememberEnd(job: Job): void {
  endedJobs.set(job.id, job);
  const [oldest] = endedJobs.keys();
  if (oldest !== undefined && endedJobs.size > MAX_ENDED_JOBS) endedJobs.delete(oldest);
}

/** Shows a job at once, such as one that was just created. */
export function noteJob(received: Job): void {
  const job = newestOf(received);
  if (!isActive(job)) rememberEnd(job);
  const jobs = new Map(activeJobs.peek());
  const before = jobs.get(job.id);
  if (isActive(job)) jobs.set(job.id, { ...job, progress: job.progress ?? before?.progress ?? null });
  else jobs.delete(job.id);
  activeJobs.value = jobs;
  for (const listener of listeners) listener(job);
}

function noteProgress(id: string, progress: JobProgress): void {
  const job = activeJobs.peek().get(id);
  if (!job) return;
  const preview = progress.preview ?? job.progress?.preview;
  const next = { ...progress, ...(preview === undefined ? {} : { preview }) };
  activeJobs.value = new Map(activeJobs.peek()).set(id, { ...job, progress: next });
}

async function reload(): Promise<void> {
  const { jobs } = await get("/api/v1/jobs", { query: { state: "active", limit: 100 } });
  const before = activeJobs.peek();
  activeJobs.value = new Map(jobs.map(newestOf).filter(isActive).map((job) => [job.id, job]));
  for (const id of before.keys()) {
    if (activeJobs.value.has(id)) continue;
    // It ended while events were lost.
    get("/api/v1/jobs/{id}", { path: { id } }).then(noteJob, () => undefined);
  }
}

/** Follows the jobs while a user is signed in. */
export function followJobs(): void {
  effect(() => {
    if (!user.value || user.value.role === "pending") return;
    reload().catch(() => undefined);
    const stops = [
      onEvent("pinhole:job", (event) => noteJob(event.data.data as Job)),
      onEvent("pinhole:progress", (event) => {
        const progress = event.data.data as JobProgress & { job_id?: string };
        if (progress.job_id) noteProgress(progress.job_id, progress);
      }),
      onGap(() => void reload().catch(() => undefined)),
    ];
    return () => stops.forEach((stop) => stop());
  });
}
