// The editor that paints which part of an attached image may change.
import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Dialog } from "../../components/dialog.tsx";
import { Failure } from "../../components/notice.tsx";
import { t } from "../../text/index.ts";
import { setMask, sources } from "./draft.ts";
import { focusComposer } from "./composer_focus.ts";

/** The key of the source whose mask is painted. */
export const maskedSource = signal<string | undefined>(undefined);

/** Loaded when a mask is painted first. */
type MaskEditorView = ComponentType<{ source: string; sourceId: string; onDone: (mask: Blob) => void; onClose: () => void }>;

/** Is not part of the composer's form: a key in the editor must not send the message. */
export function MaskDialog() {
  const source = sources.value.find((it) => it.key === maskedSource.value);
  return source?.id === undefined ? null : <OpenMaskDialog sourceKey={source.key} sourceId={source.id} />;
}

function OpenMaskDialog({ sourceKey, sourceId }: { sourceKey: string; sourceId: string }) {
  const onClose = () => (maskedSource.value = undefined);
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
        <Failure error={error} {...(unsaved ? { onRetry: () => save(unsaved) } : {})} />
      </Dialog>
    );
  }
  if (!Editor || unsaved) return null;
  return <Editor source={`/api/v1/files/${encodeURIComponent(sourceId)}/content`} sourceId={sourceId} onDone={save} onClose={onClose} />;
}
