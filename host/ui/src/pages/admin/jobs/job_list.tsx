import { remove } from "../../../api/client.ts";
import type { Job } from "../../../api/types.ts";
import { Failure } from "../../../components/notice.tsx";
import { useAction } from "../../../components/resource.ts";
import { formatAgo, formatCost, formatDuration, formatTime } from "../../../format.ts";
import { isActive } from "../../../jobs.ts";
import { t } from "../../../text/index.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { Status, type Tone } from "../../../components/status.tsx";

interface JobListProps {
  jobs: readonly Job[];
  /** For a screen reader. */
  label: string;
  onChange: (job: Job) => void;
}

const TONES: Record<Job["state"], Tone> = { waiting: "off", running: "live", done: "", failed: "bad", cancelled: "off", interrupted: "warn" };

/** Jobs of several users. Each that runs or waits can be stopped. */
export function JobList({ jobs, label, onChange }: JobListProps) {
  return (
    <ul class="job-list" aria-label={label}>
      {jobs.map((job) => (
        <JobRow key={job.id} job={job} onChange={onChange} />
      ))}
    </ul>
  );
}

function JobRow({ job, onChange }: { job: Job; onChange: (job: Job) => void }) {
  const { jobs } = t.admin;
  const stop = useAction(async () => onChange(await remove("/api/v1/jobs/{id}", { path: { id: job.id } })));
  return (
    <li>
      <div class="job-state">
        <Status tone={TONES[job.state]}>{jobs.states[job.state]}</Status>
        <Progress job={job} />
      </div>
      <div class="job-text">
        {job.request ? (
          <span class="job-prompt" dir="auto" title={job.request.prompt}>
            {job.request.prompt}
          </span>
        ) : (
          <span class="muted">{jobs.privatePrompt}</span>
        )}
        <span class="quiet-line">
          <a class="plain" href={`/admin/people/${encodeURIComponent(job.user_id)}`} dir="auto">
            {job.user_name ?? job.user_id}
          </a>
          <a class="plain" href={`/admin/engines/${encodeURIComponent(job.engine)}`} dir="auto">
            {job.binding}
          </a>
          <span>{jobs.operations[job.operation]}</span>
          <span>{job.origin === "chat" ? jobs.origins.chat : jobs.origins.api}</span>
          <time title={formatTime(job.created_at)} dateTime={new Date(job.created_at * 1_000).toISOString()}>
            {formatAgo(job.created_at)}
          </time>
          {job.duration_ms !== null && <span>{formatDuration(job.duration_ms)}</span>}
          {job.files.length > 0 && <span>{jobs.images(job.files.length)}</span>}
          {job.cost && <span>{formatCost(job.cost)}</span>}
        </span>
        {job.error && job.state !== "cancelled" && (
          <span class="job-error" dir="auto">
            {job.error.message}
          </span>
        )}
        {stop.error !== undefined && <Failure error={stop.error} onRetry={() => void stop.run()} />}
      </div>
      {isActive(job) && (
        <button type="button" class="small" aria-label={jobs.stopJob(job.binding)} disabled={stop.isRunning} onClick={() => void stop.run()}>
          {jobs.stop}
        </button>
      )}
    </li>
  );
}

function Progress({ job }: { job: Job }) {
  const progress = job.progress;
  if (!isActive(job) || !progress) return null;
  if (progress.queue_position !== undefined && job.state === "waiting") return <small>{t.admin.jobs.place(progress.queue_position)}</small>;
  const { fraction } = progress;
  return (
    <>
      <progress max={1} aria-label={t.admin.jobs.states.running} {...(fraction === undefined ? {} : { value: fraction })} />
      {progress.note !== undefined && (
        <small class="truncate" dir="auto">
          {progress.note}
        </small>
      )}
    </>
  );
}

const SKELETON_ROWS = 4;

export function JobSkeleton() {
  return <Skeleton class="row-skeleton" count={SKELETON_ROWS} />;
}
