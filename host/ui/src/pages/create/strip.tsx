// The strip of the jobs before, so that nothing that was made is out of reach.
import { thumbnailUrl } from "../../api/url.ts";
import { useAction } from "../../components/resource.ts";
import { Track } from "../../components/track.tsx";
import { formatAgo } from "../../format.ts";
import { IconAlert, IconStop } from "../../icons.ts";
import { activeJobs, isActive } from "../../jobs.ts";
import { t } from "../../text/index.ts";
import type { Batch } from "./batches.ts";
import type { ImageStates } from "./use_images.ts";

interface StripProps {
  batches: readonly Batch[];
  shownId: string | undefined;
  images: ImageStates;
  hasMore: boolean;
  onShow: (id: string) => void;
  onMore: () => Promise<void>;
}

export function Strip({ batches, shownId, images, hasMore, onShow, onMore }: StripProps) {
  const more = useAction(onMore);
  return (
    <nav class="strip" aria-label={t.create.history}>
      <ul>
        {batches.map((batch) => (
          <li key={batch.id}>
            <StripItem batch={batch} isShown={batch.id === shownId} images={images} onShow={onShow} />
          </li>
        ))}
        {hasMore && (
          <li>
            <button type="button" class="quiet strip-more" disabled={more.isRunning} onClick={() => void more.run()}>
              {more.error === undefined ? t.create.older : t.shell.retry}
            </button>
          </li>
        )}
      </ul>
    </nav>
  );
}

interface StripItemProps {
  batch: Batch;
  isShown: boolean;
  images: ImageStates;
  onShow: (id: string) => void;
}

function StripItem({ batch, isShown, images, onShow }: StripItemProps) {
  const { jobs } = batch;
  const files = jobs.flatMap((job) => job.files).filter((it) => images.deletion(it.id) === undefined);
  const active = jobs.filter(isActive);
  const [file] = files;
  const [first] = jobs;
  const prompt = first?.request?.prompt ?? "";
  const state = active.length > 0 ? t.create.running : (first && t.create.states[first.state]) || "";
  const progress = active[0] && activeJobs.value.get(active[0].id)?.progress;
  const label = [prompt.slice(0, 120), state, files.length > 1 && t.create.imageCount(files.length), first && formatAgo(first.created_at)].filter(Boolean).join(" · ");
  return (
    <button type="button" class="strip-item" aria-current={isShown ? "true" : undefined} aria-label={label} title={label} onClick={() => onShow(batch.id)}>
      {file ? (
        <img src={thumbnailUrl(file.id, 256)} alt="" loading="lazy" decoding="async" />
      ) : active.length > 0 ? (
        progress?.preview ? <img class="strip-preview" src={progress.preview} alt="" /> : <span class="developing" />
      ) : first?.state === "cancelled" ? (
        <IconStop aria-hidden="true" />
      ) : (
        <IconAlert aria-hidden="true" class={first?.state === "done" ? "muted" : "strip-failed"} />
      )}
      {files.length > 1 && <span class="strip-count" data-count={files.length} />}
      {active.length > 0 && <Track fraction={progress?.fraction} />}
    </button>
  );
}
