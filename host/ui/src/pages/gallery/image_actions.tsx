import { useState } from "preact/hooks";
import type { GalleryImage } from "../../api/types.ts";
import { CopyButton } from "../../components/copy.tsx";
import { Menu } from "../../components/menu.tsx";
import { ShareDialog } from "../../components/share_dialog.tsx";
import { IconBrush, IconDownload, IconMore, IconReuse, IconShare, IconStar, IconStarFilled, IconTrash } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { curlCommand } from "./curl.ts";

interface ImageActionsProps {
  image: GalleryImage;
  onStar: () => void;
  onDelete: () => void;
}

/** What can be done with one image. */
export function ImageActions({ image, onStar, onDelete }: ImageActionsProps) {
  const [isSharing, setSharing] = useState(false);
  const Star = image.starred ? IconStarFilled : IconStar;
  const canReuse = image.prompt !== null;
  return (
    <div class="stack">
      <div class="row details-actions">
        <a class="button primary" href={`/create?source=${image.id}`}>
          <IconBrush aria-hidden="true" />
          {t.gallery.edit}
        </a>
        {canReuse && <ReuseMenu image={image} />}
        <button type="button" class="icon" aria-pressed={image.starred} aria-label={image.starred ? t.gallery.unstar : t.gallery.star} onClick={onStar}>
          <Star aria-hidden="true" class={image.starred ? "starred" : ""} />
        </button>
        <a class="button icon" href={image.url} download={image.name} aria-label={t.gallery.download}>
          <IconDownload aria-hidden="true" />
        </a>
        <Menu label={t.shell.more} face={<IconMore aria-hidden="true" />} class="icon">
          <button type="button" onClick={() => setSharing(true)}>
            <IconShare aria-hidden="true" />
            {t.chat.share}
          </button>
          <hr />
          <button type="button" class="danger" onClick={onDelete}>
            <IconTrash aria-hidden="true" />
            {t.gallery.delete}
          </button>
        </Menu>
        {canReuse && (
          <CopyButton text={curlCommand(image, location.origin)} class="quiet small">
            {t.gallery.copyCurl}
          </CopyButton>
        )}
      </div>
      {isSharing && <ShareDialog id={image.id} onClose={() => setSharing(false)} />}
    </div>
  );
}

function ReuseMenu({ image }: { image: GalleryImage }) {
  const face = (
    <>
      <IconReuse aria-hidden="true" />
      {t.gallery.reuse}
    </>
  );
  return (
    <Menu label={t.gallery.reuse} face={face} hasText class="">
      {(["prompt", "seed", "all"] as const).map((what) => (
        <a key={what} href={`/create?reuse=${image.id}&what=${what}`}>
          {t.gallery.reuseWhat[what]}
        </a>
      ))}
    </Menu>
  );
}
