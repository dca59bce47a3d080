import { useId } from "preact/hooks";
import { formatPercent } from "../../format.ts";
import { IconDice, IconLock, IconLockOpen, IconMinus, IconPlus } from "../../icons.ts";
import { randomSeed } from "../../random.ts";
import { t } from "../../text/index.ts";

interface CountFieldProps {
  value: number;
  max: number;
  onChange: (count: number) => void;
}

/** How many images. */
export function CountField({ value, max, onChange }: CountFieldProps) {
  const count = Math.min(value, max);
  return (
    <div class="field">
      <span class="field-label" id="count-label">
        {t.create.count}
      </span>
      <div class="stepper" role="group" aria-labelledby="count-label">
        <button type="button" class="quiet icon" aria-label={t.create.fewer} disabled={count <= 1} onClick={() => onChange(count - 1)}>
          <IconMinus aria-hidden="true" />
        </button>
        <output aria-live="polite">{count}</output>
        <button type="button" class="quiet icon" aria-label={t.create.more} disabled={count >= max} onClick={() => onChange(count + 1)}>
          <IconPlus aria-hidden="true" />
        </button>
      </div>
    </div>
  );
}

interface SeedFieldProps {
  value: string;
  /** Of the newest image, which the lock keeps. */
  lastSeed: number | undefined;
  onChange: (seed: string) => void;
}

/** Empty is random; the lock keeps the last seed; the dice throws another one. */
export function SeedField({ value, lastSeed, onChange }: SeedFieldProps) {
  const id = useId();
  const isLocked = value !== "";
  const Lock = isLocked ? IconLock : IconLockOpen;
  return (
    <div class="field">
      <label for={id}>{t.create.seed}</label>
      <div class="with-buttons">
        <input
          id={id}
          type="text"
          inputMode="numeric"
          maxLength={16}
          placeholder={t.create.random}
          value={value}
          onInput={(event) => {
            const digits = event.currentTarget.value.replace(/\D/g, "");
            event.currentTarget.value = digits;
            onChange(digits);
          }}
        />
        <button type="button" class="quiet icon" aria-label={t.create.throwDice} title={t.create.throwDice} onClick={() => onChange(String(randomSeed()))}>
          <IconDice aria-hidden="true" />
        </button>
        <button
          type="button"
          class="quiet icon"
          aria-pressed={isLocked}
          aria-label={t.create.lockSeed}
          title={isLocked ? t.create.unlockSeed : t.create.lockSeed}
          onClick={() => onChange(isLocked ? "" : String(lastSeed ?? randomSeed()))}
        >
          <Lock aria-hidden="true" />
        </button>
      </div>
    </div>
  );
}

export function StepsField({ value, onChange }: { value: string; onChange: (steps: string) => void }) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{t.create.steps}</label>
      <input id={id} type="number" inputMode="numeric" min={1} max={500} placeholder={t.create.byEngine} value={value} onInput={(event) => onChange(event.currentTarget.value)} />
    </div>
  );
}

interface StrengthFieldProps {
  value: number | null;
  onChange: (strength: number | null) => void;
}

/** Where the slider stands while the engine decides. */
const STRENGTH_MIDDLE = 0.6;

/** How far an edit may differ from its source. */
export function StrengthField({ value, onChange }: StrengthFieldProps) {
  const id = useId();
  return (
    <div class={value === null ? "slider unset" : "slider"}>
      <label for={id}>{t.create.strength}</label>
      <output for={id}>{value === null ? t.create.byEngine : formatPercent(value)}</output>
      <input id={id} type="range" min={0} max={1} step={0.05} value={value ?? STRENGTH_MIDDLE} aria-describedby={`${id}-hint`} onInput={(event) => onChange(event.currentTarget.valueAsNumber)} />
      <small id={`${id}-hint`}>{t.create.strengthHint}</small>
      {value !== null && (
        <button type="button" class="quiet small" onClick={() => onChange(null)}>
          {t.create.reset}
        </button>
      )}
    </div>
  );
}
