import { useEffect, useState } from "preact/hooks";
import { formatCost, formatDuration } from "../../format.ts";
import type { Cost } from "../../api/types.ts";
import { formatSize, parseSize, showSize } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { jobOf } from "./conversation.ts";
import { engines } from "./engines.ts";
import { ImageDialog } from "./dialogs.ts";
import { ImageFigure } from "./image_figure.tsx";
import { records, requestRecords } from "./image_records.ts";
import { textOf, type Message } from "./message.ts";
import type { ReplyState } from "./reply_state.ts";

interface ReplyImagesProps {
  message: Message;
  state: ReplyState;
  parent: Message | undefined;
}

/** The images of a response, and a line of facts about them. */
export function ReplyImages({ message, state, parent }: ReplyImagesProps) {
  const [openImage, setOpenImage] = useState<string | undefined>();
  const { images } = state;
  useEffect(() => requestRecords(images.map((it) => it.id)), [images.length]);
  const prompt = state.writtenPrompt ?? textOf(parent?.content);
  const options = { ...parent?.image_generation, ...message.image_generation };
  const fallbackSize = parseSize(options.size) ?? { width: 1, height: 1 };
  return (
    <>
      <div class={images.length === 1 ? "pictures one" : "pictures"}>
        {images.map((image) => (
          <ImageFigure key={image.id} image={image} prompt={prompt} message={message} fallbackSize={fallbackSize} onOpen={() => setOpenImage(image.id)} />
        ))}
      </div>
      <Facts message={message} state={state} sent={textOf(parent?.content)} />
      {openImage !== undefined && <ImageDialog id={openImage} ids={images.map((it) => it.id)} prompt={prompt} onClose={() => setOpenImage(undefined)} />}
    </>
  );
}

function Facts({ message, state, sent }: { message: Message; state: ReplyState; sent: string }) {
  const [isPromptShown, setPromptShown] = useState(false);
  const facts = factsOf(message, state);
  const rewritten = state.revisedPrompt ?? state.writtenPrompt;
  const hasOtherPrompt = rewritten !== undefined && rewritten !== sent;
  if (facts.length === 0 && !hasOtherPrompt) return null;
  return (
    <div class="stack tight">
      <div class="quiet-line facts-line">
        {facts.map((fact) => (
          <span key={fact} class="wrap">
            {fact}
          </span>
        ))}
        {hasOtherPrompt && (
          <button type="button" class="link" aria-expanded={isPromptShown} onClick={() => setPromptShown(!isPromptShown)}>
            {isPromptShown ? t.chat.hidePrompt : t.chat.promptRewritten}
          </button>
        )}
      </div>
      {isPromptShown && (
        <blockquote class="prompt-used" dir="auto">
          {rewritten}
        </blockquote>
      )}
    </div>
  );
}

function factsOf(message: Message, state: ReplyState): string[] {
  const known = state.images.flatMap((it) => records.value.get(it.id) ?? []);
  const job = jobOf.value.get(message.id);
  const first = known[0];
  const engineName = first?.engine ?? job?.engine ?? undefined;
  const binding = first?.binding ?? job?.binding;
  const engine = engines.value?.find((it) => it.name === binding);
  const title = engine ? titleOf(engine) : (binding ?? engineName);
  const model = first?.model;
  const size = first?.width && first.height ? formatSize({ width: first.width, height: first.height }) : undefined;
  const seeds = [...new Set(known.flatMap((it) => it.seed ?? []))];
  const duration = first?.duration_ms ?? job?.duration_ms ?? undefined;
  const cost: Cost | undefined = first?.cost ?? job?.cost;
  const facts = [
    model && model !== binding ? `${title ?? ""} · ${model}` : title,
    size && showSize(size),
    seeds.length > 0 ? t.chat.seedIs(seedsText(seeds)) : undefined,
    duration === undefined ? undefined : formatDuration(duration),
    cost ? formatCost(cost) : undefined,
  ];
  return facts.filter((it): it is string => Boolean(it));
}

/** The first and the last seed: engines count on from the first. */
function seedsText(seeds: readonly number[]): string {
  const [first] = seeds;
  return seeds.length === 1 ? String(first) : `${first} … ${seeds.at(-1)}`;
}
