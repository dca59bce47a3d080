// An image in its full size, with everything that made it.
import { useEffect, useState } from "preact/hooks";
import { contentUrl } from "../../api/url.ts";
import { Dialog } from "../../components/dialog.tsx";
import { ImageFacts } from "../../components/image_facts.tsx";
import { Failure } from "../../components/notice.tsx";
import { useResource } from "../../components/resource.ts";
import { Skeleton } from "../../components/skeleton.tsx";
import { IconChevronLeft, IconChevronRight } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { frameOf } from "./image_frame.ts";
import { loadRecord } from "./image_records.ts";

interface ImageDialogProps {
  id: string;
  /** The images to go through with the arrow keys. */
  ids?: string[];
  /** Describes the image until what is stored with it is there. */
  prompt?: string;
  onClose: () => void;
}

export function ImageDialog({ id: firstId, ids = [firstId], prompt, onClose }: ImageDialogProps) {
  const [id, setId] = useState(firstId);
  const { value, error, reload } = useResource(() => loadRecord(id), [id]);
  const record = value?.id === id ? value : undefined;
  const index = ids.indexOf(id);
  const go = (step: number) => setId(ids[(index + step + ids.length) % ids.length] ?? id);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (ids.length < 2 || (event.target instanceof Element && event.target.matches("input, textarea"))) return;
      if (event.key === "ArrowRight") go(1);
      if (event.key === "ArrowLeft") go(-1);
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });
  const size = record?.width && record.height ? { width: record.width, height: record.height } : { width: 1, height: 1 };
  return (
    <Dialog title={t.chat.details} class="wide image-dialog" onClose={onClose}>
      <div class="image-dialog-columns">
        <div class="image-dialog-view">
          <img src={contentUrl(id)} alt={record?.prompt ?? prompt ?? t.chat.image} style={frameOf(size)} />
          {ids.length > 1 && (
            <div class="versions">
              <button type="button" class="quiet small icon" aria-label={t.chat.imageBefore} onClick={() => go(-1)}>
                <IconChevronLeft aria-hidden="true" />
              </button>
              <span>{t.chat.version(index + 1, ids.length)}</span>
              <button type="button" class="quiet small icon" aria-label={t.chat.imageAfter} onClick={() => go(1)}>
                <IconChevronRight aria-hidden="true" />
              </button>
            </div>
          )}
        </div>
        <div class="stack">
          {error !== undefined && <Failure error={error} onRetry={reload} />}
          {!record && error === undefined && <Skeleton class="line-skeleton" />}
          {record && (
            <>
              <ImageFacts image={record} />
              <a class="button" href={record.url} download={record.name}>
                {t.chat.download}
              </a>
            </>
          )}
        </div>
      </div>
    </Dialog>
  );
}
