import { useId, useState } from "preact/hooks";
import type { Setting } from "../../../api/types.ts";
import { Status } from "../../../components/status.tsx";
import { formatDay } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { fieldText, isDocument, isSecret, parseField, type Draft } from "./setting.ts";

interface SettingFieldProps {
  setting: Setting;
  draft: Draft;
  problem: string | undefined;
  onChange: (name: string, value: unknown) => void;
}

/** One setting: its control, where its value comes from, and what is wrong with it. */
export function SettingField(props: SettingFieldProps) {
  const { setting, draft, onChange } = props;
  const id = useId();
  const isChanged = setting.name in draft;
  const problem = props.problem ?? (isChanged ? undefined : setting.problem);
  return (
    <div class={isChanged ? "setting changed" : "setting"}>
      <div class="setting-head">
        <label for={id}>{setting.title}</label>
        <SourceBadge setting={setting} isChanged={isChanged} />
      </div>
      <Control id={id} {...props} />
      <small id={`${id}-hint`}>{setting.description}</small>
      {problem && (
        <span id={`${id}-error`} class="error" role="alert">
          {problem}
        </span>
      )}
      {setting.source === "store" && !isSecret(setting) && draft[setting.name] !== null && (
        <button type="button" class="quiet small reset" onClick={() => onChange(setting.name, null)}>
          {setting.variable_in_use && setting.variable_in_use !== setting.name ? t.settings.useVariable(setting.variable_in_use) : t.settings.useDefault}
        </button>
      )}
    </div>
  );
}

function SourceBadge({ setting, isChanged }: { setting: Setting; isChanged: boolean }) {
  if (isChanged) return <span class="badge changed">{t.settings.notSaved}</span>;
  if (setting.source === "environment") return <span class="badge">{t.settings.fromVariable(setting.variable_in_use ?? setting.name)}</span>;
  if (setting.source === "default") return <span class="badge quiet">{t.settings.fromDefault}</span>;
  const { changed_at: time, changed_by: name } = setting;
  return <span class="badge">{time ? t.settings.storedBy(name || t.settings.server, formatDay(time)) : t.settings.stored}</span>;
}

interface ControlProps extends SettingFieldProps {
  id: string;
}

function Control(props: ControlProps) {
  const { setting } = props;
  if (setting.kind === "boolean") return <BooleanControl {...props} />;
  if (setting.choices && setting.choices.length > 0) return <ChoiceControl {...props} />;
  if (isSecret(setting)) return <SecretControl {...props} />;
  return <TextControl {...props} />;
}

function described({ id, setting, problem }: ControlProps) {
  const hasError = problem !== undefined || setting.problem !== undefined;
  return { id, "aria-describedby": hasError ? `${id}-hint ${id}-error` : `${id}-hint`, "aria-invalid": problem !== undefined };
}

function BooleanControl(props: ControlProps) {
  const { setting, draft, onChange } = props;
  const value = setting.name in draft ? draft[setting.name] : setting.value;
  const text = value === null || value === undefined ? "" : String(value);
  const select = (next: string) => onChange(setting.name, next === "" ? null : next === "true");
  return (
    <select {...described(props)} value={text} onChange={(event) => select(event.currentTarget.value)}>
      <option value="">{setting.placeholder ? t.settings.defaultOf(setting.placeholder) : t.settings.default}</option>
      <option value="true">{t.settings.on}</option>
      <option value="false">{t.settings.off}</option>
    </select>
  );
}

function ChoiceControl(props: ControlProps) {
  const { setting, draft, onChange } = props;
  const text = fieldText(setting, draft);
  const choices = setting.choices ?? [];
  const all = text === "" || choices.includes(text) ? choices : [...choices, text];
  return (
    <select {...described(props)} value={text} onChange={(event) => onChange(setting.name, event.currentTarget.value || null)}>
      <option value="">{setting.placeholder ? t.settings.defaultOf(setting.placeholder) : t.settings.default}</option>
      {all.map((it) => (
        <option key={it} value={it}>
          {it}
        </option>
      ))}
    </select>
  );
}

/** Never shows a value: it is set, and can be replaced or removed. */
function SecretControl(props: ControlProps) {
  const { setting, draft, onChange } = props;
  const [isReplacing, setReplacing] = useState(false);
  const isSet = setting.is_set && draft[setting.name] !== null;
  if (isSet && !isReplacing && !(setting.name in draft)) {
    return (
      <div class="row">
        <div class="grow">
          <Status tone="">{t.settings.secretSet}</Status>
        </div>
        <button type="button" class="small" aria-label={t.settings.replaceNamed(setting.title)} onClick={() => setReplacing(true)}>
          {t.settings.replace}
        </button>
        {setting.source === "store" && (
          <button type="button" class="quiet small" aria-label={t.settings.removeNamed(setting.title)} onClick={() => onChange(setting.name, null)}>
            {t.settings.remove}
          </button>
        )}
      </div>
    );
  }
  if (isDocument(setting)) return <TextControl {...props} />;
  const text = fieldText(setting, draft);
  return <input {...described(props)} type="password" autocomplete="off" value={text} onInput={(event) => onChange(setting.name, event.currentTarget.value === "" ? undefined : event.currentTarget.value)} />;
}

function TextControl(props: ControlProps) {
  const { setting, draft, onChange } = props;
  const [text, setText] = useState<string | undefined>();
  const shown = setting.name in draft && draft[setting.name] === null ? "" : (text ?? fieldText(setting, draft));
  const isInvalid = shown.trim() !== "" && parseField(setting, shown) === undefined;
  const input = (next: string) => {
    setText(next);
    const value = parseField(setting, next);
    if (value !== undefined) onChange(setting.name, value === null && !setting.is_set ? undefined : value);
  };
  const common = { ...described(props), placeholder: setting.placeholder ?? "", value: shown, spellcheck: false };
  if (!isDocument(setting)) {
    return <input {...common} type="text" inputMode={inputModeOf(setting)} aria-invalid={isInvalid || props.problem !== undefined} onInput={(event) => input(event.currentTarget.value)} />;
  }
  const load = async (file: File | undefined) => {
    if (file) input(await file.text());
  };
  return (
    <div class="stack tight">
      <textarea {...common} class="mono" rows={Math.min(10, Math.max(3, shown.split("\n").length))} aria-invalid={isInvalid || props.problem !== undefined} onInput={(event) => input(event.currentTarget.value)} />
      {isInvalid && <span class="error">{t.settings.noJson}</span>}
      <label class="button small file-button">
        {t.settings.loadFile}
        <input type="file" accept=".json,.txt,.pem" class="visually-hidden" aria-label={t.settings.fromFile(setting.title)} onChange={(event) => void load(event.currentTarget.files?.[0])} />
      </label>
    </div>
  );
}

function inputModeOf({ kind }: Setting): "url" | "numeric" | "text" {
  if (kind === "url") return "url";
  return kind === "integer" ? "numeric" : "text";
}
