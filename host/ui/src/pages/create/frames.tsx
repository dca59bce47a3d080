// The places of a job's images: in the making, finished, deleted.
import { useEffect, useRef } from "preact/hooks";
import type { Job, JobProgress } from "../../api/types.ts";
import { Track } from "../../components/track.tsx";
import { formatPercent } from "../../format.ts";
import { IconStop } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { ImageTools, type ImageToolsProps } from "./image_tools.tsx";

/** What is said of a job that waits or runs. */
export function progressText(job: Job, progress: JobProgress | null | undefined): string {
  if (progress?.note) return progress.note;
  if (progress?.queue_position) return t.create.queuePlace(progress.queue_position);
  if (job.state === "waiting") return t.create.waiting;
  return progress?.fraction === undefined ? t.create.running : formatPercent(Math.round(progress.fraction * 100) / 100);
}

interface MakingFrameProps {
  job: Job;
  progress: JobProgress | null | undefined;
  /** The first frame of a job says how far it is and has its button. */
  isFirst: boolean;
  onStop: () => void;
}

/** An image in the making: its preview, and how far it is. */
export function MakingFrame({ job, progress, isFirst, onStop }: MakingFrameProps) {
  return (
    <div class="image frame making">
      {progress?.preview && isFirst ? <img src={progress.preview} alt={t.create.preview} /> : <Developing />}
      <div class="image-state">
        {isFirst && (
          <div class="making-line">
            <span class="truncate" dir="auto">
              {progressText(job, progress)}
            </span>
            <button type="button" class="stop" onClick={onStop}>
              <IconStop aria-hidden="true" />
              {t.create.stop}
            </button>
          </div>
        )}
        <Track fraction={progress?.fraction} />
      </div>
    </div>
  );
}

/** Paper in the developer: a slow light until there is a preview. */
function Developing() {
  return <span class="developing" aria-hidden="true" />;
}

export function ImageFrame(props: ImageToolsProps) {
  const { job, file, images } = props;
  const deletion = images.deletion(file.id);
  const prompt = job.request?.prompt ?? file.name;
  if (deletion === "gone") return null;
  if (deletion === "undoable") return <DeletedFrame onRestore={() => void images.restore(file.id)} />;
  return (
    <figure class="image frame">
      <a class="frame-link" href={`/gallery?image=${encodeURIComponent(file.id)}`} title={t.create.details}>
        <img src={file.url} alt={prompt.slice(0, MAX_ALT)} width={file.width ?? undefined} height={file.height ?? undefined} decoding="async" onError={() => images.noteMissing(file.id)} />
      </a>
      {file.flagged && <span class="frame-flag">{t.create.flagged}</span>}
      <ImageTools {...props} />
    </figure>
  );
}

/** A prompt can be long; a screen reader need not read all of it. */
const MAX_ALT = 300;

function DeletedFrame({ onRestore }: { onRestore: () => void }) {
  const undo = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    // The button that deleted the image is gone.
    if (document.activeElement === document.body || document.activeElement === null) undo.current?.focus();
  }, []);
  return (
    <div class="image frame deleted" role="status">
      <span>{t.create.deleted}</span>
      <button ref={undo} type="button" onClick={onRestore}>
        {t.create.undo}
      </button>
    </div>
  );
}
