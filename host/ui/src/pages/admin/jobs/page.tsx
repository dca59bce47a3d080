// The jobs of all users: those that run, those that wait, and those that ended.
import { useState } from "preact/hooks";
import { ApiError, post } from "../../../api/client.ts";
import type { Job } from "../../../api/types.ts";
import { Confirm } from "../../../components/confirm.tsx";
import { Empty, Failure, Notice } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { IconReload, IconStop } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { Section } from "../../../components/section.tsx";
import { activeByUser, type UserJobs } from "./by_user.ts";
import { JobList, JobSkeleton } from "./job_list.tsx";
import { useJobLists, type Jobs } from "./use_jobs.ts";

export { Aside } from "../aside.tsx";

/** Whose jobs are to be stopped. */
type Target = "all" | UserJobs;

export default function JobsPage() {
  const { active, ended, error, reload } = useJobLists();
  const [target, setTarget] = useState<Target | undefined>();
  const [stopped, setStopped] = useState<number | undefined>();
  const running = active.jobs?.filter((it) => it.state === "running") ?? [];
  const waiting = active.jobs?.filter((it) => it.state === "waiting") ?? [];
  const stop = async () => {
    const body = target === "all" ? { all: true } : { user_id: target?.id };
    setStopped((await post("/api/v1/jobs/stop", { body })).stopped);
    reload();
  };
  const { jobs } = t.admin;
  const hasActive = running.length + waiting.length > 0;
  const actions = (
    <>
      <button type="button" class="quiet icon" aria-label={t.admin.refresh} title={t.admin.refresh} onClick={reload}>
        <IconReload aria-hidden="true" />
      </button>
      {hasActive && (
        <button type="button" class="danger" onClick={() => setTarget("all")}>
          <IconStop aria-hidden="true" />
          {jobs.stopAll}
        </button>
      )}
    </>
  );
  const isMissing = error instanceof ApiError && error.status === 404;
  return (
    <Page title={jobs.title} lead={hasActive && <small class="wide-only">{jobs.lead(running.length, waiting.length)}</small>} actions={actions}>
      <div class="sheet">
        {stopped !== undefined && <Notice>{jobs.stopped(stopped)}</Notice>}
        {error !== undefined && (isMissing ? <Empty title={jobs.unavailable} /> : <Failure error={error} onRetry={reload} />)}
        {!active.jobs && error === undefined && <JobSkeleton />}
        {active.jobs && !hasActive && <Empty title={jobs.none}>{jobs.noneHint}</Empty>}
        {active.jobs && <ActiveJobs running={running} waiting={waiting} jobs={active} onStop={setTarget} />}
        {ended.jobs && <EndedJobs jobs={ended} />}
      </div>
      {target !== undefined && (
        <Confirm title={target === "all" ? jobs.stopAll : jobs.stopAllOf(target.name)} label={jobs.stop} isDanger onConfirm={stop} onClose={() => setTarget(undefined)}>
          <p>{jobs.stopAllHint}</p>
        </Confirm>
      )}
    </Page>
  );
}

interface ActiveJobsProps {
  running: Job[];
  waiting: Job[];
  jobs: Jobs;
  onStop: (user: UserJobs) => void;
}

function ActiveJobs({ running, waiting, jobs, onStop }: ActiveJobsProps) {
  const users = activeByUser(jobs.jobs ?? []);
  const place = (job: Job) => job.progress?.queue_position ?? Number.MAX_SAFE_INTEGER;
  return (
    <>
      {users.length > 1 && <Users users={users} onStop={onStop} />}
      {running.length > 0 && (
        <Section title={t.admin.jobs.running}>
          <JobList jobs={running} label={t.admin.jobs.running} onChange={jobs.note} />
        </Section>
      )}
      {waiting.length > 0 && (
        <Section title={t.admin.jobs.waiting}>
          <JobList jobs={[...waiting].sort((a, b) => place(a) - place(b))} label={t.admin.jobs.waiting} onChange={jobs.note} />
        </Section>
      )}
    </>
  );
}

function Users({ users, onStop }: { users: readonly UserJobs[]; onStop: (user: UserJobs) => void }) {
  const { jobs } = t.admin;
  return (
    <ul class="job-users" aria-label={jobs.users}>
      {users.map((user) => (
        <li key={user.id}>
          <span class="truncate" dir="auto">
            {user.name}
          </span>
          <small>{jobs.ofUser(user.running, user.waiting)}</small>
          <button type="button" class="quiet small" aria-label={jobs.stopAllOf(user.name)} onClick={() => onStop(user)}>
            {jobs.stop}
          </button>
        </li>
      ))}
    </ul>
  );
}

function EndedJobs({ jobs }: { jobs: Jobs }) {
  return (
    <Section title={t.admin.jobs.ended}>
      {jobs.jobs?.length === 0 && <p class="muted">{t.admin.jobs.noneEnded}</p>}
      <JobList jobs={jobs.jobs ?? []} label={t.admin.jobs.ended} onChange={jobs.note} />
      {jobs.hasMore && (
        <button type="button" class="load-more" disabled={jobs.isLoading} onClick={jobs.loadMore}>
          {t.admin.loadMore}
        </button>
      )}
    </Section>
  );
}
