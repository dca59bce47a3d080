import { useId } from "preact/hooks";
import type { ImageModel, UsableEngine } from "../../api/types.ts";
import { Menu } from "../../components/menu.tsx";
import type { Resource } from "../../components/resource.ts";
import { IconCheck, IconChevronDown } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";

interface EngineFieldProps {
  engines: readonly UsableEngine[];
  /** Empty: the server chooses. */
  value: string;
  /** The engine that the server would choose. */
  automatic: UsableEngine | undefined;
  onChange: (engine: string) => void;
}

/** The menu of engines. Those that are not ready say why. */
export function EngineField({ engines, value, automatic, onChange }: EngineFieldProps) {
  const chosen = engines.find((it) => it.name === value);
  const title = value === "" ? t.create.automatic : (chosen?.title ?? value);
  const problem = value === "" || chosen?.is_ready ? undefined : (chosen?.reason ?? t.create.engineGone(value));
  const detail = value === "" ? automatic?.title : chosen && chosen.name !== chosen.engine ? chosen.name : undefined;
  const face = (
    <>
      <span class="truncate" dir="auto">
        {title}
        {detail && <small> {detail}</small>}
      </span>
      <IconChevronDown aria-hidden="true" />
    </>
  );
  return (
    <div class="field">
      <span class="field-label">{t.create.engine}</span>
      <Menu label={`${t.create.engine}: ${[title, detail].filter(Boolean).join(" ")}`} face={face} class="select-button">
        <EngineChoice title={t.create.automatic} hint={automatic ? t.create.automaticHint(automatic.title) : t.create.noDefault} isChosen={value === ""} onClick={() => onChange("")} />
        <hr />
        {engines.map((it) => (
          <EngineChoice key={it.name} title={titleOf(it)} hint={it.is_ready ? undefined : it.reason} isChosen={it.name === value} isDisabled={!it.is_ready} onClick={() => onChange(it.name)} />
        ))}
      </Menu>
      {problem && (
        <span class="error wrap" role="alert" dir="auto">
          {problem}
        </span>
      )}
    </div>
  );
}

interface EngineChoiceProps {
  title: string;
  hint?: string | undefined;
  isChosen: boolean;
  isDisabled?: boolean;
  onClick: () => void;
}

function EngineChoice({ title, hint, isChosen, isDisabled = false, onClick }: EngineChoiceProps) {
  return (
    <button type="button" class="engine-choice" aria-pressed={isChosen} disabled={isDisabled} onClick={onClick}>
      <span>
        <span dir="auto">{title}</span>
        {hint && <small dir="auto">{hint}</small>}
      </span>
      {isChosen && <IconCheck aria-hidden="true" />}
    </button>
  );
}

interface ModelFieldProps {
  engine: UsableEngine;
  models: Resource<ImageModel[]>;
  value: string;
  onChange: (model: string) => void;
}

/** A model of the list, or another one by its id. */
export function ModelField({ engine, models, value, onChange }: ModelFieldProps) {
  const id = useId();
  const listed = models.value ?? [];
  // An engine with one model has nothing to choose.
  if (value === "" && !models.isLoading && models.error === undefined && listed.length < 2) return null;
  const own = engine.default_model ?? t.create.byEngine;
  return (
    <div class="field">
      <label for={id}>{t.create.model}</label>
      <input id={id} type="text" list={`${id}-list`} maxLength={200} spellcheck={false} autocomplete="off" placeholder={models.isLoading && !models.value ? t.shell.loading : own} aria-describedby={models.error === undefined ? undefined : `${id}-hint`} value={value} onInput={(event) => onChange(event.currentTarget.value)} />
      <datalist id={`${id}-list`}>
        {listed.map((it) => (
          <option key={it.id} value={it.id}>
            {it.name === it.id ? undefined : it.name}
          </option>
        ))}
      </datalist>
      {models.error !== undefined && <small id={`${id}-hint`}>{t.create.modelsUnknown}</small>}
    </div>
  );
}

interface AlsoOnFieldProps {
  engines: readonly UsableEngine[];
  value: readonly string[];
  onChange: (names: string[]) => void;
}

/** Other engines that get the same prompt, to compare what they make of it. */
export function AlsoOnField({ engines, value, onChange }: AlsoOnFieldProps) {
  if (engines.length === 0) return null;
  return (
    <div class="field" role="group" aria-labelledby="also-on-label">
      <span class="field-label" id="also-on-label">
        {t.create.alsoOn}
      </span>
      <div class="row">
        {engines.map((it) => {
          const isOn = value.includes(it.name);
          return (
            <button key={it.name} type="button" class="chip" aria-pressed={isOn} onClick={() => onChange(isOn ? value.filter((name) => name !== it.name) : [...value, it.name])}>
              {isOn && <IconCheck aria-hidden="true" />}
              <span class="truncate" dir="auto">
                {titleOf(it)}
              </span>
            </button>
          );
        })}
      </div>
    </div>
  );
}
