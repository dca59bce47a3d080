import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, messageOf } from "../../../api/client.ts";
import { Dialog } from "../../../components/dialog.tsx";
import { formatBytes } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { reloadEngines } from "../engine_list.ts";
import { DropZone } from "./drop_zone.tsx";
import { DEFAULT_OPTIONS, InstallOptions, type Options } from "./install_options.tsx";
import { InstallProgress, Report } from "./install_report.tsx";
import { installUrl } from "./requests.ts";
import type { InstallReport } from "./types.ts";
import { upload } from "./upload.ts";

interface InstallDialogProps {
  /** A file that was dropped already. */
  file?: File;
  onReview: (name: string) => void;
  onClose: () => void;
}

type Phase = "choose" | "uploading" | "compiling" | "done";

/** Chooses a component, uploads it, and shows what the server made of it. */
export function InstallDialog({ file: dropped, onReview, onClose }: InstallDialogProps) {
  const [file, setFile] = useState<File | undefined>(dropped);
  const [options, setOptions] = useState<Options>(DEFAULT_OPTIONS);
  const [phase, setPhase] = useState<Phase>("choose");
  const [fraction, setFraction] = useState(0);
  const [report, setReport] = useState<InstallReport | undefined>();
  const [error, setError] = useState<unknown>();
  const running = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => running.current?.abort(), []);

  const install = async (force: boolean) => {
    if (!file) return;
    const controller = new AbortController();
    running.current = controller;
    setError(undefined);
    setFraction(0);
    setPhase("uploading");
    const onProgress = (sent: number) => {
      setFraction(sent);
      if (sent >= 1) setPhase("compiling");
    };
    try {
      setReport(await upload(installUrl(options, force), file, { onProgress, signal: controller.signal }));
      setPhase("done");
      void reloadEngines();
    } catch (failure) {
      setPhase("choose");
      const isStopped = failure instanceof DOMException && failure.name === "AbortError";
      if (!isStopped) setError(failure);
    }
  };
  const choose = (chosen: File) => {
    setError(undefined);
    setFile(chosen);
  };
  const isWasm = file === undefined || /\.wasm$/i.test(file.name);
  const review = (name: string) => {
    onClose();
    onReview(name);
  };
  const again = () => {
    setFile(undefined);
    setReport(undefined);
    setPhase("choose");
  };
  const foot =
    phase === "choose" ? (
      <>
        <button type="button" onClick={onClose}>
          {t.shell.cancel}
        </button>
        <button type="button" class="primary" disabled={!file || !isWasm} onClick={() => void install(options.force)}>
          {t.engines.install}
        </button>
      </>
    ) : undefined;
  return (
    <Dialog title={t.engines.installation.title} onClose={onClose} foot={foot} isRequired={phase === "compiling"}>
      {phase === "choose" && (
        <>
          <DropZone file={file} onChoose={choose} />
          {!isWasm && (
            <p class="trouble" role="alert">
              {t.engines.installation.notWasm}
            </p>
          )}
          {error !== undefined && <Refusal error={error} onForce={() => void install(true)} />}
          <InstallOptions options={options} onChange={setOptions} />
        </>
      )}
      {(phase === "uploading" || phase === "compiling") && file && (
        <InstallProgress
          name={file.name}
          size={formatBytes(file.size)}
          fraction={phase === "uploading" ? fraction : undefined}
          onStop={phase === "uploading" ? () => running.current?.abort() : undefined}
        />
      )}
      {phase === "done" && report && <Report report={report} onReview={review} onAgain={again} onClose={onClose} />}
    </Dialog>
  );
}

/** Why the server refused the component. A conflict can be overridden. */
function Refusal({ error, onForce }: { error: unknown; onForce: () => void }) {
  const isConflict = error instanceof ApiError && error.status === 409;
  return (
    <div class="trouble" role="alert">
      <strong>{t.engines.installation.refused}</strong>
      <span dir="auto" class="clip-long">
        {messageOf(error)}
      </span>
      <span class="muted">{t.engines.installation.refusedHint}</span>
      {isConflict && (
        <div class="row">
          <button type="button" class="small" onClick={onForce}>
            {t.engines.installation.force409}
          </button>
        </div>
      )}
    </div>
  );
}
