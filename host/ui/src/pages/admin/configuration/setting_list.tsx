import { useState } from "preact/hooks";
import type { Setting } from "../../../api/types.ts";
import { formatAgo } from "../../../format.ts";
import { location, setQuery } from "../../../router.ts";
import { t } from "../../../text/index.ts";
import { Section } from "../../../components/section.tsx";
import { isSecret } from "../settings/setting.ts";
import { isMatch, valueText } from "./values.ts";

/** All settings with value and origin. The search is in the query, so that a setting has a link. */
export function SettingList({ settings }: { settings: readonly Setting[] }) {
  const { configuration } = t.admin;
  const words = location.value.query.get("q") ?? "";
  const [isSetOnly, setIsSetOnly] = useState(false);
  const shown = settings.filter((it) => isMatch(it, words) && (!isSetOnly || it.source !== "default"));
  return (
    <Section title={configuration.settings}>
      <div class="row list-bar">
        <input type="search" class="admin-search grow" aria-label={configuration.search} placeholder={configuration.search} value={words} onInput={(event) => setQuery({ q: event.currentTarget.value })} />
        <button type="button" class="chip" aria-pressed={isSetOnly} onClick={() => setIsSetOnly(!isSetOnly)}>
          {configuration.onlyChanged}
        </button>
        <small role="status">{configuration.shown(shown.length, settings.length)}</small>
      </div>
      {shown.length === 0 && <p class="muted">{configuration.none}</p>}
      <ul class="settings-list">
        {shown.map((setting) => (
          <SettingRow key={setting.name} setting={setting} />
        ))}
      </ul>
    </Section>
  );
}

function SettingRow({ setting }: { setting: Setting }) {
  const { configuration } = t.admin;
  const variable = setting.variable_in_use ?? setting.variables[0] ?? setting.name;
  const hasValue = valueText(setting.value) !== "";
  const { changed_at: changedAt, changed_by: changedBy } = setting;
  return (
    <li>
      <div class="stack tight">
        <code class="wrap setting-name">{setting.name}</code>
        <small class="wrap">{setting.description}</small>
        {setting.variables.length > 1 && (
          <small class="wrap">
            {configuration.variables}: <code>{setting.variables.join(", ")}</code>
          </small>
        )}
        {setting.problem !== undefined && (
          <p class="trouble" dir="auto">
            {setting.problem}
          </p>
        )}
      </div>
      <div class="stack tight">
        <Value setting={setting} />
        <span class="quiet-line">
          {(setting.source !== "default" || hasValue) && (
            <span class={`source-badge ${setting.source}`} title={setting.source === "environment" ? configuration.sourceTitle(variable) : undefined}>
              {configuration.sources[setting.source]}
            </span>
          )}
          {setting.source === "environment" && <code class="wrap">{variable}</code>}
          {setting.source === "store" && changedAt !== undefined && <span dir="auto">{configuration.changedBy(changedBy ?? t.admin.none, formatAgo(changedAt))}</span>}
        </span>
      </div>
    </li>
  );
}

function Value({ setting }: { setting: Setting }) {
  const { configuration } = t.admin;
  const text = valueText(setting.value);
  if (text === "") return <span class="muted">{configuration.noValue}</span>;
  if (setting.kind === "secret") return <span>{configuration.secretSet}</span>;
  const isLong = text.includes("\n") || isSecret(setting);
  return isLong ? (
    <pre class="setting-value long" tabIndex={0} dir="auto">
      {text}
    </pre>
  ) : (
    <code class="setting-value" dir="auto">
      {text}
    </code>
  );
}
