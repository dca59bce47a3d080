import type { Parameter, UsableEngine } from "../../api/types.ts";
import { Field } from "../../components/field.tsx";
import { t } from "../../text/index.ts";
import { options, setOptions } from "./composer_state.ts";

/** The parameters that an engine declares. */
export function ParameterFields({ engine }: { engine: UsableEngine }) {
  return (
    <details class="parameters">
      <summary>{t.chat.parameters(engine.title)}</summary>
      <div class="columns">
        {engine.parameters.map((it) => (
          <ParameterField key={it.name} parameter={it} />
        ))}
      </div>
    </details>
  );
}

function ParameterField({ parameter }: { parameter: Parameter }) {
  const { name, title, description, type, min, max, choices, unit } = parameter;
  const value = options.value.parameters?.[name];
  const set = (next: unknown) => {
    const others = Object.entries({ ...options.value.parameters, [name]: next }).filter(([, it]) => it !== undefined && it !== "");
    setOptions({ parameters: others.length > 0 ? Object.fromEntries(others) : undefined });
  };
  const label = unit ? `${title || name} (${unit})` : title || name;
  const initial = parameter.default === null || parameter.default === undefined ? t.chat.auto : String(parameter.default);
  if (type === "boolean" || type === "choice") {
    const all = type === "boolean" ? ["true", "false"] : (choices ?? []);
    return (
      <Field label={label} hint={description}>
        <select value={value === undefined ? "" : String(value)} onChange={(event) => set(parse(type, event.currentTarget.value))}>
          <option value="">{initial}</option>
          {all.map((it) => (
            <option key={it} value={it}>
              {type === "boolean" ? (it === "true" ? t.chat.yes : t.chat.no) : it}
            </option>
          ))}
        </select>
      </Field>
    );
  }
  const field = {
    dir: "auto",
    placeholder: initial,
    value: value === undefined ? "" : String(value),
    onInput: (event: { currentTarget: HTMLInputElement }) => set(parse(type, event.currentTarget.value)),
  } as const;
  return (
    <Field label={label} hint={description}>
      {type === "text" ? <input type="text" {...field} /> : <input type="number" step={type === "integer" ? 1 : "any"} min={min} max={max} {...field} />}
    </Field>
  );
}

function parse(type: Parameter["type"], value: string): unknown {
  if (value === "") return undefined;
  if (type === "boolean") return value === "true";
  if (type === "text" || type === "choice") return value;
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}
