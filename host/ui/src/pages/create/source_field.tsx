import { useEffect, useRef, useState } from "preact/hooks";
import { contentUrl } from "../../api/url.ts";
import { maskName, readLocalImage } from "../../components/local_images.ts";
import { IconClose, IconImage, IconMask } from "../../icons.ts";
import { t } from "../../text/index.ts";
import type { FormSource } from "./form_state.ts";

interface SourceFieldProps {
  sources: readonly FormSource[];
  canMask: boolean;
  onAdd: (files: readonly File[]) => void;
  onRemove: (key: string) => void;
  onMask: () => void;
  /** What is wrong with the sources for this engine. */
  problem?: string | undefined;
}

/** The images that an edit starts from. */
export function SourceField({ sources, canMask, onAdd, onRemove, onMask, problem }: SourceFieldProps) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <div class="field">
      <span class="field-label" id="sources-label">
        {t.create.sources}
      </span>
      <ul class="create-sources" aria-labelledby="sources-label">
        {sources.map((source, index) => (
          <Source key={source.key} source={source} onRemove={onRemove} onMask={canMask && index === 0 ? onMask : undefined} />
        ))}
        <li>
          <button type="button" class={sources.length === 0 ? "create-source-add wide" : "create-source-add"} aria-label={sources.length === 0 ? undefined : t.create.addSource} onClick={() => input.current?.click()}>
            <IconImage aria-hidden="true" />
            {sources.length === 0 && <span>{t.create.dropSource}</span>}
          </button>
        </li>
      </ul>
      <input
        ref={input}
        type="file"
        accept="image/*"
        multiple
        hidden
        aria-label={t.create.addSource}
        onChange={(event) => {
          onAdd([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
      {problem && (
        <span class="error" role="alert">
          {problem}
        </span>
      )}
    </div>
  );
}

interface SourceProps {
  source: FormSource;
  onRemove: (key: string) => void;
  onMask: (() => void) | undefined;
}

function Source({ source, onRemove, onMask }: SourceProps) {
  const url = useSourceUrl(source);
  const name = source.name || t.create.source;
  return (
    <li class="create-source">
      {url ? <img src={url} alt={name} /> : <span class="skeleton" aria-hidden="true" />}
      {source.maskedAt && <MaskOverlay key={source.maskedAt} name={source.key} />}
      <button type="button" class="create-source-remove" aria-label={t.create.removeSource(name)} title={t.create.removeSource(name)} onClick={() => onRemove(source.key)}>
        <IconClose aria-hidden="true" />
      </button>
      {onMask && (
        <button type="button" class={source.maskedAt ? "create-source-mask masked" : "create-source-mask"} title={source.maskedAt ? t.create.changeMask : t.create.addMask} onClick={onMask}>
          <IconMask aria-hidden="true" />
          {t.create.maskButton}
        </button>
      )}
    </li>
  );
}

/** The part that stays, dimmed: the mask is transparent where the image may change. */
function MaskOverlay({ name }: { name: string }) {
  const url = useLocalUrl(maskName(name), true);
  return url ? <img class="create-source-overlay" src={url} alt={t.create.masked} /> : null;
}

/** The URL of a source: of this browser until it is uploaded. */
export function useSourceUrl(source: FormSource | undefined): string | undefined {
  const local = useLocalUrl(source?.key ?? "", source !== undefined && source.fileId === undefined);
  return source?.fileId === undefined ? local : contentUrl(source.fileId);
}

function useLocalUrl(name: string, isWanted: boolean): string | undefined {
  const [url, setUrl] = useState<string | undefined>();
  useEffect(() => {
    if (!isWanted) return;
    let created: string | undefined;
    let isCurrent = true;
    void readLocalImage(name).then((image) => {
      if (!image || !isCurrent) return;
      created = URL.createObjectURL(image);
      setUrl(created);
    });
    return () => {
      isCurrent = false;
      setUrl(undefined);
      if (created) URL.revokeObjectURL(created);
    };
  }, [name, isWanted]);
  return url;
}
