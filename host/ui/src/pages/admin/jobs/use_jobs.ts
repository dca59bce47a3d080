import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../../api/client.ts";
import type { Job } from "../../../api/types.ts";
import { isActive, onJob } from "../../../jobs.ts";
import { useLive } from "../live.ts";

const PAGE_SIZE = 50;
/** More active jobs than one server can have. */
const ACTIVE_LIMIT = 200;

export interface JobsQuery {
  state: "active" | "ended";
  engine?: string;
}

export interface Jobs {
  /** `undefined` until they are loaded. */
  jobs: Job[] | undefined;
  error: unknown;
  isLoading: boolean;
  hasMore: boolean;
  loadMore: () => void;
  reload: () => void;
  /** Shows the new state of a job at once. */
  note: (job: Job) => void;
}

interface JobsPage {
  jobs: Job[];
  next: string | null;
}

/** The jobs of all users, newest first. Active ones are read again while there are some. */
export function useJobs({ state, engine }: JobsQuery): Jobs {
  const [jobs, setJobs] = useState<Job[] | undefined>();
  const [next, setNext] = useState<string | null>(null);
  const [error, setError] = useState<unknown>();
  const [isLoading, setIsLoading] = useState(true);
  const running = useRef<AbortController | undefined>(undefined);
  const hasMorePages = useRef(false);
  const load = useCallback(
    async (cursor: string | undefined) => {
      running.current?.abort();
      const controller = new AbortController();
      running.current = controller;
      setIsLoading(true);
      try {
        const query = { mine: false, state, engine, cursor, limit: state === "active" ? ACTIVE_LIMIT : PAGE_SIZE };
        const page = await get<JobsPage>("/api/v1/jobs", { query, signal: controller.signal });
        const its = engine === undefined ? page.jobs : page.jobs.filter((it) => (it.engine ?? it.binding) === engine);
        setJobs((before) => (cursor === undefined ? joined(its, before, state) : [...(before ?? []), ...its]));
        // A reload of the first page does not forget the pages after it.
        if (cursor !== undefined || !hasMorePages.current) setNext(page.next);
        if (cursor !== undefined) hasMorePages.current = true;
        setError(undefined);
      } catch (failure) {
        if (controller.signal.aborted) return;
        setError(failure);
      }
      setIsLoading(false);
    },
    [state, engine],
  );
  const reload = useCallback(() => void load(undefined), [load]);
  useEffect(() => {
    reload();
    return () => running.current?.abort();
  }, [reload]);
  // The own jobs are told by events; those of others are not.
  useEffect(() => onJob(reload), [reload]);
  useLive(reload, state === "active" && (jobs?.length ?? 0) > 0);
  const note = useCallback(
    (job: Job) => setJobs((before) => before?.map((it) => (it.id === job.id ? { ...it, ...job } : it)).filter((it) => state === "ended" || isActive(it))),
    [state],
  );
  return { jobs, error, isLoading, hasMore: next !== null, loadMore: () => next !== null && void load(next), reload, note };
}

/** The newest page in front of older jobs that are shown already. Active jobs are always one page. */
function joined(page: readonly Job[], before: readonly Job[] | undefined, state: JobsQuery["state"]): Job[] {
  if (state === "active" || !before) return [...page];
  const ids = new Set(page.map((it) => it.id));
  return [...page, ...before.filter((it) => !ids.has(it.id))];
}
