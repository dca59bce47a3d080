import { useEffect, useState } from "preact/hooks";
import { messageOf } from "../../api/client.ts";
import { Dialog } from "../../components/dialog.tsx";
import { maskName, readLocalImage } from "../../components/local_images.ts";
import { Failure } from "../../components/notice.tsx";
import { t } from "../../text/index.ts";
import { useSourceUrl } from "./source_field.tsx";
import type { CreatePageState } from "./use_create.ts";

type Editor = typeof import("../../components/mask_editor.tsx");

/** The mask editor on the first source. It is loaded when it is opened first. */
export function MaskDialog({ page }: { page: CreatePageState }) {
  const { isMasking, setIsMasking, form, set } = page;
  const [source, ...others] = form.sources;
  const url = useSourceUrl(isMasking ? source : undefined);
  const [editor, setEditor] = useState<Editor | undefined>();
  const [error, setError] = useState<unknown>();
  const load = () => {
    setError(undefined);
    import("../../components/mask_editor.tsx").then(setEditor, setError);
  };
  useEffect(() => {
    if (isMasking && !editor) load();
  }, [isMasking]);
  if (!isMasking || !source) return null;
  const note = (maskedAt: number | undefined) => {
    const { maskedAt: _time, maskId: _id, ...rest } = source;
    set({ sources: [maskedAt === undefined ? rest : { ...rest, maskedAt }, ...others] });
  };
  const close = () => {
    setIsMasking(false);
    // A mask that is in use follows each change; one that was cleared is not used any more.
    if (source.maskedAt !== undefined) void readLocalImage(maskName(source.key)).then((mask) => note(mask && Date.now()));
  };
  if (error !== undefined) {
    return (
      <Dialog title={t.create.mask.title} onClose={close}>
        <Failure error={new Error(messageOf(error))} onRetry={load} />
      </Dialog>
    );
  }
  if (!editor || !url) return null;
  return (
    <editor.MaskEditor
      source={url}
      sourceId={source.key}
      onClose={close}
      onDone={() => {
        // The editor has stored the mask in this browser; it is read when the job is created.
        note(Date.now());
        setIsMasking(false);
      }}
    />
  );
}
