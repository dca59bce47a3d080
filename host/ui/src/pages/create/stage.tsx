// The place of the newest batch, or of an older one that is chosen in the strip.
import { useState } from "preact/hooks";
import type { Job, UsableEngine } from "../../api/types.ts";
import { Compare, type ComparedImage } from "../../components/compare.tsx";
import { Notice } from "../../components/notice.tsx";
import { IconColumns } from "../../icons.ts";
import { activeJobs, isActive } from "../../jobs.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import type { Actions } from "./actions.ts";
import type { Batch } from "./batches.ts";
import { Facts, JobView } from "./job_view.tsx";
import type { ImageStates } from "./use_images.ts";

interface StageProps {
  batch: Batch;
  engines: readonly UsableEngine[];
  images: ImageStates;
  actions: Actions;
  isWide: boolean;
  ratioOfImage: (id: string) => number | undefined;
}

/** More of a prompt is in the details of its image. */
const MAX_SHOWN = 1_000;
/** Width by height of the place of the images. */
const WIDE_RATIO = 1.45;
const NARROW_RATIO = 0.85;

export function Stage({ batch, engines, images, actions, isWide, ratioOfImage }: StageProps) {
  const [isComparing, setIsComparing] = useState(false);
  const { jobs } = batch;
  const compared = comparedImages(jobs, engines, images);
  const placeRatio = isWide ? WIDE_RATIO : NARROW_RATIO;
  const columns = isWide ? Math.min(jobs.length, 2) : 1;
  const view = (job: Job) => <JobView job={job} engines={engines} images={images} actions={actions} placeRatio={placeRatio / columns} ratioOfImage={ratioOfImage} />;
  const [first] = jobs;
  return (
    <article class="batch" aria-label={t.create.result}>
      {isComparing && compared.length > 1 ? (
        <Compare images={compared} />
      ) : jobs.length === 1 && first ? (
        view(first)
      ) : (
        <div class="batch-engines" style={{ "--batch-columns": columns }}>
          {jobs.map((job) => (
            <section key={job.id} class="stack tight">
              <h2 class="truncate" dir="auto">
                {engineTitle(job, engines)}
              </h2>
              {view(job)}
              <Facts job={job} />
            </section>
          ))}
        </div>
      )}
      <div class="batch-caption">
        <div class="stack tight">
          {first?.request && (
            <p class="batch-prompt" dir="auto">
              {first.request.prompt.slice(0, MAX_SHOWN)}
            </p>
          )}
          {jobs.length === 1 && first && <Facts job={first} engines={engines} />}
        </div>
        {compared.length > 1 && (
          <button type="button" aria-pressed={isComparing} class={isComparing ? "chip on" : "chip"} onClick={() => setIsComparing(!isComparing)}>
            <IconColumns aria-hidden="true" />
            {isComparing ? t.create.compare.leave : t.create.compare.enter}
          </button>
        )}
      </div>
      {jobs.map((job) => (
        <JobNotes key={job.id} job={job} />
      ))}
      <Announcement jobs={jobs} />
    </article>
  );
}

function engineTitle(job: Job, engines: readonly UsableEngine[]): string {
  const engine = engines.find((it) => it.name === job.binding);
  return engine ? titleOf(engine) : job.binding;
}

function comparedImages(jobs: readonly Job[], engines: readonly UsableEngine[], images: ImageStates): ComparedImage[] {
  return jobs.flatMap((job) =>
    job.files
      .filter((it) => images.deletion(it.id) === undefined)
      .map(({ id, url, width, height, seed }) => ({
        id,
        url,
        width,
        height,
        label: jobs.length > 1 ? engineTitle(job, engines) : seed === undefined ? engineTitle(job, engines) : `${t.create.seed} ${seed}`,
        alt: job.request?.prompt ?? "",
      })),
  );
}

/** The prompt that the engine used instead, and its warnings. */
function JobNotes({ job }: { job: Job }) {
  return (
    <>
      {job.revised_prompt && (
        <details class="batch-note">
          <summary>{t.create.revised}</summary>
          <p class="wrap" dir="auto">
            {job.revised_prompt}
          </p>
        </details>
      )}
      {job.warnings.map((warning) => (
        <Notice key={warning}>{warning}</Notice>
      ))}
    </>
  );
}

/** Says how far the batch is, at each quarter. */
function Announcement({ jobs }: { jobs: readonly Job[] }) {
  const running = jobs.filter(isActive);
  const fraction = Math.min(...running.map((job) => activeJobs.value.get(job.id)?.progress?.fraction ?? 0));
  const text = running.length > 0 ? t.create.announceProgress(Math.floor(fraction * 4) * 25) : jobs.some((it) => it.files.length > 0) ? t.create.announceDone : "";
  return (
    <p class="visually-hidden" aria-live="polite">
      {text}
    </p>
  );
}
