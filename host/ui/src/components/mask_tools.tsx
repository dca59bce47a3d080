import type { ComponentType } from "preact";
import { useId, useState } from "preact/hooks";
import { formatPercent } from "../format.ts";
import { IconBrush, IconEraser, IconHand, IconLasso, IconRectangle } from "../icons.ts";
import { t } from "../text/index.ts";
import { rectangleOutline, type MaskChange } from "./mask_bitmap.ts";
import type { MaskSettings, MaskTool } from "./mask_canvas.ts";
import type { MaskDocument } from "./mask_document.ts";

/** The tools with their icons and keys. */
export const MASK_TOOLS: readonly { tool: MaskTool; icon: ComponentType<{ "aria-hidden": "true" }>; key: string }[] = [
  { tool: "brush", icon: IconBrush, key: "b" },
  { tool: "eraser", icon: IconEraser, key: "e" },
  { tool: "rectangle", icon: IconRectangle, key: "r" },
  { tool: "lasso", icon: IconLasso, key: "l" },
  { tool: "hand", icon: IconHand, key: "h" },
];

interface ToolsProps {
  settings: MaskSettings;
  onChange: (settings: MaskSettings) => void;
}

export function ToolButtons({ settings, onChange }: ToolsProps) {
  return (
    <div class="mask-tools" role="group" aria-label={t.create.mask.tools}>
      {MASK_TOOLS.map(({ tool, icon: Icon, key }) => (
        <button
          key={tool}
          type="button"
          class="quiet"
          aria-pressed={settings.tool === tool}
          aria-keyshortcuts={key}
          title={`${t.create.mask.toolNames[tool]} (${key.toUpperCase()})`}
          onClick={() => onChange({ ...settings, tool })}
        >
          <Icon aria-hidden="true" />
          <span>{t.create.mask.toolNames[tool]}</span>
        </button>
      ))}
    </div>
  );
}

interface BrushSlidersProps extends ToolsProps {
  /** The largest brush in pixels of the image. */
  maxSize: number;
}

export function BrushSliders({ settings, onChange, maxSize }: BrushSlidersProps) {
  return (
    <>
      {/* Small brushes need finer steps than large ones. */}
      <Slider
        label={t.create.mask.size}
        value={Math.sqrt(settings.size / maxSize)}
        text={`${Math.round(settings.size)} px`}
        onChange={(value) => onChange({ ...settings, size: Math.max(2, Math.round(value * value * maxSize)) })}
      />
      <Slider label={t.create.mask.softness} value={settings.softness} text={formatPercent(settings.softness)} onChange={(softness) => onChange({ ...settings, softness })} />
      <Slider label={t.create.mask.opacity} value={settings.opacity} text={formatPercent(settings.opacity)} onChange={(opacity) => onChange({ ...settings, opacity })} />
    </>
  );
}

interface SliderProps {
  label: string;
  /** From 0 to 1. */
  value: number;
  text: string;
  onChange: (value: number) => void;
}

function Slider({ label, value, text, onChange }: SliderProps) {
  const id = useId();
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{text}</output>
      <input id={id} type="range" min={0} max={1} step={0.01} value={value} aria-valuetext={text} onInput={(event) => onChange(event.currentTarget.valueAsNumber)} />
    </div>
  );
}

const EDGES = ["x", "y", "width", "height"] as const;

/** Changes a rectangle that is given by four numbers: without a pointer. */
export function RectangleForm({ document }: { document: MaskDocument }) {
  const { width, height } = document.mask;
  const [rect, setRect] = useState({ x: Math.round(width / 4), y: Math.round(height / 4), width: Math.round(width / 2), height: Math.round(height / 2) });
  const apply = (change: MaskChange) => {
    const outline = rectangleOutline(rect, { x: rect.x + rect.width, y: rect.y + rect.height });
    document.change((mask) => mask.fill(outline, 0, change));
  };
  return (
    <details>
      <summary>{t.create.mask.byNumbers}</summary>
      <div class="mask-numbers">
        {EDGES.map((edge) => (
          <label key={edge}>
            {t.create.mask.edges[edge]}
            <input
              type="number"
              min={edge === "x" || edge === "y" ? 0 : 1}
              max={edge === "x" || edge === "width" ? width : height}
              value={rect[edge]}
              onInput={({ currentTarget: { valueAsNumber: value } }) => {
                if (Number.isFinite(value)) setRect({ ...rect, [edge]: value });
              }}
            />
          </label>
        ))}
      </div>
      <div class="row">
        <button type="button" class="small" onClick={() => apply("add")}>
          {t.create.mask.add}
        </button>
        <button type="button" class="small" onClick={() => apply("remove")}>
          {t.create.mask.remove}
        </button>
      </div>
    </details>
  );
}
