import { useState } from "preact/hooks";
import type { ImageModel, UsableEngine } from "../../api/types.ts";
import { formatSize, isUsableSize, parseSize, showSize, sizeChoices, type SizeChoice } from "../../sizes.ts";
import { t } from "../../text/index.ts";

interface SizeFieldProps {
  value: string;
  onChange: (size: string) => void;
  engine: UsableEngine | undefined;
  model: ImageModel | undefined;
  isEdit: boolean;
}

/** The size as a choice of shapes, or as two numbers. */
export function SizeField({ value, onChange, engine, model, isEdit }: SizeFieldProps) {
  const choices = sizeChoices(engine, model);
  const chosen = choices.find((it) => it.size === value);
  const [isOpen, setIsOpen] = useState(false);
  const isCustom = isOpen || (value !== "" && !chosen);
  // An edit has the size of its source.
  const ownSize = chosen?.size ?? (isEdit ? undefined : engine?.default_size);
  return (
    <fieldset class="field">
      <legend class="field-label">{t.create.size}</legend>
      <div class="shapes">
        <button
          type="button"
          class="shape"
          aria-pressed={value === "" && !isCustom}
          onClick={() => {
            setIsOpen(false);
            onChange("");
          }}
        >
          <span class="shape-auto" aria-hidden="true" />
          {t.create.auto}
        </button>
        {choices.map((choice) => (
          <button
            key={choice.size}
            type="button"
            class="shape"
            aria-pressed={!isCustom && choice.size === value}
            title={showSize(choice.size)}
            onClick={() => {
              setIsOpen(false);
              onChange(choice.size);
            }}
          >
            <Shape choice={choice} />
            {choice.label}
          </button>
        ))}
        <button type="button" class="shape" aria-pressed={isCustom} aria-expanded={isCustom} onClick={() => setIsOpen(true)}>
          <span class="shape-custom" aria-hidden="true" />
          {t.create.custom}
        </button>
      </div>
      {isCustom ? (
        <CustomSize value={value || choices[0]?.size || "1024x1024"} onChange={onChange} />
      ) : (
        <small>{ownSize ? showSize(ownSize) : t.create.sizeByEngine}</small>
      )}
    </fieldset>
  );
}

const BOX_PX = 18;

/** The shape, drawn. */
function Shape({ choice: { ratio } }: { choice: SizeChoice }) {
  const width = ratio >= 1 ? BOX_PX : BOX_PX * ratio;
  const height = ratio >= 1 ? BOX_PX / ratio : BOX_PX;
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <rect x={10 - width / 2} y={10 - height / 2} width={width} height={height} rx="2.5" />
    </svg>
  );
}

function CustomSize({ value, onChange }: { value: string; onChange: (size: string) => void }) {
  const [text, setText] = useState(() => {
    const size = parseSize(value);
    return { width: String(size?.width ?? ""), height: String(size?.height ?? "") };
  });
  const size = { width: Number(text.width), height: Number(text.height) };
  const isValid = isUsableSize(size);
  const set = (side: "width" | "height", entered: string) => {
    const next = { ...text, [side]: entered };
    setText(next);
    const entire = { width: Number(next.width), height: Number(next.height) };
    if (isUsableSize(entire)) onChange(formatSize(entire));
  };
  return (
    <>
      <div class="custom-size">
        {(["width", "height"] as const).map((side) => (
          <label key={side}>
            {t.create[side]}
            <input type="number" inputMode="numeric" min={64} max={8192} step={8} value={text[side]} aria-invalid={isValid ? undefined : true} onInput={(event) => set(side, event.currentTarget.value)} />
          </label>
        ))}
      </div>
      {!isValid && (
        <span class="error" role="alert">
          {t.create.badSize}
        </span>
      )}
    </>
  );
}
