import { useCallback, useEffect, useState } from "preact/hooks";
import { get } from "../../api/client.ts";
import { onGap } from "../../api/events.ts";
import type { Job } from "../../api/types.ts";
import { activeJobs, isActive, newestOf, noteJob, onJob } from "../../jobs.ts";
import { withJob } from "./batches.ts";

const PAGE_SIZE = 40;

interface RecentJobs {
  /** Newest first; `undefined` until they are loaded. */
  jobs: Job[] | undefined;
  error: unknown;
  hasMore: boolean;
  loadMore: () => Promise<void>;
  reload: () => void;
  note: (job: Job) => void;
}

/** The jobs of this page that the user created last, also those that have ended. */
export function useRecentJobs(): RecentJobs {
  const [jobs, setJobs] = useState<Job[] | undefined>();
  const [next, setNext] = useState<string | null>(null);
  const [error, setError] = useState<unknown>();
  const reload = useCallback(() => {
    setError(undefined);
    get("/api/v1/jobs", { query: { mine: true, limit: PAGE_SIZE } }).then((page) => {
      const newest = page.jobs.filter(isOfPage).map(newestOf);
      setJobs(newest);
      setNext(page.next);
      newest.filter(isActive).forEach(loadPreview);
    }, setError);
  }, []);
  const note = useCallback((job: Job) => {
    if (isOfPage(job)) setJobs((before) => withJob(before ?? [], newestOf(job)));
  }, []);
  useEffect(() => {
    reload();
    const stops = [onJob(note), onGap(reload)];
    return () => stops.forEach((stop) => stop());
  }, []);
  const loadMore = async () => {
    const page = await get("/api/v1/jobs", { query: { mine: true, limit: PAGE_SIZE, cursor: next } });
    setJobs((before) => [...(before ?? []), ...page.jobs.filter((it) => isOfPage(it) && !before?.some((known) => known.id === it.id))]);
    setNext(page.next);
  };
  return { jobs, error, hasMore: next !== null, loadMore, reload, note };
}

/** Jobs of chats are shown in their chats. */
function isOfPage(job: Job): boolean {
  return job.origin === "api";
}

/** Lists and events of a state have no preview: after a reload it is read once. */
function loadPreview({ id }: Job): void {
  if (activeJobs.peek().get(id)?.progress?.preview !== undefined) return;
  get("/api/v1/jobs/{id}", { path: { id } }).then(noteJob, () => undefined);
}
