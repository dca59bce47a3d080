import type { Job, UsableEngine } from "../../api/types.ts";
import { formatCost, formatDuration } from "../../format.ts";
import { activeJobs, isActive } from "../../jobs.ts";
import { parseSize, showSize } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import type { Actions } from "./actions.ts";
import { FailedJob } from "./failed_job.tsx";
import { ImageFrame, MakingFrame } from "./frames.tsx";
import { columnsFor } from "./columns.ts";
import type { ImageStates } from "./use_images.ts";

interface JobViewProps {
  job: Job;
  engines: readonly UsableEngine[];
  images: ImageStates;
  actions: Actions;
  /** Width by height of the place that the images may fill. */
  placeRatio: number;
  /** The shape of a known image. */
  ratioOfImage: (id: string) => number | undefined;
}

/** The images of one job, or what became of it instead. */
export function JobView({ job, engines, images, actions, placeRatio, ratioOfImage }: JobViewProps) {
  const files = job.files.filter((it) => images.deletion(it.id) !== "gone");
  const isMaking = isActive(job);
  const making = isMaking ? Math.max(1, (job.request?.n ?? 1) - files.length) : 0;
  const count = files.length + making;
  const failed = !isMaking && job.state !== "done" && <FailedJob job={job} engines={engines} actions={actions} />;
  if (count === 0) return failed || <p class="muted batch-note">{job.files.length > 0 ? t.create.allDeleted : t.create.noImages}</p>;
  const ratio = ratioOf(job, engines, ratioOfImage);
  const columns = columnsFor(count, ratio, placeRatio);
  const rows = Math.ceil(count / columns);
  const progress = isMaking ? (activeJobs.value.get(job.id)?.progress ?? job.progress) : null;
  return (
    <>
      <div class="frames" style={{ "--ratio": ratio, "--columns": columns, "--rows": rows }}>
        {files.map((file) => (
          <ImageFrame key={file.id} job={job} file={file} engines={engines} images={images} actions={actions} />
        ))}
        {Array.from({ length: making }, (_, index) => (
          <MakingFrame key={index} job={job} progress={progress} isFirst={index === 0} onStop={() => void actions.stop(job)} />
        ))}
      </div>
      {failed}
    </>
  );
}

/** The shape of the images: known from the request before they are there. */
function ratioOf(job: Job, engines: readonly UsableEngine[], ratioOfImage: JobViewProps["ratioOfImage"]): number {
  const [file] = job.files;
  if (file?.width && file.height) return file.width / file.height;
  const [source] = job.request?.sources ?? [];
  const sourceRatio = !source || job.request?.size ? undefined : ratioOfImage(source);
  if (sourceRatio !== undefined) return sourceRatio;
  const own = engines.find((it) => it.name === job.binding)?.default_size;
  const size = parseSize(job.request?.size) ?? parseSize(own);
  return size ? size.width / size.height : 1;
}

/** What made the images, in one quiet line. Without engines the engine is named elsewhere. */
export function Facts({ job, engines }: { job: Job; engines?: readonly UsableEngine[] }) {
  const { request, files, cost } = job;
  const seed = files.length === 1 ? (files[0]?.seed ?? request?.seed) : request?.seed;
  const [file] = files;
  const size = file?.width && file.height ? `${file.width} × ${file.height}` : request?.size && showSize(request.size);
  const engine = engines?.find((it) => it.name === job.binding);
  const facts = [
    engines && (engine ? titleOf(engine) : job.binding),
    request?.model,
    size,
    seed === undefined ? undefined : `${t.create.seed} ${seed}`,
    request?.steps === undefined ? undefined : t.create.stepCount(request.steps),
    job.duration_ms === null ? undefined : formatDuration(job.duration_ms),
    cost && formatCost(cost),
  ];
  return (
    <p class="quiet-line">
      {facts.filter(Boolean).map((fact) => (
        <span key={fact} class="wrap" dir="auto">
          {fact}
        </span>
      ))}
    </p>
  );
}
