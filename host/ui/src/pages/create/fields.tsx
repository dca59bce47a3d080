// The controls of the form. What the engine is not able to use is not shown.
import { ParametersForm } from "../../components/parameters_form.tsx";
import { Failure, Notice } from "../../components/notice.tsx";
import { hasAdminPages } from "../../session.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { AlsoOnField, EngineField, ModelField } from "./engine_fields.tsx";
import { engineOf } from "./form_state.ts";
import { CountField, SeedField, StepsField, StrengthField } from "./number_fields.tsx";
import { PromptField } from "./prompt_field.tsx";
import { SizeField } from "./size_field.tsx";
import { SourceField } from "./source_field.tsx";
import { lastSeedOf, type CreatePageState } from "./use_create.ts";

export function Fields({ page }: { page: CreatePageState }) {
  const { form, set, engines, engine, models, model, abilities, engineList } = page;
  if (engineList.error !== undefined && !engineList.value) return <Failure error={engineList.error} onRetry={engineList.reload} />;
  if (!engineList.value) return <FieldsSkeleton />;
  if (!engines.some((it) => it.is_ready)) return <NoEngines />;
  const isEdit = form.sources.length > 0;
  const others = engines.filter((it) => it !== engine && it.is_ready && (!isEdit || it.abilities.edit));
  return (
    <>
      {(isEdit || engines.some((it) => it.is_ready && it.abilities.edit)) && <Sources page={page} />}
      <EngineField engines={engines} value={form.engine} automatic={engineOf({ ...form, engine: "" }, engines)} onChange={(name) => set({ engine: name, model: "" })} />
      {engine && <ModelField engine={engine} models={models} value={form.model} onChange={(it) => set({ model: it })} />}
      <SizeField value={form.size} onChange={(size) => set({ size })} engine={engine} model={model} isEdit={isEdit} />
      <div class="field-pair">
        {(abilities?.max_count ?? 1) > 1 && <CountField value={form.count} max={abilities?.max_count ?? 1} onChange={(count) => set({ count })} />}
        {abilities?.seed && <SeedField value={form.seed} lastSeed={lastSeedOf(page.recent.jobs)} onChange={(seed) => set({ seed })} />}
      </div>
      {isEdit && abilities?.strength && <StrengthField value={form.strength} onChange={(strength) => set({ strength })} />}
      <MoreFields page={page} />
      <AlsoOnField engines={others} value={form.alsoOn} onChange={(alsoOn) => set({ alsoOn })} />
    </>
  );
}

function Sources({ page }: { page: CreatePageState }) {
  const { form, engines, engine, abilities } = page;
  const count = form.sources.length;
  let problem: string | undefined;
  if (count > 0 && !engine) problem = form.engine === "" ? t.create.noEditEngine : t.create.noEngine;
  else if (count > 0 && engine && !abilities?.edit) problem = t.create.cannotEdit(titleOf(engine));
  const editor = engines.find((it) => it.is_ready && it.abilities.edit);
  const max = abilities?.max_sources ?? 0;
  return (
    <>
      <SourceField
        sources={form.sources}
        canMask={abilities?.mask === true}
        onAdd={(files) => void page.addSources(files)}
        onRemove={page.removeSource}
        onMask={() => page.setIsMasking(true)}
        problem={problem}
      />
      {problem && editor && (
        <button type="button" class="small" onClick={() => page.set({ engine: editor.name, model: "" })}>
          {t.create.useEngine(titleOf(editor))}
        </button>
      )}
      {!problem && max > 0 && count > max && <small class="muted">{t.create.maxSources(max)}</small>}
    </>
  );
}

/** What is changed less often. */
function MoreFields({ page }: { page: CreatePageState }) {
  const { form, set, engine, abilities } = page;
  const values = engine ? (form.parameters[engine.name] ?? {}) : {};
  const parameters = engine?.parameters ?? [];
  const allowsOthers = engine?.other_parameters === true;
  if (!abilities?.steps && !abilities?.negative_prompt && parameters.length === 0 && !allowsOthers) return null;
  const changed = Object.keys(values).length + Number(Boolean(abilities?.steps) && form.steps !== "") + Number(Boolean(abilities?.negative_prompt) && form.negativePrompt !== "");
  return (
    <details class="more-fields">
      <summary>
        {t.create.moreFields}
        {changed > 0 && <span class="count">{changed}</span>}
      </summary>
      <div class="stack">
        {abilities?.negative_prompt && <PromptField label={t.create.negativePrompt} placeholder={t.create.negativeHint} rows={2} value={form.negativePrompt} onInput={(negativePrompt) => set({ negativePrompt })} />}
        {abilities?.steps && <StepsField value={form.steps} onChange={(steps) => set({ steps })} />}
        {engine && (parameters.length > 0 || allowsOthers) && (
          <ParametersForm
            key={engine.name}
            parameters={parameters}
            values={values}
            allowsOthers={allowsOthers}
            onChange={(next) => set({ parameters: { ...form.parameters, [engine.name]: next } })}
          />
        )}
        {changed > 0 && (
          <button type="button" class="quiet small" onClick={() => set({ steps: "", negativePrompt: "", parameters: engine ? { ...form.parameters, [engine.name]: {} } : form.parameters })}>
            {t.create.resetMore}
          </button>
        )}
      </div>
    </details>
  );
}

/** Says how an engine gets ready. */
export function NoEngines() {
  const actions = hasAdminPages.value && (
    <a class="button" href="/admin/settings">
      {t.create.setUpEngine}
    </a>
  );
  return (
    <Notice title={t.create.noEngine} actions={actions}>
      {hasAdminPages.value ? t.create.noEngineHint : t.create.noEngineAsk}
    </Notice>
  );
}

function FieldsSkeleton() {
  return (
    <div class="stack" aria-busy="true" aria-label={t.shell.loading}>
      {[2.5, 3.5, 5, 2.5].map((height, index) => (
        <div key={index} class="skeleton" style={{ height: `${height}rem` }} />
      ))}
    </div>
  );
}
