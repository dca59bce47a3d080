import { useState } from "preact/hooks";
import { thumbnailUrl } from "../../api/url.ts";
import { Form } from "../../components/form.tsx";
import { useAction } from "../../components/resource.ts";
import { IconEdit } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { isActive } from "./conversation.ts";
import { CopyButton } from "../../components/copy.tsx";
import { ImageDialog } from "./dialogs.ts";
import { imagesOf, textOf, type Message } from "./message.ts";
import { resend } from "./turn.ts";
import { Versions } from "./versions.tsx";

/** Characters of a message that are shown at first. */
const MAX_CHARACTERS = 1_500;

export function UserMessage({ message }: { message: Message }) {
  const [isEditing, setEditing] = useState(false);
  const [openImage, setOpenImage] = useState<string | undefined>();
  const text = textOf(message.content);
  const images = imagesOf(message);
  if (isEditing) return <MessageForm message={message} initial={text} onClose={() => setEditing(false)} />;
  return (
    <article class="from-user-group" aria-label={t.chat.you}>
      {images.length > 0 && (
        <ul class="attached">
          {images.map((image) => (
            <li key={image.id}>
              <button type="button" class="attached-image" aria-label={t.chat.openImage(image.name)} onClick={() => setOpenImage(image.id)}>
                <img src={thumbnailUrl(image.id, 256)} alt="" width={96} height={96} loading="lazy" />
              </button>
            </li>
          ))}
          {message.image_generation?.mask && <li class="chip">{t.chat.withMask}</li>}
        </ul>
      )}
      {text !== "" && <UserText text={text} />}
      <div class="message-tools">
        <Versions message={message} />
        <CopyButton text={text} label={t.shell.copy} />
        <button type="button" class="quiet small icon" aria-label={t.chat.changeMessage} title={t.chat.changeMessage} disabled={isActive.value} onClick={() => setEditing(true)}>
          <IconEdit aria-hidden="true" />
        </button>
      </div>
      {openImage !== undefined && <ImageDialog id={openImage} onClose={() => setOpenImage(undefined)} />}
    </article>
  );
}

function UserText({ text }: { text: string }) {
  const [isWhole, setWhole] = useState(false);
  const isLong = text.length > MAX_CHARACTERS && !isWhole;
  return (
    <div class="from-user" dir="auto">
      {isLong ? `${text.slice(0, MAX_CHARACTERS)}…` : text}
      {isLong && (
        <button type="button" class="quiet small" onClick={() => setWhole(true)}>
          {t.chat.showAll}
        </button>
      )}
    </div>
  );
}

interface MessageFormProps {
  message: Message;
  initial: string;
  onClose: () => void;
}

/** Changes a message: the changed one is a further version, and gets a response of its own. */
function MessageForm({ message, initial, onClose }: MessageFormProps) {
  const [text, setText] = useState(initial);
  const { isRunning, run } = useAction(async () => {
    await resend(message, text.trim());
    onClose();
  });
  return (
    <Form
      class="message-form"
      onSubmit={run}
      onKeyDown={(event) => {
        if (event.key === "Escape") onClose();
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void run();
      }}
    >
      <textarea aria-label={t.chat.changeMessage} rows={Math.min(10, text.split("\n").length + 1)} dir="auto" value={text} autofocus onInput={(event) => setText(event.currentTarget.value)} />
      <div class="row end">
        <small class="grow">{t.chat.changeHint}</small>
        <button type="button" class="quiet" onClick={onClose}>
          {t.shell.cancel}
        </button>
        <button type="submit" class="primary" disabled={isRunning || text.trim() === ""}>
          {t.chat.send}
        </button>
      </div>
    </Form>
  );
}
