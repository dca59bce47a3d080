// An image in its full size, with everything that made it.
import { useEffect, useState } from "preact/hooks";
import { contentUrl } from "../../api/url.ts";
import { Dialog } from "../../components/dialog.tsx";
import { Failure } from "../../components/notice.tsx";
import { useResource } from "../../components/resource.ts";
import { formatBytes, formatCost, formatDuration, formatTime } from "../../format.ts";
import { IconChevronLeft, IconChevronRight } from "../../icons.ts";
import type { GalleryImage } from "../../api/types.ts";
import { t } from "../../text/index.ts";
import { CopyButton } from "../../components/copy.tsx";
import { frameOf } from "./image_frame.ts";
import { loadRecord } from "./image_records.ts";

interface ImageDialogProps {
  id: string;
  /** The images to go through with the arrow keys. */
  ids?: string[];
  /** Shown until what is stored with the image is there. */
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
          {error === undefined && <ImageFacts record={record} prompt={prompt} />}
        </div>
      </div>
    </Dialog>
  );
}

function ImageFacts({ record, prompt }: { record: GalleryImage | undefined; prompt: string | undefined }) {
  const sent = record?.prompt ?? prompt;
  return (
    <>
      {sent && <PromptText title={t.chat.promptSent} text={sent} />}
      {record?.revised_prompt && record.revised_prompt !== sent && <PromptText title={t.chat.promptUsed} text={record.revised_prompt} />}
      {record?.negative_prompt && <PromptText title={t.chat.negativePrompt} text={record.negative_prompt} />}
      {record ? (
        <dl class="facts">
          {rowsOf(record).map(([title, value]) => (
            <div key={title} class="fact">
              <dt>{title}</dt>
              <dd dir="auto">{value}</dd>
            </div>
          ))}
        </dl>
      ) : (
        <div class="skeleton line-skeleton" />
      )}
      {record && (
        <a class="button" href={record.url} download={record.name}>
          {t.chat.download}
        </a>
      )}
    </>
  );
}

function PromptText({ title, text }: { title: string; text: string }) {
  return (
    <div class="prompt-text">
      <div class="row">
        <h3 class="grow">{title}</h3>
        <CopyButton text={text} label={`${t.shell.copy}: ${title}`} />
      </div>
      <p dir="auto">{text}</p>
    </div>
  );
}

function rowsOf(record: GalleryImage): [string, string][] {
  const engine = [record.binding, record.engine_version].filter(Boolean).join(" ");
  const rows: [string, string | number | undefined | null | false][] = [
    [t.chat.engine, engine],
    [t.chat.model, record.model],
    [t.chat.size, record.width && record.height ? `${record.width} × ${record.height}` : undefined],
    [t.chat.seed, record.seed],
    [t.chat.steps, record.steps],
    [t.chat.strength, record.strength],
    [t.chat.duration, record.duration_ms === undefined ? undefined : formatDuration(record.duration_ms)],
    [t.chat.cost, record.cost && formatCost(record.cost)],
    [t.chat.createdAt, formatTime(record.created_at)],
    [t.chat.file, `${record.content_type.replace("image/", "").toUpperCase()}, ${formatBytes(record.size_bytes)}`],
    ...Object.entries(record.parameters ?? {}).map(([name, value]): [string, string] => [name, typeof value === "string" ? value : JSON.stringify(value)]),
    ["SHA-256", record.sha256],
  ];
  return rows.flatMap(([title, value]) => (value === undefined || value === null || value === "" || value === false ? [] : [[title, String(value)]]));
}
