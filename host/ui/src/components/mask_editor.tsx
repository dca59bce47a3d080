// The mask editor: a dialog in which a person paints what an edit may change.
import { useEffect, useRef, useState } from "preact/hooks";
import { formatPercent } from "../format.ts";
import { IconDownload, IconFit, IconInvert, IconRedo, IconTrash, IconUndo, IconUpload, IconZoom, IconZoomOut } from "../icons.ts";
import { t } from "../text/index.ts";
import { Dialog } from "./dialog.tsx";
import { clamp } from "./mask_bitmap.ts";
import type { MaskCanvas, MaskSettings } from "./mask_canvas.ts";
import { MaskDocument } from "./mask_document.ts";
import { MaskStage } from "./mask_stage.tsx";
import { BrushSliders, MASK_TOOLS, RectangleForm, ToolButtons } from "./mask_tools.tsx";
import { Failure } from "./notice.tsx";
import { useAction } from "./resource.ts";

interface MaskEditorProps {
  /** URL of the image: of this server, or of a blob. */
  source: string;
  /** The mask is stored in this browser under this id, and is there when the editor is opened again. */
  sourceId: string;
  /** Gets a PNG of the size of the source, transparent where the image may change. */
  onDone: (mask: Blob) => void;
  onClose: () => void;
}

const BRUSH_KEY_FACTOR = 1.2;
const MIN_BRUSH_SIZE = 2;
const INITIAL: MaskSettings = { tool: "brush", size: 64, softness: 0.3, opacity: 0.55 };

export function MaskEditor({ source, sourceId, onDone, onClose }: MaskEditorProps) {
  const [document, setDocument] = useState<MaskDocument | undefined>();
  const [error, setError] = useState<unknown>();
  const load = () => {
    setError(undefined);
    MaskDocument.open(source, sourceId).then(setDocument, () => setError(new Error(t.create.mask.unreadable)));
  };
  useEffect(load, [source, sourceId]);
  if (document) return <LoadedEditor document={document} onDone={onDone} onClose={onClose} />;
  return (
    <Dialog title={t.create.mask.title} class="wide mask-dialog" onClose={onClose}>
      {error === undefined ? <div class="mask-stage skeleton" aria-busy="true" aria-label={t.shell.loading} /> : <Failure error={error} onRetry={load} />}
    </Dialog>
  );
}

interface LoadedEditorProps {
  document: MaskDocument;
  onDone: (mask: Blob) => void;
  onClose: () => void;
}

function LoadedEditor({ document, onDone, onClose }: LoadedEditorProps) {
  const [settings, setSettings] = useState<MaskSettings>(() => ({ ...INITIAL, size: initialSize(document) }));
  const maxSize = largestSize(document);
  const canvas = useRef<MaskCanvas | undefined>(undefined);
  const coverage = useCoverage(document);
  const finish = useAction(async () => {
    const mask = await document.toPng();
    await document.store();
    onDone(mask);
  });
  const close = () => void document.store().finally(onClose);
  const resize = (factor: number) => setSettings({ ...settings, size: clamp(Math.round(settings.size * factor), MIN_BRUSH_SIZE, maxSize) });
  const onKeyDown = (event: KeyboardEvent) => {
    const action = actionOfKey(event, {
      undo: () => document.undo(),
      redo: () => document.redo(),
      invert: () => document.change((mask) => mask.invert()),
      smaller: () => resize(1 / BRUSH_KEY_FACTOR),
      larger: () => resize(BRUSH_KEY_FACTOR),
      zoom: (steps) => canvas.current?.zoom(steps),
      fit: () => canvas.current?.fit(),
      tool: (tool) => setSettings({ ...settings, tool }),
    });
    if (!action) return;
    event.preventDefault();
    action();
  };
  const foot = (
    <>
      <span class="muted mask-coverage" role="status">
        {coverage > 0 ? t.create.mask.coverage(formatPercent(coverage)) : t.create.mask.empty}
      </span>
      <button type="button" onClick={close}>
        {t.shell.close}
      </button>
      <button type="button" class="primary" disabled={coverage === 0 || finish.isRunning} onClick={() => void finish.run()}>
        {t.create.mask.done}
      </button>
    </>
  );
  return (
    <Dialog title={t.create.mask.title} class="wide mask-dialog" onClose={close} foot={foot}>
      <div class="mask-editor" onKeyDown={onKeyDown}>
        <div class="mask-stage">
          <MaskStage document={document} settings={settings} onReady={(it) => void (canvas.current = it)} />
          <ZoomButtons canvas={() => canvas.current} />
        </div>
        <div class="mask-panel">
          <ToolButtons settings={settings} onChange={setSettings} />
          <StepButtons document={document} />
          <BrushSliders settings={settings} onChange={setSettings} maxSize={maxSize} />
          <RectangleForm document={document} />
          <FileButtons document={document} />
          <p class="muted">{t.create.mask.hint}</p>
          {finish.error !== undefined && <Failure error={finish.error} />}
        </div>
      </div>
    </Dialog>
  );
}

/** A brush that suits the image: large enough to see, small enough for details. */
function initialSize({ mask }: MaskDocument): number {
  return Math.max(8, Math.round(Math.min(mask.width, mask.height) / 12));
}

/** Half of the shorter side covers all of an image with a few strokes. */
function largestSize({ mask }: MaskDocument): number {
  return Math.max(64, Math.round(Math.min(mask.width, mask.height) / 2));
}

/** Reading all pixels takes time: once after each change. */
function useCoverage(document: MaskDocument): number {
  const revision = document.revision.value;
  const [coverage, setCoverage] = useState(0);
  useEffect(() => setCoverage(document.mask.coverage()), [document, revision]);
  return coverage;
}

interface KeyActions {
  undo: () => void;
  redo: () => void;
  invert: () => void;
  smaller: () => void;
  larger: () => void;
  zoom: (steps: number) => void;
  fit: () => void;
  tool: (tool: MaskSettings["tool"]) => void;
}

function actionOfKey(event: KeyboardEvent, actions: KeyActions): (() => void) | undefined {
  const { target } = event;
  if (target instanceof HTMLInputElement && target.type === "number") return undefined;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "y" || (key === "z" && event.shiftKey)) return actions.redo;
    return key === "z" ? actions.undo : undefined;
  }
  const tool = MASK_TOOLS.find((it) => it.key === key)?.tool;
  if (tool) return () => actions.tool(tool);
  const simple: Record<string, () => void> = {
    "[": actions.smaller,
    "]": actions.larger,
    i: actions.invert,
    "+": () => actions.zoom(1),
    "-": () => actions.zoom(-1),
    "0": actions.fit,
  };
  return simple[key];
}

function ZoomButtons({ canvas }: { canvas: () => MaskCanvas | undefined }) {
  return (
    <div class="image-tools">
      <button type="button" aria-label={t.create.mask.zoomOut} title={`${t.create.mask.zoomOut} (−)`} onClick={() => canvas()?.zoom(-1)}>
        <IconZoomOut aria-hidden="true" />
      </button>
      <button type="button" aria-label={t.create.mask.fit} title={`${t.create.mask.fit} (0)`} onClick={() => canvas()?.fit()}>
        <IconFit aria-hidden="true" />
      </button>
      <button type="button" aria-label={t.create.mask.zoomIn} title={`${t.create.mask.zoomIn} (+)`} onClick={() => canvas()?.zoom(1)}>
        <IconZoom aria-hidden="true" />
      </button>
    </div>
  );
}

function StepButtons({ document }: { document: MaskDocument }) {
  // Read so that the buttons follow the changes.
  void document.revision.value;
  return (
    <div class="row mask-steps">
      <button type="button" class="icon" disabled={!document.canUndo} aria-label={t.create.mask.undo} title={`${t.create.mask.undo} (Ctrl+Z)`} onClick={() => document.undo()}>
        <IconUndo aria-hidden="true" />
      </button>
      <button type="button" class="icon" disabled={!document.canRedo} aria-label={t.create.mask.redo} title={`${t.create.mask.redo} (Ctrl+Shift+Z)`} onClick={() => document.redo()}>
        <IconRedo aria-hidden="true" />
      </button>
      <button type="button" class="icon" aria-label={t.create.mask.invert} title={`${t.create.mask.invert} (I)`} onClick={() => document.change((mask) => mask.invert())}>
        <IconInvert aria-hidden="true" />
      </button>
      <button type="button" class="icon" aria-label={t.create.mask.clear} title={t.create.mask.clear} onClick={() => document.change((mask) => mask.clear())}>
        <IconTrash aria-hidden="true" />
      </button>
    </div>
  );
}

/** Saves the mask to a file, and loads one. */
function FileButtons({ document }: { document: MaskDocument }) {
  const input = useRef<HTMLInputElement>(null);
  const open = useAction(async (file: File) => {
    await document.load(file).catch(() => {
      throw new Error(t.create.mask.unreadable);
    });
  });
  const save = useAction(async () => {
    const link = window.document.createElement("a");
    link.href = URL.createObjectURL(await document.toPng());
    link.download = "mask.png";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  return (
    <div class="stack tight mask-files">
      <div class="row">
        <button type="button" class="small" onClick={() => input.current?.click()}>
          <IconUpload aria-hidden="true" />
          {t.create.mask.load}
        </button>
        <button type="button" class="small" onClick={() => void save.run()}>
          <IconDownload aria-hidden="true" />
          {t.create.mask.save}
        </button>
        <input
          ref={input}
          type="file"
          accept="image/*"
          hidden
          aria-label={t.create.mask.load}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) void open.run(file);
            event.currentTarget.value = "";
          }}
        />
      </div>
      {open.error !== undefined && <Failure error={open.error} />}
    </div>
  );
}
