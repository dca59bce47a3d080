// The editor that paints which part of an attached image may change.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { contentUrl } from "../../api/url.ts";
import { Dialog } from "../../components/dialog.tsx";
import { Failure } from "../../components/notice.tsx";
import { t } from "../../text/index.ts";
import { setMask, type Source } from "./draft.ts";
import { focusComposer } from "./composer_focus.ts";

/** Loaded when a mask is painted first. */
type MaskEditorView = ComponentType<{ source: string; sourceId: string; onDone: (mask: Blob) => void; onClose: () => void }>;

interface MaskDialogProps {
  source: Source;
  onClose: () => void;
}

export function MaskDialog({ source: { key, id = "" }, onClose }: MaskDialogProps) {
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
    setMask(key, mask).then(
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
  return <Editor source={contentUrl(id)} sourceId={id} onDone={save} onClose={onClose} />;
}
