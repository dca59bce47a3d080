import { useEffect, useRef } from "preact/hooks";
import { t } from "../text/index.ts";
import { MaskCanvas, type MaskSettings } from "./mask_canvas.ts";
import type { MaskDocument } from "./mask_document.ts";

interface MaskStageProps {
  document: MaskDocument;
  settings: MaskSettings;
  /** Gets the canvas, for the buttons that zoom. */
  onReady: (canvas: MaskCanvas) => void;
}

/** The image and its mask, to paint on with a pointer or with keys. */
export function MaskStage({ document, settings, onReady }: MaskStageProps) {
  const element = useRef<HTMLCanvasElement>(null);
  const stage = useRef<MaskCanvas | undefined>(undefined);
  useEffect(() => {
    if (!element.current) return;
    const canvas = new MaskCanvas(element.current, document, settings);
    stage.current = canvas;
    onReady(canvas);
    return () => canvas.dispose();
  }, [document]);
  useEffect(() => {
    if (!stage.current) return;
    stage.current.settings = settings;
    stage.current.redraw();
  }, [settings, document.revision.value]);
  return (
    <canvas
      ref={element}
      class={settings.tool === "hand" ? "mask-canvas hand" : "mask-canvas"}
      tabIndex={0}
      role="application"
      aria-label={t.create.mask.canvas}
      onPointerDown={(event) => stage.current?.down(event)}
      onPointerMove={(event) => stage.current?.move(event)}
      onPointerUp={(event) => stage.current?.up(event)}
      onPointerCancel={(event) => stage.current?.up(event)}
      onPointerLeave={() => stage.current?.leave()}
      onBlur={() => stage.current?.hideCrosshair()}
      onKeyDown={(event) => {
        if (stage.current?.key(event)) event.preventDefault();
      }}
    />
  );
}
