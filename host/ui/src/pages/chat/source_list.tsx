import { useEffect, useState } from "preact/hooks";
import type { ComponentType } from "preact";
import { messageOf } from "../../api/client.ts";
import { Dialog } from "../../components/dialog.tsx";
import { Failure } from "../../components/notice.tsx";
import { IconClose, IconMask, IconReload } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { abilities, clearMask, detach, setMask, sources, upload, wantsImage, type Source } from "./composer_state.ts";
import { focusComposer } from "./composer_focus.ts";

/** The images that are attached to the next message. */
export function SourceList() {
  const [masked, setMasked] = useState<Source | undefined>();
  const list = sources.value;
  if (list.length === 0) return null;
  const canMask = abilities.value?.mask === true && wantsImage.value;
  return (
    <>
      <ul class="sources" aria-label={t.chat.attached}>
        {list.map((source, index) => (
          <SourceItem key={source.key} source={source} onMask={canMask && index === 0 && source.id !== undefined ? () => setMasked(source) : undefined} />
        ))}
      </ul>
      {masked?.id !== undefined && <MaskDialog sourceKey={masked.key} sourceId={masked.id} onClose={() => setMasked(undefined)} />}
    </>
  );
}

function SourceItem({ source, onMask }: { source: Source; onMask: (() => void) | undefined }) {
  const { key, id, name, previewUrl, file, error, mask } = source;
  const url = id === undefined ? previewUrl : `/api/v1/files/${encodeURIComponent(id)}/thumbnail?size=256`;
  return (
    <li class="source">
      <div class={error === undefined ? "source-image" : "source-image failed"}>
        {url && <img src={url} alt={name} width={64} height={64} />}
        {id === undefined && error === undefined && <div class="track unknown" role="status" aria-label={t.chat.uploading}><i /></div>}
        <button type="button" class="source-remove" aria-label={t.chat.removeImage(name)} onClick={() => detach(key)}>
          <IconClose aria-hidden="true" />
        </button>
      </div>
      {error !== undefined && (
        <div class="stack tight source-error">
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
      {onMask && (
        <div class="stack tight">
          <button type="button" class={mask === undefined ? "small" : "small has-mask"} onClick={onMask}>
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

/** The component that another file has: it is loaded when a mask is painted first. */
type MaskEditorView = ComponentType<{ source: string; sourceId: string; onDone: (mask: Blob) => void; onClose: () => void }>;

interface MaskDialogProps {
  sourceKey: string;
  sourceId: string;
  onClose: () => void;
}

function MaskDialog({ sourceKey, sourceId, onClose }: MaskDialogProps) {
  const [Editor, setEditor] = useState<MaskEditorView | undefined>();
  const [error, setError] = useState<unknown>();
  const [unsaved, setUnsaved] = useState<Blob | undefined>();
  useEffect(() => {
    import("../../components/mask_editor.tsx").then(
      (module) => setEditor(() => module.MaskEditor),
      (failure: unknown) => setError(failure),
    );
  }, []);
  const save = (mask: Blob) => {
    setError(undefined);
    setUnsaved(mask);
    setMask(sourceKey, mask).then(
      () => {
        onClose();
        focusComposer();
      },
      (failure: unknown) => setError(failure),
    );
  };
  if (error !== undefined) {
    return (
      <Dialog title={t.chat.selectArea} onClose={onClose}>
        {unsaved ? <Failure error={new Error(messageOf(error))} onRetry={() => save(unsaved)} /> : <Failure error={error} />}
      </Dialog>
    );
  }
  if (!Editor || unsaved) return null;
  return <Editor source={`/api/v1/files/${encodeURIComponent(sourceId)}/content`} sourceId={sourceId} onDone={save} onClose={onClose} />;
}
