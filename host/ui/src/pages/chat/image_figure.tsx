import { useState } from "preact/hooks";
import { thumbnailUrl } from "../../api/url.ts";
import { Menu } from "../../components/menu.tsx";
import { IconBrush, IconDownload, IconLink, IconLog, IconMore, IconReuse, IconVary, IconDice } from "../../icons.ts";
import { randomSeed } from "../../random.ts";
import type { Size } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { isActive } from "./conversation.ts";
import { engines } from "./engines.ts";
import { frameOf } from "./image_frame.ts";
import { editImage, extensionOf, reuse } from "./image_actions.ts";
import { records } from "./image_records.ts";
import type { Message } from "./message.ts";
import { ShareDialog } from "./dialogs.ts";
import { retry } from "./turn.ts";

interface ImageFigureProps {
  image: { id: string; url: string; name: string };
  prompt: string;
  message: Message;
  /** The size of the frame until the size of the image is known. */
  fallbackSize: Size;
  onOpen: () => void;
}

/** A finished image with its actions, which are always visible. */
export function ImageFigure({ image, prompt, message, fallbackSize, onOpen }: ImageFigureProps) {
  const [isSharing, setSharing] = useState(false);
  const [isWhole, setWhole] = useState(false);
  const [natural, setNatural] = useState<Size | undefined>();
  const record = records.value.get(image.id);
  const size = record?.width && record.height ? { width: record.width, height: record.height } : (natural ?? fallbackSize);
  const canEdit = engines.value?.some((it) => it.abilities.edit) === true;
  return (
    <figure class="image finished" style={frameOf(size)}>
      <button type="button" class="image-open" aria-label={t.chat.openImage(prompt.slice(0, 200))} onClick={onOpen}>
        <img
          src={isWhole ? image.url : thumbnailUrl(image.id, 1024)}
          alt={prompt.slice(0, 500)}
          loading="lazy"
          decoding="async"
          onLoad={({ currentTarget: { naturalWidth: width, naturalHeight: height } }) => width > 0 && setNatural({ width, height })}
          // Some formats have no thumbnail.
          onError={() => setWhole(true)}
        />
      </button>
      <div class="image-tools">
        {canEdit && (
          <button type="button" onClick={() => editImage(image.id, image.name)}>
            <IconBrush aria-hidden="true" />
            {t.chat.edit}
          </button>
        )}
        <button type="button" aria-label={t.chat.vary} title={t.chat.varyHint} disabled={isActive.value} onClick={() => void retry(message, { seed: randomSeed() })}>
          <IconVary aria-hidden="true" />
        </button>
        <a href={image.url} download={`${fileStem(prompt)}${extensionOf(record?.content_type ?? image.name)}`} aria-label={t.chat.download} title={t.chat.download}>
          <IconDownload aria-hidden="true" />
        </a>
        <Menu label={t.chat.moreActions} face={<IconMore aria-hidden="true" />} class="">
          <span class="label">{t.chat.reuse}</span>
          <button type="button" onClick={() => void reuse(image.id, "prompt", prompt)}>
            <IconReuse aria-hidden="true" />
            {t.chat.reusePrompt}
          </button>
          <button type="button" disabled={record?.seed === undefined} onClick={() => void reuse(image.id, "seed", prompt)}>
            <IconDice aria-hidden="true" />
            {t.chat.reuseSeed}
          </button>
          <button type="button" onClick={() => void reuse(image.id, "all", prompt)}>
            <IconReuse aria-hidden="true" />
            {t.chat.reuseAll}
          </button>
          <hr />
          <button type="button" onClick={() => setSharing(true)}>
            <IconLink aria-hidden="true" />
            {t.chat.share}
          </button>
          <button type="button" onClick={onOpen}>
            <IconLog aria-hidden="true" />
            {t.chat.details}
          </button>
        </Menu>
      </div>
      {isSharing && <ShareDialog id={image.id} onClose={() => setSharing(false)} />}
    </figure>
  );
}

/** A file name from a prompt. */
function fileStem(prompt: string): string {
  const words = prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  return [...words].slice(0, 48).join("") || "image";
}
