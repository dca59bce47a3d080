// The settings: a form that is made from what the server and its engines declare.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { get, post } from "../../../api/client.ts";
import type { Operation, Setting, SettingProblem } from "../../../api/types.ts";
import { useDelayed } from "../../../components/delayed.ts";
import { Failure, Trouble } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { t } from "../../../text/index.ts";
import { EngineTest } from "./engine_test.tsx";
import { SettingField } from "./setting_field.tsx";
import { isSecret, sectionsOf, settingsOf, withoutUnchanged, type Draft } from "./setting.ts";
import { WorkflowSection } from "./workflow_section.tsx";

export { Aside } from "../aside.tsx";

/** What was typed and is not stored stays while other pages are shown. */
const draft = signal<Draft>({});

/** Time without typing until the values are checked, in milliseconds. */
const PAUSE_MS = 500;

export default function SettingsPage({ parameters }: { parameters: Record<string, string> }) {
  const section = parameters.engine ?? "images";
  const settings = useResource((stop) => get("/api/v1/settings", { signal: stop }), []);
  const all = settings.value ?? [];
  const changed = withoutUnchanged(draft.value, all);
  const check = useCheck(changed);
  const save = useAction(async () => {
    settings.set(await post("/api/v1/settings", { body: changed }));
    draft.value = {};
  });
  const onChange = (name: string, value: unknown) => {
    const { [name]: _, ...others } = draft.value;
    draft.value = value === undefined ? others : { ...others, [name]: value };
    save.clear();
  };
  const count = Object.keys(changed).length;
  useEffect(() => {
    if (count === 0) return;
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", warn);
    return () => removeEventListener("beforeunload", warn);
  }, [count > 0]);
  return (
    <Page
      title={t.settings.title}
      foot={
        count > 0 && (
          <div class="save-bar">
            <strong>{t.settings.changes(count)}</strong>
            <Trouble error={save.error} class="error" />
            <button type="button" class="quiet" onClick={() => (draft.value = {})}>
              {t.settings.discard}
            </button>
            <button type="button" class="primary" disabled={save.isRunning || check.length > 0} onClick={() => void save.run()}>
              {t.shell.save}
            </button>
          </div>
        )
      }
    >
      <div class="sheet settings">
        {settings.error !== undefined && <Failure error={settings.error} onRetry={settings.reload} />}
        {!settings.value && settings.isLoading && <Skeleton class="tall" />}
        {settings.value && (
          <>
            <Sections sections={sectionsOf(all)} current={section} changed={changed} settings={all} />
            <Section key={section} section={section} settings={settingsOf(section, all)} draft={changed} problems={check} onChange={onChange} />
          </>
        )}
      </div>
    </Page>
  );
}

/** The problems of the values that are not stored yet. */
function useCheck(changed: Draft): SettingProblem[] {
  const [problems, setProblems] = useState<SettingProblem[]>([]);
  const key = useDelayed(JSON.stringify(changed), PAUSE_MS);
  useEffect(() => {
    if (key === "{}") return setProblems([]);
    const controller = new AbortController();
    post("/api/v1/settings/check", { body: changed, signal: controller.signal }).then(
      (it) => setProblems(it.problems),
      // Saving reports what is wrong too.
      () => !controller.signal.aborted && setProblems([]),
    );
    return () => controller.abort();
  }, [key]);
  return problems;
}

interface SectionsProps {
  sections: readonly string[];
  current: string;
  changed: Draft;
  settings: readonly Setting[];
}

function Sections({ sections, current, changed, settings }: SectionsProps) {
  return (
    <nav class="row section-links" aria-label={t.settings.sections}>
      {sections.map((it) => {
        const names = settingsOf(it, settings);
        const isChanged = names.some((setting) => setting.name in changed);
        const hasProblem = names.some((setting) => setting.problem);
        return (
          <a key={it} class={it === current ? "chip on" : "chip"} href={it === "images" ? "/admin/settings" : `/admin/settings/${it}`} aria-current={it === current ? "page" : undefined}>
            {titleOf(it)}
            {(isChanged || hasProblem) && <span class={hasProblem ? "dot bad" : "dot live"} title={hasProblem ? t.settings.hasProblem : t.settings.notSaved} />}
          </a>
        );
      })}
    </nav>
  );
}

function titleOf(section: string): string {
  return (t.settings.groups as Record<string, string>)[section] ?? section;
}

interface SectionProps {
  section: string;
  settings: readonly Setting[];
  draft: Draft;
  problems: SettingProblem[];
  onChange: (name: string, value: unknown) => void;
}

function Section({ section, settings, draft: changed, problems, onChange }: SectionProps) {
  const [mode, setMode] = useState<Operation>("generate");
  const isEngine = settings.some((it) => it.binding !== undefined);
  const hasModes = settings.some((it) => it.mode === "edit");
  const shown = settings.filter((it) => !hasModes || it.mode === mode || it.mode === "both" || it.mode === undefined);
  const [common, rare] = [shown.filter(isCommon), shown.filter((it) => !isCommon(it))];
  const field = (setting: Setting) => (
    <SettingField key={setting.name} setting={setting} draft={changed} problem={problems.find((it) => it.name === setting.name)?.message} onChange={onChange} />
  );
  const ownValues = settings.filter((it) => it.mode === "edit" && it.is_set && it.source === "store" && !(it.name in changed));
  return (
    <section class="stack loose" aria-label={titleOf(section)}>
      {hasModes && (
        <div class="row">
          <div class="segmented" role="group" aria-label={t.settings.modes}>
            {(["generate", "edit"] as const).map((it) => (
              <button key={it} type="button" aria-pressed={it === mode} onClick={() => setMode(it)}>
                {t.settings.mode[it]}
              </button>
            ))}
          </div>
          {mode === "edit" && (
            <small>
              {ownValues.length === 0 ? t.settings.editsShare : t.settings.editsOwn}{" "}
              {ownValues.length > 0 && (
                <button type="button" class="quiet small" onClick={() => ownValues.forEach((it) => onChange(it.name, null))}>
                  {t.settings.shareAgain}
                </button>
              )}
            </small>
          )}
        </div>
      )}
      <div class="setting-list">{common.map(field)}</div>
      {isEngine && <EngineTest binding={section} settings={changed} operation={mode} />}
      {isEngine && <WorkflowSection key={mode} binding={section} settings={settings} draft={changed} operation={mode} onChange={onChange} />}
      {rare.length > 0 && (
        <details open={common.length === 0}>
          <summary>{t.settings.more(rare.length)}</summary>
          <div class="setting-list">{rare.map(field)}</div>
        </details>
      )}
    </section>
  );
}

/** What nearly every installation sets stands first: Open WebUI's settings, and those of the server that are few. */
function isCommon(setting: Setting): boolean {
  if (setting.binding === undefined) return true;
  return setting.is_set || isSecret(setting) ? !setting.name.startsWith("PINHOLE_") || setting.is_set : !setting.name.startsWith("PINHOLE_") && !/_PARAMS$|_VERSION$/.test(setting.name);
}
