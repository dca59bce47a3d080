import { useState } from "preact/hooks";
import type { GalleryImage } from "../../api/types.ts";
import { Dialog } from "../../components/dialog.tsx";
import { t } from "../../text/index.ts";

interface CompareDialogProps {
  before: GalleryImage;
  after: GalleryImage;
  onClose: () => void;
}

/** Two images, one above the other; a slider shows more of the one or of the other. */
export function CompareDialog({ before, after, onClose }: CompareDialogProps) {
  const [position, setPosition] = useState(50);
  return (
    <Dialog title={t.gallery.compare} class="wide" onClose={onClose}>
      <div class="compare">
        <img src={before.url} alt={before.prompt ?? before.name} />
        <img src={after.url} alt={after.prompt ?? after.name} style={{ clipPath: `inset(0 0 0 ${position}%)` }} />
      </div>
      <input type="range" min={0} max={100} value={position} aria-label={t.gallery.comparePosition} onInput={(event) => setPosition(event.currentTarget.valueAsNumber)} />
    </Dialog>
  );
}
