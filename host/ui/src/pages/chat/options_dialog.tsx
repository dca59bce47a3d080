// All choices for an image, as far as the engine has them.
import { useId } from "preact/hooks";
import { Dialog } from "../../components/dialog.tsx";
import { Field } from "../../components/field.tsx";
import { ParametersForm } from "../../components/parameters_form.tsx";
import { IconDice } from "../../icons.ts";
import { formatNumber } from "../../format.ts";
import { randomSeed } from "../../random.ts";
import { parseSize, showSize } from "../../sizes.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { abilities, engine, imageModel, options, setOptions } from "./choices.ts";
import { sources } from "./draft.ts";
import { engines, imageModels } from "./engines.ts";

const RESET = { engine: undefined, model: undefined, size: undefined, n: undefined, seed: undefined, negative_prompt: undefined, steps: undefined, strength: undefined, parameters: undefined, edit: undefined };

export function OptionsDialog({ onClose }: { onClose: () => void }) {
  const foot = (
    <>
      <button type="button" onClick={() => setOptions(RESET)}>
        {t.chat.reset}
      </button>
      <button type="button" class="primary" onClick={onClose}>
        {t.chat.done}
      </button>
    </>
  );
  const chosen = engine.value;
  const able = abilities.value;
  const { n, negative_prompt, steps, strength } = options.value;
  return (
    <Dialog title={t.chat.options} class="options-dialog" onClose={onClose} foot={foot}>
      <div class="columns">
        <EngineField />
        <ModelField />
        <SizeField />
        {(able?.max_count ?? 1) > 1 && (
          <Field label={t.chat.count}>
            <input type="number" min={1} max={able?.max_count ?? 1} value={n ?? 1} onInput={(event) => setOptions({ n: numberOf(event.currentTarget.value, 2) })} />
          </Field>
        )}
        {able?.seed && <SeedField />}
        {able?.steps && (
          <Field label={t.chat.steps}>
            <input type="number" min={1} max={500} placeholder={t.chat.auto} value={steps ?? ""} onInput={(event) => setOptions({ steps: numberOf(event.currentTarget.value, 1) })} />
          </Field>
        )}
      </div>
      {able?.negative_prompt && (
        <Field label={t.chat.negativePrompt} hint={t.chat.negativeHint}>
          <textarea rows={2} dir="auto" value={negative_prompt ?? ""} onInput={(event) => setOptions({ negative_prompt: event.currentTarget.value })} />
        </Field>
      )}
      {able?.strength && sources.value.length > 0 && (
        <Field label={t.chat.strengthIs(strength === undefined ? t.chat.auto : formatNumber(strength, 2))} hint={t.chat.strengthHint}>
          <input type="range" min={0} max={1} step={0.05} value={strength ?? 0.75} onInput={(event) => setOptions({ strength: Number(event.currentTarget.value) })} />
        </Field>
      )}
      {chosen && (chosen.parameters.length > 0 || chosen.other_parameters) && (
        <details class="parameter-details">
          <summary>{t.chat.parameters(titleOf(chosen))}</summary>
          <ParametersForm
            key={chosen.name}
            parameters={chosen.parameters}
            values={options.value.parameters ?? {}}
            allowsOthers={chosen.other_parameters}
            onChange={(values) => setOptions({ parameters: Object.keys(values).length > 0 ? values : undefined })}
          />
        </details>
      )}
    </Dialog>
  );
}

function numberOf(value: string, least: number): number | undefined {
  const number = Number(value);
  return value.trim() !== "" && Number.isInteger(number) && number >= least ? number : undefined;
}

function EngineField() {
  const list = engines.value ?? [];
  const chosen = options.value.engine;
  const reason = list.find((it) => it.name === chosen)?.reason;
  return (
    <Field label={t.chat.engine} error={reason}>
      <select value={chosen ?? ""} onChange={(event) => setOptions({ engine: event.currentTarget.value, model: undefined })}>
        <option value="">{engine.value && chosen === undefined ? t.chat.autoIs(titleOf(engine.value)) : t.chat.auto}</option>
        {list.map((it) => (
          <option key={it.name} value={it.name} disabled={!it.is_ready}>
            {it.is_ready ? titleOf(it) : t.chat.notReady(titleOf(it))}
          </option>
        ))}
      </select>
    </Field>
  );
}

/** The models that the engine lists, or any name. */
function ModelField() {
  const id = useId();
  const chosen = engine.value;
  if (!chosen) return null;
  const list = imageModels.value.get(chosen.name) ?? [];
  return (
    <div>
      <Field label={t.chat.model}>
        <input list={id} dir="auto" placeholder={chosen.default_model ?? t.chat.auto} value={options.value.model ?? ""} onInput={(event) => setOptions({ model: event.currentTarget.value.trim() })} />
      </Field>
      <datalist id={id}>
        {list.map((it) => (
          <option key={it.id} value={it.id}>
            {it.name}
          </option>
        ))}
      </datalist>
    </div>
  );
}

function SizeField() {
  const fixed = imageModel.value?.abilities?.sizes ?? [];
  const { size } = options.value;
  if (fixed.length > 0) {
    return (
      <Field label={t.chat.size}>
        <select value={size ?? ""} onChange={(event) => setOptions({ size: event.currentTarget.value })}>
          <option value="">{t.chat.auto}</option>
          {fixed.map((it) => (
            <option key={it} value={it}>
              {showSize(it)}
            </option>
          ))}
        </select>
      </Field>
    );
  }
  return (
    <Field label={t.chat.size} error={size !== undefined && !parseSize(size) ? t.chat.sizeFormat : undefined}>
      <input inputMode="numeric" placeholder={engine.value?.default_size ?? "1024x1024"} value={size ?? ""} onInput={(event) => setOptions({ size: event.currentTarget.value.trim() })} />
    </Field>
  );
}

function SeedField() {
  const { seed } = options.value;
  return (
    <div class="row seed-row">
      <div class="grow">
        <Field label={t.chat.seed}>
          <input inputMode="numeric" placeholder={t.chat.randomSeed} value={seed ?? ""} onInput={(event) => setOptions({ seed: numberOf(event.currentTarget.value, 0) })} />
        </Field>
      </div>
      <button type="button" class="icon" aria-label={t.chat.rollSeed} title={t.chat.rollSeed} onClick={() => setOptions({ seed: randomSeed() })}>
        <IconDice aria-hidden="true" />
      </button>
    </div>
  );
}
