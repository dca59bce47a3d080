// A form made from the parameters that an engine declares.
import { useEffect, useId, useState } from "preact/hooks";
import type { Parameter } from "../api/types.ts";
import { formatNumber } from "../format.ts";
import { parseObject, type JsonObject } from "../json.ts";
import { t } from "../text/index.ts";

interface ParametersFormProps {
  parameters: readonly Parameter[];
  /** Without a value the engine's own default is used. */
  values: JsonObject;
  onChange: (values: JsonObject) => void;
  /** Whether the engine takes parameters that it does not declare: a field for JSON. */
  allowsOthers?: boolean;
}

export function ParametersForm({ parameters, values, onChange, allowsOthers = false }: ParametersFormProps) {
  const set = (name: string, value: unknown) => {
    const { [name]: _, ...rest } = values;
    onChange(value === undefined ? rest : { ...rest, [name]: value });
  };
  const declared = new Set(parameters.map((it) => it.name));
  return (
    <div class="parameters-form">
      {parameters.map((parameter) => (
        <ParameterField key={parameter.name} parameter={parameter} value={values[parameter.name]} onChange={(value) => set(parameter.name, value)} />
      ))}
      {allowsOthers && (
        <OtherParameters
          values={Object.fromEntries(Object.entries(values).filter(([name]) => !declared.has(name)))}
          onChange={(others) => onChange({ ...Object.fromEntries(Object.entries(values).filter(([name]) => declared.has(name))), ...others })}
        />
      )}
    </div>
  );
}

interface ParameterFieldProps {
  parameter: Parameter;
  value: unknown;
  onChange: (value: unknown) => void;
}

function ParameterField({ parameter, value, onChange }: ParameterFieldProps) {
  const id = useId();
  const hint = hintOf(parameter);
  return (
    <div class="field">
      <label for={id} dir="auto">
        {parameter.title || parameter.name}
      </label>
      <Control id={id} describedBy={hint ? `${id}-hint` : undefined} parameter={parameter} value={value} onChange={onChange} />
      {hint && (
        <small id={`${id}-hint`} class="wrap" dir="auto">
          {hint}
        </small>
      )}
    </div>
  );
}

interface ControlProps extends ParameterFieldProps {
  id: string;
  describedBy: string | undefined;
}

function Control({ id, describedBy, parameter, value, onChange }: ControlProps) {
  const { type, default: initial } = parameter;
  const common = { id, "aria-describedby": describedBy };
  const placeholder = initial === null || initial === undefined ? t.create.parameters.byEngine : String(initial);
  if (type === "boolean" || type === "choice") {
    const choices = type === "boolean" ? ["true", "false"] : (parameter.choices ?? []);
    const label = (choice: string) => (type === "choice" ? choice : choice === "true" ? t.create.parameters.yes : t.create.parameters.no);
    const own = initial === null || initial === undefined ? t.create.parameters.byEngine : t.create.parameters.default(label(String(initial)));
    return (
      <select
        {...common}
        value={value === undefined ? "" : String(value)}
        onChange={({ currentTarget: { value: chosen } }) => onChange(chosen === "" ? undefined : type === "boolean" ? chosen === "true" : chosen)}
      >
        <option value="">{own}</option>
        {choices.map((choice) => (
          <option key={choice} value={choice}>
            {label(choice)}
          </option>
        ))}
      </select>
    );
  }
  if (type === "integer" || type === "number") {
    return (
      <input
        {...common}
        type="number"
        min={parameter.min}
        max={parameter.max}
        step={type === "integer" ? 1 : "any"}
        placeholder={placeholder}
        value={typeof value === "number" ? value : ""}
        onInput={({ currentTarget: { valueAsNumber } }) => onChange(Number.isFinite(valueAsNumber) ? valueAsNumber : undefined)}
      />
    );
  }
  return (
    <input
      {...common}
      type="text"
      dir="auto"
      placeholder={placeholder}
      value={typeof value === "string" ? value : ""}
      onInput={({ currentTarget: { value: text } }) => onChange(text === "" ? undefined : text)}
    />
  );
}

/** Bounds beyond this are not worth telling. */
const LARGE = 1e9;

function hintOf({ description, min, max, unit, type }: Parameter): string {
  const digits = type === "integer" ? 0 : 3;
  const number = (value: number | undefined) => (value === undefined || Math.abs(value) > LARGE ? undefined : formatNumber(value, digits));
  const [from, to] = [number(min), number(max)];
  const range = from !== undefined && to !== undefined ? `${from} – ${to}` : undefined;
  return [description, [range, unit].filter(Boolean).join(" ")].filter(Boolean).join(" · ");
}

interface OtherParametersProps {
  values: JsonObject;
  onChange: (values: JsonObject) => void;
}

/** Parameters that the engine passes on, as JSON. */
function OtherParameters({ values, onChange }: OtherParametersProps) {
  const id = useId();
  const written = Object.keys(values).length === 0 ? "" : JSON.stringify(values, null, 2);
  const [text, setText] = useState(written);
  const parsed = parseObject(text);
  useEffect(() => {
    // Values that come from elsewhere, such as from an image whose values are used again.
    if (JSON.stringify(parsed ?? null) !== JSON.stringify(values)) setText(written);
  }, [written]);
  return (
    <div class="field">
      <label for={id}>{t.create.parameters.others}</label>
      <textarea
        id={id}
        class="mono"
        rows={2}
        spellcheck={false}
        placeholder='{"name": "value"}'
        aria-describedby={`${id}-hint`}
        aria-invalid={parsed ? undefined : true}
        value={text}
        onInput={({ currentTarget: { value } }) => {
          setText(value);
          const next = parseObject(value);
          if (next) onChange(next);
        }}
      />
      {parsed ? (
        <small id={`${id}-hint`}>{t.create.parameters.othersHint}</small>
      ) : (
        <span id={`${id}-hint`} class="error" role="alert">
          {t.create.parameters.notJson}
        </span>
      )}
    </div>
  );
}
