import { Track } from "../../components/track.tsx";
import { formatPercent } from "../../format.ts";
import { parseSize, type Size } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { engine } from "./choices.ts";
import { jobOf, progressOf } from "./conversation.ts";
import type { ImageOptions } from "./image_options.ts";
import { frameOf } from "./image_frame.ts";
import { secondsLeft, type LiveProgress } from "./progress.ts";

/** Images that are shown at once while they are made. */
const MAX_PLACES = 8;

/** The places of images that are made: the preview itself, a sentence and a track. */
export function MakingImages({ messageId, options }: { messageId: string; options: ImageOptions }) {
  const progress = progressOf.value.get(messageId);
  const request = jobOf.value.get(messageId)?.request;
  const size = parseSize(request?.size ?? options.size ?? engine.value?.default_size) ?? { width: 1, height: 1 };
  const count = Math.min(MAX_PLACES, Math.max(1, request?.n ?? options.n ?? 1));
  return (
    <div class={count === 1 ? "pictures one" : "pictures"}>
      <MakingImage progress={progress} size={size} />
      {Array.from({ length: count - 1 }, (_, index) => (
        <div key={index} class="image skeleton" style={frameOf(size)} />
      ))}
    </div>
  );
}

function MakingImage({ progress, size }: { progress: LiveProgress | undefined; size: Size }) {
  const preview = progress?.preview?.startsWith("data:image/") ? progress.preview : undefined;
  return (
    <figure class="image making" style={frameOf(size)} aria-busy="true" aria-label={t.chat.making}>
      {preview ? <img src={preview} alt="" /> : <div class="skeleton fill" />}
      <figcaption class="image-state">
        <span class="truncate" dir="auto">
          {describe(progress)}
        </span>
        <Track fraction={progress?.fraction} />
      </figcaption>
    </figure>
  );
}

function describe(progress: LiveProgress | undefined): string {
  if (!progress) return t.chat.preparing;
  const { queue_position: position, fraction, note } = progress;
  if (position !== undefined && position > 0 && !fraction) return t.chat.queue(position);
  const parts = [note || t.chat.making];
  if (fraction !== undefined && !note) parts.push(formatPercent(Math.round(fraction * 100) / 100));
  const seconds = secondsLeft(progress, Date.now());
  if (seconds !== undefined) parts.push(t.chat.secondsLeft(seconds));
  return parts.join(" · ");
}
