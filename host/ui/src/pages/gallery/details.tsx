import { get } from "../../api/client.ts";
import type { GalleryImage } from "../../api/types.ts";
import { thumbnailUrl } from "../../api/url.ts";
import { useModal } from "../../components/dialog.tsx";
import { ImageFacts } from "../../components/image_facts.tsx";
import { Failure } from "../../components/notice.tsx";
import { useResource } from "../../components/resource.ts";
import { IconChevronLeft, IconChevronRight, IconClose } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { ImageActions } from "./image_actions.tsx";

interface ImageDetailsProps {
  id: string;
  /** The images of the grid. The shown one need not be among them. */
  images: readonly GalleryImage[];
  onShow: (id: string | undefined) => void;
  /** Returns whether the server has the star. */
  onStar: (id: string, starred: boolean) => Promise<boolean>;
  onDelete: (id: string, next: string | undefined) => void;
}

/** One image large, with everything that made it. */
export function ImageDetails({ id, images, onShow, onStar, onDelete }: ImageDetailsProps) {
  const dialog = useModal();
  const index = images.findIndex((it) => it.id === id);
  const listed = images[index];
  const loaded = useResource(async (signal) => (listed ? undefined : get("/api/v1/gallery/{id}", { path: { id }, signal })), [id, listed === undefined]);
  const image = listed ?? loaded.value;
  const before = index > 0 ? images[index - 1] : undefined;
  const after = index >= 0 ? images[index + 1] : undefined;
  const close = () => onShow(undefined);
  const toggleStar = async () => {
    if (!image) return;
    const starred = !image.starred;
    if ((await onStar(id, starred)) && !listed) loaded.set({ ...image, starred });
  };
  const remove = () => onDelete(id, (after ?? before)?.id);
  const onKeyDown = (event: KeyboardEvent) => {
    // Keys of a dialog above this one are its own.
    if (!(event.target instanceof Element) || event.target instanceof HTMLInputElement || event.target.closest("dialog") !== dialog.current) return;
    if (event.key === "ArrowLeft" && before) onShow(before.id);
    else if (event.key === "ArrowRight" && after) onShow(after.id);
    else if (event.key === "Delete") remove();
    else if (event.key === "s" && !event.ctrlKey && !event.metaKey) void toggleStar();
    else return;
    event.preventDefault();
  };
  return (
    <dialog ref={dialog} class="details" aria-label={image?.prompt ?? image?.name ?? t.gallery.details} onKeyDown={onKeyDown} onCancel={(event) => (event.preventDefault(), close())}>
      <div class="details-stage">
        {image && <Stage image={image} />}
        <Step class="before" label={t.gallery.previous} image={before} onShow={onShow} />
        <Step class="after" label={t.gallery.next} image={after} onShow={onShow} />
        <button type="button" class="stage-button close" aria-label={t.shell.close} onClick={close}>
          <IconClose />
        </button>
      </div>
      <div class="details-side">
        {!image && loaded.error !== undefined && <Failure error={loaded.error} onRetry={loaded.reload} />}
        {image && (
          <>
            <ImageActions image={image} onStar={() => void toggleStar()} onDelete={remove} />
            <ImageFacts image={image} />
          </>
        )}
      </div>
    </dialog>
  );
}

/** The whole image. Its thumbnail holds the place until it is there. */
function Stage({ image }: { image: GalleryImage }) {
  const { width, height } = image;
  const style = width && height ? { aspectRatio: `${width} / ${height}`, "--ratio": String(width / height), "--natural": `${width}px`, backgroundImage: `url("${thumbnailUrl(image.id, 512)}")` } : {};
  return <img key={image.id} src={image.url} alt={image.prompt ?? image.name} width={width ?? undefined} height={height ?? undefined} style={style} />;
}

interface StepProps {
  class: string;
  label: string;
  image: GalleryImage | undefined;
  onShow: (id: string) => void;
}

function Step({ label, image, onShow, ...props }: StepProps) {
  if (!image) return null;
  const Icon = props.class === "before" ? IconChevronLeft : IconChevronRight;
  return (
    <button type="button" class={`stage-button ${props.class}`} aria-label={label} onClick={() => onShow(image.id)}>
      <Icon />
    </button>
  );
}
