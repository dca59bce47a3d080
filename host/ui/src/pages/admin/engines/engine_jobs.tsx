import { Empty, Failure } from "../../../components/notice.tsx";
import { t } from "../../../text/index.ts";
import { JobList, JobSkeleton } from "../jobs/job_list.tsx";
import { useJobLists } from "../jobs/use_jobs.ts";

/** The jobs of one engine: those that run, then those that ended. */
export function EngineJobs({ name }: { name: string }) {
  const { active, ended, error, reload } = useJobLists(name);
  if (error !== undefined) return <Failure error={error} onRetry={reload} />;
  if (!active.jobs || !ended.jobs) return <JobSkeleton />;
  const jobs = [...active.jobs, ...ended.jobs];
  if (jobs.length === 0 && !ended.hasMore) return <Empty title={t.engines.jobsNone}>{t.engines.jobsNoneHint}</Empty>;
  return (
    <>
      <JobList jobs={jobs} label={t.admin.jobs.title} onChange={active.note} />
      {ended.hasMore && (
        <button type="button" class="load-more" disabled={ended.isLoading} onClick={ended.loadMore}>
          {t.admin.loadMore}
        </button>
      )}
    </>
  );
}
