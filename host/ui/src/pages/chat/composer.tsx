// Where a message is written: the text, its images and what is chosen for the image of the response.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Form } from "../../components/form.tsx";
import { useImageDrop } from "../../components/image_drop.ts";
import { useAction } from "../../components/resource.ts";
import { IconPlus, IconSend, IconStop } from "../../icons.ts";
import { messageOf } from "../../api/client.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { abilities, engine, options, setOptions, wantsImage } from "./choices.ts";
import { attachFiles, isUploading, setText, sources, text } from "./draft.ts";
import { ComposerOptions } from "./composer_options.tsx";
import { conversation, isActive } from "./conversation.ts";
import { chatModels, engines } from "./engines.ts";
import { isOptionsOpen, MaskDialog, maskedSource, OptionsDialog } from "./dialogs.ts";
import { SourceList } from "./source_list.tsx";
import { isSending, sendDraft, sendError, stopTurn } from "./turn.ts";

/** Height up to which the field grows, in pixels. */
const MAX_HEIGHT_PX = 240;

export function Composer() {
  const field = useRef<HTMLTextAreaElement>(null);
  const picker = useRef<HTMLInputElement>(null);
  const [refused, setRefused] = useState(0);
  const attach = (files: Iterable<File>) => setRefused(attachFiles(files));
  const isDropping = useImageDrop(attach);
  const stop = useAction(stopTurn);
  const isRunning = isActive.value && !isSending.value && conversation.value.id !== undefined;
  const isEmpty = text.value.trim() === "" && sources.value.length === 0;
  const hasFailed = sources.value.some((it) => it.error !== undefined);
  const cannotSend = isEmpty || hasFailed || isUploading.value || isSending.value || isActive.value;
  useLayoutEffect(() => fit(field.current), [text.value]);
  useEffect(() => {
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  }, [conversation.value.id === undefined]);
  const send = () => {
    if (cannotSend) return;
    setRefused(0);
    void sendDraft();
    // The button becomes another one.
    if (matchMedia("(pointer: fine)").matches) field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    // On a phone, Enter begins a line, as it does elsewhere there.
    const isTouch = matchMedia("(pointer: coarse)").matches;
    if (isTouch && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    send();
  };
  return (
    <footer class="composer">
      {sendError.value !== undefined && <SendFailure error={sendError.value} />}
      <Form class={isDropping ? "message-box dropping" : "message-box"} aria-label={t.chat.composer} onSubmit={send}>
        <SourceList />
        {refused > 0 && (
          <small class="bad" role="alert">
            {t.chat.notAnImage}
          </small>
        )}
        <textarea
          ref={field}
          class="message-field"
          rows={1}
          dir="auto"
          aria-label={t.chat.message}
          placeholder={isDropping ? t.chat.dropHere : placeholder()}
          value={text.value}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        <SourceHint />
        <div class="message-row">
          <input
            ref={picker}
            type="file"
            accept="image/*"
            multiple
            hidden
            onChange={(event) => {
              attach(event.currentTarget.files ?? []);
              event.currentTarget.value = "";
            }}
          />
          <div class="composer-options">
            <button type="button" class="quiet icon" aria-label={t.chat.addImage} title={t.chat.addImageHint} onClick={() => picker.current?.click()}>
              <IconPlus aria-hidden="true" />
            </button>
            <ComposerOptions />
          </div>
          {isRunning ? (
            <button type="button" class="send icon" aria-label={t.chat.stop} title={t.chat.stop} disabled={stop.isRunning} onClick={() => void stop.run()}>
              <IconStop aria-hidden="true" />
            </button>
          ) : (
            <button type="submit" class="primary send icon" aria-label={t.chat.send} title={t.chat.sendHint} aria-disabled={cannotSend}>
              <IconSend aria-hidden="true" />
            </button>
          )}
        </div>
      </Form>
      <ComposerDialogs />
    </footer>
  );
}

/** They are not part of the form: Enter in one of their fields must not send the message. */
function ComposerDialogs() {
  const masked = sources.value.find((it) => it.key === maskedSource.value && it.id !== undefined);
  return (
    <>
      {isOptionsOpen.value && <OptionsDialog onClose={() => (isOptionsOpen.value = false)} />}
      {masked && <MaskDialog key={masked.key} source={masked} onClose={() => (maskedSource.value = undefined)} />}
    </>
  );
}

function placeholder(): string {
  if (sources.value.length > 0) return t.chat.placeholderEdit;
  return wantsImage.value ? t.chat.placeholder : t.chat.placeholderText;
}

/** The field is as high as its text. */
function fit(field: HTMLTextAreaElement | null): void {
  if (!field) return;
  field.style.height = "auto";
  field.style.height = `${Math.min(MAX_HEIGHT_PX, field.scrollHeight)}px`;
}

function SendFailure({ error }: { error: unknown }) {
  return (
    <div class="composer-failure trouble" role="alert">
      <span>
        <strong>{t.chat.notSent}</strong> <span class="muted">{messageOf(error)}</span>
      </span>
      <div class="row">
        <button type="button" class="small" onClick={() => void sendDraft()}>
          {t.shell.retry}
        </button>
        <button type="button" class="quiet small" onClick={() => (sendError.value = undefined)}>
          {t.shell.close}
        </button>
      </div>
    </div>
  );
}

/** Says that the engine cannot use the attached images, and offers one that can. */
function SourceHint() {
  const chosen = engine.value;
  if (sources.value.length === 0 || !wantsImage.value || !chosen) return null;
  const max = abilities.value?.max_sources ?? 0;
  if (chosen.abilities.edit && sources.value.length > max) return <small class="attachment-hint">{t.chat.tooManyImages(titleOf(chosen), max)}</small>;
  if (chosen.abilities.edit) return null;
  const other = engines.value?.find((it) => it.is_ready && it.abilities.edit);
  // A language model can still look at them.
  const isUseless = !other && chatModels.value?.length === 0;
  return (
    <div class="row attachment-hint">
      <small class="grow">{isUseless ? t.chat.noEditAtAll(titleOf(chosen)) : t.chat.cannotEdit(titleOf(chosen))}</small>
      {other && options.value.engine !== other.name && (
        <button type="button" class="small" onClick={() => setOptions({ engine: other.name, model: undefined })}>
          {t.chat.useEngine(titleOf(other))}
        </button>
      )}
    </div>
  );
}
