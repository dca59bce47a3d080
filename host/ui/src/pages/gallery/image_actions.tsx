import { useState } from "preact/hooks";
import { post } from "../../api/client.ts";
import type { GalleryImage, ImageLink } from "../../api/types.ts";
import { CopyButton } from "../../components/copy.tsx";
import { Menu } from "../../components/menu.tsx";
import { Trouble } from "../../components/notice.tsx";
import { useAction } from "../../components/resource.ts";
import { formatTime } from "../../format.ts";
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
  const [link, setLink] = useState<ImageLink | undefined>();
  const share = useAction(async () => setLink(await post("/api/v1/files/{id}/link", { path: { id: image.id }, body: {} })));
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
          <button type="button" onClick={() => void share.run()}>
            <IconShare aria-hidden="true" />
            {t.gallery.share}
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
      <Trouble error={share.error} />
      {link && <SharedLink url={link.url} expiresAt={link.expires_at} />}
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

function SharedLink({ url, expiresAt }: { url: string; expiresAt: number }) {
  const absolute = new URL(url, location.origin).href;
  return (
    <div class="card stack tight" role="status">
      <strong>{t.gallery.linkReady}</strong>
      <small>{t.gallery.linkUntil(formatTime(expiresAt))}</small>
      <div class="row">
        <code class="truncate grow">{absolute}</code>
        <CopyButton text={absolute} class="small">
          {t.shell.copy}
        </CopyButton>
      </div>
    </div>
  );
}
