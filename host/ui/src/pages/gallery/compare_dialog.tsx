import type { GalleryImage } from "../../api/types.ts";
import { Compare, type ComparedImage } from "../../components/compare.tsx";
import { Dialog } from "../../components/dialog.tsx";
import { t } from "../../text/index.ts";

interface CompareDialogProps {
  before: GalleryImage;
  after: GalleryImage;
  onClose: () => void;
}

/** Two images of the gallery next to each other, or with a slider. */
export function CompareDialog({ before, after, onClose }: CompareDialogProps) {
  return (
    <Dialog title={t.gallery.compare} class="wide" onClose={onClose}>
      <Compare images={[comparedImage(before, 1), comparedImage(after, 2)]} />
    </Dialog>
  );
}

/** A label of more characters would cover the image. */
const MAX_LABEL = 60;

function comparedImage({ id, url, prompt, name, width, height }: GalleryImage, place: number): ComparedImage {
  const text = prompt ?? name;
  return { id, url, label: `${place} · ${text.slice(0, MAX_LABEL)}`, alt: text, width, height };
}
