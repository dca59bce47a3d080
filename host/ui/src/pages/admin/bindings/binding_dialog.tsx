import { useState } from "preact/hooks";
import { put, remove } from "../../../api/client.ts";
import type { BindingDefinition, BindingEntry } from "../../../api/types.ts";
import { Confirm } from "../../../components/confirm.tsx";
import { Dialog } from "../../../components/dialog.tsx";
import { Field } from "../../../components/field.tsx";
import { Form } from "../../../components/form.tsx";
import { Trouble } from "../../../components/notice.tsx";
import { useAction } from "../../../components/resource.ts";
import { parseObject, type JsonObject } from "../../../json.ts";
import { t } from "../../../text/index.ts";
import { definitionOf, parseNames } from "./binding.ts";

interface BindingDialogProps {
  entry: BindingEntry | undefined;
  engines: readonly string[];
  onClose: () => void;
}

/** Creates or changes a configuration. Fields that the form does not have stay as they are. */
export function BindingDialog({ entry, engines, onClose }: BindingDialogProps) {
  const before = entry ? definitionOf(entry) : {};
  const save = useAction(async (form: FormData) => {
    const name = entry?.name ?? String(form.get("name") ?? "");
    await put("/api/v1/bindings/{name}", { path: { name }, body: readForm(form, before) });
    onClose();
  });
  const [isDeleting, setDeleting] = useState(false);
  const deleteBinding = async (name: string) => {
    await remove("/api/v1/bindings/{name}", { path: { name } });
    onClose();
  };
  const isOwn = entry !== undefined && engines.includes(entry.name);
  return (
    <Dialog
      title={entry ? t.settings.editNamed(entry.name) : t.settings.newBinding}
      onClose={onClose}
      foot={
        <>
          {entry?.is_defined && (
            <button type="button" class="quiet danger" onClick={() => setDeleting(true)}>
              {isOwn ? t.settings.resetBinding : t.settings.deleteBinding}
            </button>
          )}
          <button type="button" class="quiet" onClick={onClose}>
            {t.shell.cancel}
          </button>
          <button type="submit" form="binding" class="primary" disabled={save.isRunning}>
            {t.shell.save}
          </button>
        </>
      }
    >
      {entry?.problems.map((it) => (
        <p key={it} class="trouble">
          {it}
        </p>
      ))}
      <Form id="binding" onSubmit={save.run}>
        {!entry && (
          <div class="columns">
            <Field label={t.settings.bindingName} hint={t.settings.bindingNameHint}>
              <input name="name" required maxLength={40} pattern="[a-z0-9\-]+" autofocus autocomplete="off" />
            </Field>
            <Field label={t.settings.engine}>
              <select name="engine">
                {engines.map((it) => (
                  <option key={it} value={it}>
                    {it}
                  </option>
                ))}
              </select>
            </Field>
          </div>
        )}
        <Defaults definition={before} />
        <JsonField name="settings" label={t.settings.ownSettings} hint={t.settings.ownSettingsHint} value={before.settings} />
        <JsonField name="edit_settings" label={t.settings.editSettings} value={before.edit_settings} />
        <Trouble error={save.error} />
      </Form>
      {entry && isDeleting && (
        <Confirm
          title={isOwn ? t.settings.resetTitle(entry.name) : t.settings.deleteTitle(entry.name)}
          label={isOwn ? t.settings.resetBinding : t.settings.deleteBinding}
          isDanger
          onConfirm={() => deleteBinding(entry.name)}
          onClose={() => setDeleting(false)}
        >
          <p>{isOwn ? t.settings.resetHint : t.settings.deleteHint}</p>
        </Confirm>
      )}
    </Dialog>
  );
}

function Defaults({ definition }: { definition: BindingDefinition }) {
  const texts = [
    ["model", t.settings.model, ""],
    ["size", t.settings.size, ""],
    ["edit_model", t.settings.editModel, ""],
    ["edit_size", t.settings.editSize, ""],
  ] as const;
  const numbers = [
    ["steps", t.settings.steps],
    ["concurrency", t.settings.concurrency],
  ] as const;
  const lists = [
    ["groups", t.settings.forGroups, t.settings.groupsHint],
    ["preferred_by", t.settings.preferredBy, t.settings.preferredHint],
    ["chat_models", t.settings.chatModels, t.settings.chatModelsHint],
  ] as const;
  return (
    <>
      <div class="columns">
        {texts.map(([name, label]) => (
          <Field key={name} label={label}>
            <input name={name} defaultValue={definition[name] ?? ""} autocomplete="off" />
          </Field>
        ))}
        {numbers.map(([name, label]) => (
          <Field key={name} label={label}>
            <input name={name} type="number" min={1} defaultValue={String(definition[name] ?? "")} />
          </Field>
        ))}
      </div>
      {lists.map(([name, label, hint]) => (
        <Field key={name} label={label} hint={hint}>
          <input name={name} defaultValue={definition[name]?.join(", ") ?? ""} autocomplete="off" dir="auto" />
        </Field>
      ))}
    </>
  );
}

interface JsonFieldProps {
  name: string;
  label: string;
  hint?: string;
  value: JsonObject | undefined;
}

function JsonField({ name, label, hint, value }: JsonFieldProps) {
  const [text, setText] = useState(value && Object.keys(value).length > 0 ? JSON.stringify(value, null, 2) : "");
  const isInvalid = parseObject(text) === undefined;
  return (
    <Field label={label} {...(hint ? { hint } : {})} error={isInvalid ? t.settings.noJson : undefined}>
      <textarea name={name} class="mono" rows={3} spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
    </Field>
  );
}

/** The definition with the values of the form. Empty fields are left out of the request. */
function readForm(form: FormData, before: BindingDefinition): BindingDefinition {
  const text = (name: string) => String(form.get(name) ?? "").trim() || undefined;
  const number = (name: string) => (text(name) === undefined ? undefined : Number(text(name)));
  const names = (name: string) => {
    const list = parseNames(text(name) ?? "");
    return list.length > 0 ? list : undefined;
  };
  const json = (name: string) => {
    const value = parseObject(text(name) ?? "");
    if (value === undefined) throw new Error(t.settings.noJson);
    return Object.keys(value).length > 0 ? value : undefined;
  };
  return {
    ...before,
    engine: text("engine") ?? before.engine,
    model: text("model"),
    size: text("size"),
    edit_model: text("edit_model"),
    edit_size: text("edit_size"),
    steps: number("steps"),
    concurrency: number("concurrency"),
    groups: names("groups"),
    preferred_by: names("preferred_by"),
    chat_models: names("chat_models"),
    settings: json("settings"),
    edit_settings: json("edit_settings"),
  };
}
