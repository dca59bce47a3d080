import { Menu } from "../../components/menu.tsx";
import { IconChevronDown } from "../../icons.ts";
import { isAboutSize, showSize, smallerSize } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { engine } from "./choices.ts";
import { setText } from "./draft.ts";
import { focusComposer } from "./composer_focus.ts";
import { conversation, isActive, jobOf } from "./conversation.ts";
import { engines } from "./engines.ts";
import type { ImageOptions } from "./image_options.ts";
import { textOf, type Message } from "./message.ts";
import { retry } from "./turn.ts";

interface ImageFailureProps {
  message: Message;
  reason: string;
  options: ImageOptions;
}

/** Why there is no image, where it would be, with what to do next. */
export function ImageFailure({ message, reason, options }: ImageFailureProps) {
  const job = jobOf.value.get(message.id);
  const hint = job?.error?.hint;
  const used = job?.binding ?? options.engine ?? engine.value?.name;
  const size = job?.request?.size ?? options.size ?? engine.value?.default_size;
  const smaller = isAboutSize(reason) ? smallerSize(size) : undefined;
  const isEdit = Boolean(options.sources?.length);
  const others = (engines.value ?? []).filter((it) => it.is_ready && it.name !== used && (!isEdit || it.abilities.edit));
  const isBusy = isActive.value;
  const changePrompt = () => {
    setText(textOf(conversation.peek().messages.get(message.parentId ?? "")?.content));
    focusComposer();
  };
  return (
    <div class="trouble" role="alert">
      <strong>{t.chat.imageFailed}</strong>
      <span class="muted" dir="auto">
        {reason.slice(0, 2_000)}
      </span>
      {hint && (
        <span class="muted" dir="auto">
          {hint}
        </span>
      )}
      <div class="row">
        {smaller && (
          <button type="button" class="small" disabled={isBusy} onClick={() => void retry(message, { size: smaller })}>
            {t.chat.trySize(showSize(smaller))}
          </button>
        )}
        <button type="button" class="small" disabled={isBusy} onClick={() => void retry(message)}>
          {t.chat.retry}
        </button>
        {others.length > 0 && (
          <Menu
            label={t.chat.otherEngine}
            class="small"
            face={
              <>
                {t.chat.otherEngine}
                <IconChevronDown aria-hidden="true" />
              </>
            }
          >
            {others.map((it) => (
              <button key={it.name} type="button" disabled={isBusy} onClick={() => void retry(message, { engine: it.name, model: "" })}>
                {titleOf(it)}
              </button>
            ))}
          </Menu>
        )}
        <button type="button" class="quiet small" onClick={changePrompt}>
          {t.chat.changePrompt}
        </button>
      </div>
    </div>
  );
}
