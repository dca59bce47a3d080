import { thumbnailUrl } from "../../api/url.ts";
import { Track } from "../../components/track.tsx";
import { IconClose, IconMask, IconReload } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { abilities, wantsImage } from "./choices.ts";
import { clearMask, detach, sources, type Source, upload } from "./draft.ts";
import { maskedSource } from "./dialogs.ts";

/** The images that are attached to the next message. */
export function SourceList() {
  const list = sources.value;
  if (list.length === 0) return null;
  const canMask = abilities.value?.mask === true && wantsImage.value;
  return (
    <ul class="attachments" aria-label={t.chat.attached}>
      {list.map((source, index) => (
        // A mask belongs to the first image.
        <SourceItem key={source.key} source={source} canMask={canMask && index === 0 && source.id !== undefined} />
      ))}
    </ul>
  );
}

function SourceItem({ source, canMask }: { source: Source; canMask: boolean }) {
  const { key, id, name, previewUrl, file, error, mask } = source;
  const url = id === undefined ? previewUrl : thumbnailUrl(id, 256);
  return (
    <li class="attachment">
      <div class={error === undefined ? "attachment-image" : "attachment-image failed"}>
        {url && <img src={url} alt={name} width={64} height={64} />}
        {id === undefined && error === undefined && <Track label={t.chat.uploading} />}
        <button type="button" class="attachment-remove" aria-label={t.chat.removeImage(name)} onClick={() => detach(key)}>
          <IconClose aria-hidden="true" />
        </button>
      </div>
      {error !== undefined && (
        <div class="stack tight attachment-error">
          <small class="bad" role="alert">
            {error}
          </small>
          {file && (
            <button type="button" class="small" onClick={() => void upload(key, file)}>
              <IconReload aria-hidden="true" />
              {t.shell.retry}
            </button>
          )}
        </div>
      )}
      {canMask && (
        <div class="stack tight">
          <button type="button" class={mask === undefined ? "small" : "small has-mask"} onClick={() => (maskedSource.value = key)}>
            <IconMask aria-hidden="true" />
            {mask === undefined ? t.chat.selectArea : t.chat.changeArea}
          </button>
          {mask !== undefined && (
            <button type="button" class="quiet small" onClick={() => clearMask(key)}>
              {t.chat.wholeImage}
            </button>
          )}
        </div>
      )}
    </li>
  );
}
