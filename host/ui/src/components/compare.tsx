// Two images beside or above each other, with a slider, or one after the other.
import { useId, useState } from "preact/hooks";
import { IconColumns, IconSplit, IconSwitch } from "../icons.ts";
import { t } from "../text/index.ts";

export interface ComparedImage {
  id: string;
  url: string;
  /** Names the image for a person, such as its engine. */
  label: string;
  alt: string;
  width: number | null;
  height: number | null;
}

type Mode = "slider" | "side" | "toggle";

const MODES = [
  { mode: "slider", icon: IconSplit },
  { mode: "side", icon: IconColumns },
  { mode: "toggle", icon: IconSwitch },
] as const;

/** Compares two of the images; with more than two a person chooses which. */
export function Compare({ images }: { images: readonly ComparedImage[] }) {
  const [mode, setMode] = useState<Mode>("slider");
  const [chosen, setChosen] = useState<[string | undefined, string | undefined]>([images[0]?.id, images[1]?.id]);
  const before = images.find((it) => it.id === chosen[0]) ?? images[0];
  const after = images.find((it) => it.id === chosen[1] && it !== before) ?? images.find((it) => it !== before);
  if (!before || !after) return null;
  return (
    <div class="comparison">
      <div class="comparison-bar">
        <div class="segmented" role="group" aria-label={t.create.compare.mode}>
          {MODES.map(({ mode: it, icon: Icon }) => (
            <button key={it} type="button" aria-pressed={mode === it} onClick={() => setMode(it)}>
              <Icon aria-hidden="true" />
              {t.create.compare.modes[it]}
            </button>
          ))}
        </div>
        {images.length > 2 && (
          <div class="row">
            <ImageChoice label={t.create.compare.first} images={images} value={before} onChange={(id) => setChosen([id, id === after.id ? before.id : after.id])} />
            <ImageChoice label={t.create.compare.second} images={images} value={after} onChange={(id) => setChosen([id === before.id ? after.id : before.id, id])} />
          </div>
        )}
      </div>
      {mode === "side" && (
        <div class="comparison-side">
          <Labeled image={before} />
          <Labeled image={after} />
        </div>
      )}
      {mode === "slider" && <Slider before={before} after={after} />}
      {mode === "toggle" && <Toggle before={before} after={after} />}
    </div>
  );
}

interface ImageChoiceProps {
  label: string;
  images: readonly ComparedImage[];
  value: ComparedImage;
  onChange: (id: string) => void;
}

function ImageChoice({ label, images, value, onChange }: ImageChoiceProps) {
  const id = useId();
  return (
    <>
      <label class="visually-hidden" for={id}>
        {label}
      </label>
      <select id={id} class="comparison-choice" value={value.id} onChange={(event) => onChange(event.currentTarget.value)}>
        {images.map((it, index) => (
          <option key={it.id} value={it.id}>
            {`${index + 1} · ${it.label}`}
          </option>
        ))}
      </select>
    </>
  );
}

function ratioOf({ width, height }: ComparedImage): number {
  return width && height ? width / height : 1;
}

function Labeled({ image }: { image: ComparedImage }) {
  return (
    <figure class="comparison-image" style={{ "--ratio": ratioOf(image) }}>
      <img src={image.url} alt={image.alt} />
      <figcaption dir="auto">{image.label}</figcaption>
    </figure>
  );
}

interface PairProps {
  before: ComparedImage;
  after: ComparedImage;
}

function Slider({ before, after }: PairProps) {
  const [position, setPosition] = useState(50);
  const follow = (event: PointerEvent) => {
    const { currentTarget } = event;
    if (!(currentTarget instanceof HTMLElement) || event.buttons === 0) return;
    const { left, width } = currentTarget.getBoundingClientRect();
    setPosition(Math.round(Math.min(100, Math.max(0, ((event.clientX - left) / width) * 100))));
  };
  return (
    <div class="stack tight">
      <div
        class="comparison-image sliding"
        style={{ "--ratio": ratioOf(before), "--position": `${position}%` }}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          follow(event);
        }}
        onPointerMove={follow}
      >
        <img src={before.url} alt={before.alt} draggable={false} />
        <img class="above" src={after.url} alt={after.alt} draggable={false} />
        <span class="comparison-line" aria-hidden="true" />
        <span class="comparison-label" dir="auto">
          {before.label}
        </span>
        <span class="comparison-label end" dir="auto">
          {after.label}
        </span>
      </div>
      <input type="range" min={0} max={100} value={position} aria-label={t.create.compare.position} onInput={(event) => setPosition(event.currentTarget.valueAsNumber)} />
    </div>
  );
}

function Toggle({ before, after }: PairProps) {
  const [isAfter, setIsAfter] = useState(false);
  const shown = isAfter ? after : before;
  return (
    <div class="stack tight">
      <div class="comparison-image" style={{ "--ratio": ratioOf(before) }}>
        {/* Both stay loaded, so that nothing flickers. */}
        <img src={before.url} alt={isAfter ? "" : before.alt} />
        <img class={isAfter ? "over" : "over hidden"} src={after.url} alt={isAfter ? after.alt : ""} />
        <span class="comparison-label" dir="auto">
          {shown.label}
        </span>
      </div>
      <div class="row">
        <button type="button" onClick={() => setIsAfter(!isAfter)}>
          <IconSwitch aria-hidden="true" />
          {t.create.compare.show((isAfter ? before : after).label)}
        </button>
      </div>
    </div>
  );
}
