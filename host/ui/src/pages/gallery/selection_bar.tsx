import { useState } from "preact/hooks";
import type { GalleryImage } from "../../api/types.ts";
import { IconColumns, IconDownload, IconStar, IconTrash } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { CompareDialog } from "./compare_dialog.tsx";

/** Images in one archive. */
const MAX_ZIP_IMAGES = 100;

interface SelectionBarProps {
  images: readonly GalleryImage[];
  onStar: () => void;
  onDelete: () => void;
  onClear: () => void;
}

/** What can be done with the selected images. */
export function SelectionBar({ images, onStar, onDelete, onClear }: SelectionBarProps) {
  const [isComparing, setComparing] = useState(false);
  const [first, second] = images;
  const canZip = images.length <= MAX_ZIP_IMAGES;
  const zip = `/api/v1/gallery/zip?ids=${images.map((it) => it.id).join(",")}`;
  return (
    <div class="selection-bar" role="toolbar" aria-label={t.gallery.selection}>
      <strong aria-live="polite">{t.gallery.selected(images.length)}</strong>
      <button type="button" class="quiet" onClick={onStar}>
        <IconStar aria-hidden="true" />
        <span>{t.gallery.star}</span>
      </button>
      {images.length === 2 && (
        <button type="button" class="quiet" onClick={() => setComparing(true)}>
          <IconColumns aria-hidden="true" />
          <span>{t.gallery.compare}</span>
        </button>
      )}
      {canZip ? (
        <a class="button quiet" href={zip} download>
          <IconDownload aria-hidden="true" />
          <span>{t.gallery.download}</span>
        </a>
      ) : (
        <small>{t.gallery.zipLimit(MAX_ZIP_IMAGES)}</small>
      )}
      <button type="button" class="quiet danger" onClick={onDelete}>
        <IconTrash aria-hidden="true" />
        <span>{t.gallery.delete}</span>
      </button>
      <button type="button" class="quiet" onClick={onClear}>
        {t.gallery.clearSelection}
      </button>
      {isComparing && first && second && <CompareDialog before={first} after={second} onClose={() => setComparing(false)} />}
    </div>
  );
}
