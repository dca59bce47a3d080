import { useId, useState } from "preact/hooks";
import { formatBytes } from "../../../format.ts";
import { IconUpload } from "../../../icons.ts";
import { t } from "../../../text/index.ts";

interface DropZoneProps {
  file: File | undefined;
  onChoose: (file: File) => void;
}

/** Takes one component: by drop, or by the browser's dialog. */
export function DropZone({ file, onChoose }: DropZoneProps) {
  const id = useId();
  const [isOver, setIsOver] = useState(false);
  const take = (files: FileList | null | undefined) => {
    const first = files?.[0];
    if (first) onChoose(first);
  };
  return (
    <div
      class={isOver ? "install-zone over" : "install-zone"}
      onDragOver={(event) => {
        event.preventDefault();
        setIsOver(true);
      }}
      onDragLeave={() => setIsOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        event.stopPropagation();
        setIsOver(false);
        take(event.dataTransfer?.files);
      }}
    >
      <IconUpload aria-hidden="true" />
      {file ? (
        <p class="wrap">
          <strong dir="auto">{file.name}</strong> <span class="muted">{formatBytes(file.size)}</span>
        </p>
      ) : (
        <p>{t.engines.installation.drop}</p>
      )}
      <label for={id} class="button small">
        {file ? t.engines.installation.chooseOther : t.engines.installation.choose}
      </label>
      <input id={id} class="visually-hidden" type="file" accept=".wasm,application/wasm" onChange={(event) => take(event.currentTarget.files)} />
    </div>
  );
}
