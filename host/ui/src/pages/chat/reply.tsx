// A response: images or the reason why they are missing, the text, and what can be done next.
import { IconAlert, IconReload, IconStop } from "../../icons.ts";
import { Status } from "../../components/status.tsx";
import { useAction } from "../../components/resource.ts";
import { t } from "../../text/index.ts";
import { isActive, jobOf } from "./conversation.ts";
import { CopyButton } from "../../components/copy.tsx";
import { chatModels } from "./engines.ts";
import { ImageFailure } from "./image_failure.tsx";
import { MakingImages } from "./making_images.tsx";
import type { Message } from "./message.ts";
import { ReplyImages } from "./reply_images.tsx";
import { describeReply } from "./reply_state.ts";
import { ReplyText } from "./reply_text.tsx";
import { retry, stopImage } from "./turn.ts";
import { Versions } from "./versions.tsx";

interface ReplyProps {
  message: Message;
  /** The user's message. */
  parent: Message | undefined;
}

export function Reply({ message, parent }: ReplyProps) {
  const state = describeReply(message, isActive.value);
  const options = { ...parent?.image_generation, ...message.image_generation };
  const isWaiting = state.isRunning && !state.isMakingImage && state.text === "";
  return (
    <article class="reply" aria-label={t.chat.reply}>
      {state.isMakingImage && <MakingImages messageId={message.id} options={options} />}
      {state.images.length > 0 && <ReplyImages message={message} state={state} parent={parent} />}
      {state.isStopped && <p class="muted">{state.imageFailure === undefined ? t.chat.stopped : t.chat.imageStopped}</p>}
      {state.imageFailure !== undefined && !state.isStopped && <ImageFailure message={message} reason={state.imageFailure} options={options} />}
      {state.notes.map((note) => (
        <p key={note} class="note" dir="auto">
          <IconAlert aria-hidden="true" />
          <span class="wrap">{note}</span>
        </p>
      ))}
      {isWaiting && (
        <p class="muted">
          <Status tone="live">{state.images.length > 0 || state.imageFailure !== undefined ? t.chat.writing : t.chat.thinking}</Status>
        </p>
      )}
      {state.text !== "" && <ReplyText text={state.text} isWriting={state.isRunning} />}
      {state.textFailure !== undefined && <ReplyTrouble message={message} title={state.text === "" ? t.chat.noText : t.chat.textFailed} reason={state.textFailure} />}
      {state.isInterrupted && <ReplyTrouble message={message} title={t.chat.interrupted} reason={t.chat.interruptedHint} />}
      <ReplyTools message={message} isRunning={state.isRunning} isMakingImage={state.isMakingImage} text={state.text} />
    </article>
  );
}

interface ReplyToolsProps {
  message: Message;
  isRunning: boolean;
  isMakingImage: boolean;
  text: string;
}

function ReplyTools({ message, isRunning, isMakingImage, text }: ReplyToolsProps) {
  const stop = useAction(() => stopImage(message.id));
  if (isMakingImage) {
    // With a language model, the text continues without the image.
    const stopsOnlyImage = jobOf.value.has(message.id) && chatModels.value?.length !== 0;
    return (
      <div class="row">
        <button type="button" class="small" disabled={stop.isRunning} onClick={() => void stop.run()}>
          <IconStop aria-hidden="true" />
          {stopsOnlyImage ? t.chat.stopImage : t.chat.stop}
        </button>
        <Versions message={message} />
      </div>
    );
  }
  if (isRunning) return <Versions message={message} />;
  return (
    <div class="message-tools">
      <Versions message={message} />
      <button type="button" class="quiet small icon" aria-label={t.chat.retry} title={t.chat.retry} disabled={isActive.value} onClick={() => void retry(message)}>
        <IconReload aria-hidden="true" />
      </button>
      {text !== "" && <CopyButton text={text} label={t.chat.copyText} />}
      {(chatModels.value?.length ?? 0) > 1 && message.model && <small class="truncate">{message.model}</small>}
    </div>
  );
}

function ReplyTrouble({ message, title, reason }: { message: Message; title: string; reason: string }) {
  return (
    <div class="trouble" role="alert">
      <strong>{title}</strong>
      {reason !== "" && (
        <span class="muted" dir="auto">
          {reason}
        </span>
      )}
      <div class="row">
        <button type="button" class="small" disabled={isActive.value} onClick={() => void retry(message)}>
          {t.chat.retry}
        </button>
      </div>
    </div>
  );
}
