import { useEffect } from "preact/hooks";
import type { GalleryImage } from "../../api/types.ts";
import { messageOf } from "../../api/client.ts";
import { useAction } from "../../components/resource.ts";
import { t } from "../../text/index.ts";
import type { ImageList } from "./image_list.ts";

export interface Deletion {
  ids: ReadonlySet<string>;
  /** The images before it. */
  before: readonly GalleryImage[];
  /** When it cannot be undone any more, in seconds since 1970. */
  until: number;
}

interface UndoNoticeProps {
  list: ImageList;
  deletion: Deletion;
  onDone: () => void;
}

/** Says what was deleted as long as it can be undone. */
export function UndoNotice({ list, deletion, onDone }: UndoNoticeProps) {
  const undo = useAction(async () => {
    await list.restore(deletion.ids, deletion.before);
    onDone();
  });
  useEffect(() => {
    const timer = setTimeout(onDone, Math.max(0, deletion.until * 1000 - Date.now()));
    return () => clearTimeout(timer);
  }, [deletion]);
  return (
    <div class="notice floating" role="status">
      <div>{undo.error === undefined ? t.gallery.deleted(deletion.ids.size) : messageOf(undo.error)}</div>
      <div class="row">
        <button type="button" disabled={undo.isRunning} onClick={() => void undo.run()}>
          {t.gallery.undo}
        </button>
        <button type="button" class="quiet" onClick={onDone}>
          {t.shell.close}
        </button>
      </div>
    </div>
  );
}
