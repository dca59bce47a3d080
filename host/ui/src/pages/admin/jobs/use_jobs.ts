import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../../api/client.ts";
import type { Job, JobsPage } from "../../../api/types.ts";
import { isActive, onJob } from "../../../jobs.ts";
import { useLive } from "../live.ts";

const PAGE_SIZE = 50;
/** The largest page of the server. */
const MAX_PAGE_SIZE = 100;
/** Pages that are read for one request of a person. */
const MAX_PAGES = 10;
/** Jobs of one engine that are enough for one request of a person. */
const ENOUGH = 20;

interface JobsQuery {
  state: "active" | "ended";
  engine: string | undefined;
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

/** The jobs of all users, newest first. Active ones are read again while there are some. */
function useJobs({ state, engine }: JobsQuery): Jobs {
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
        const { jobs: its, next: after } = await readPages({ state, engine }, cursor, controller.signal);
        setJobs((before) => (cursor === undefined ? joined(its, state === "active" ? [] : before) : joined(before ?? [], its)));
        // A reload of the first page does not forget the pages after it.
        if (cursor !== undefined || !hasMorePages.current) setNext(after);
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
  // Events report the user's own jobs, and not those of others.
  useEffect(() => onJob(reload), [reload]);
  useLive(reload, state === "active" && (jobs?.length ?? 0) > 0);
  const note = useCallback(
    (job: Job) => setJobs((before) => before?.map((it) => (it.id === job.id ? { ...it, ...job } : it)).filter((it) => state === "ended" || isActive(it))),
    [state],
  );
  return { jobs, error, isLoading, hasMore: next !== null, loadMore: () => next !== null && void load(next), reload, note };
}

/** The active jobs and those that ended, of one engine or of all. */
export function useJobLists(engine?: string) {
  const active = useJobs({ state: "active", engine });
  const ended = useJobs({ state: "ended", engine });
  const activeIds = active.jobs?.map((it) => it.id).join(" ");
  // What left the list of active jobs has ended.
  useEffect(() => {
    if (activeIds !== undefined) ended.reload();
  }, [activeIds]);
  const reload = () => {
    active.reload();
    ended.reload();
  };
  return { active, ended, error: active.error ?? ended.error, reload };
}

/** All active jobs; of those that ended, one page, or several until there are enough of one engine. */
async function readPages({ state, engine }: JobsQuery, cursor: string | undefined, signal: AbortSignal): Promise<JobsPage> {
  const limit = state === "active" || engine !== undefined ? MAX_PAGE_SIZE : PAGE_SIZE;
  const jobs: Job[] = [];
  let next: string | null = cursor ?? null;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const query = { mine: false, state, limit, cursor: next };
    const page: JobsPage = await get("/api/v1/jobs", { query, signal });
    jobs.push(...(engine === undefined ? page.jobs : page.jobs.filter((it) => it.engine === engine)));
    next = page.next;
    const isEnough = state === "ended" && (engine === undefined || jobs.length >= ENOUGH);
    if (next === null || isEnough) break;
  }
  return { jobs, next };
}

/** Newer jobs, then older ones. A job that is in both is shown as the first has it. */
function joined(newer: readonly Job[], older: readonly Job[] = []): Job[] {
  const ids = new Set(newer.map((it) => it.id));
  return [...newer, ...older.filter((it) => !ids.has(it.id))];
}
