import { useState } from "preact/hooks";
import { get } from "../../../api/client.ts";
import type { SettingChange } from "../../../api/types.ts";
import { Empty, Failure } from "../../../components/notice.tsx";
import { useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { formatTime } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { valueText } from "../configuration/values.ts";

const LIMIT = 500;

/** Who changed which setting, newest first. */
export function Changes() {
  const changes = useResource((signal) => get("/api/v1/settings/changes", { query: { limit: LIMIT }, signal }), []);
  const [wanted, setWanted] = useState("");
  const text = t.admin.audit.changes;
  if (changes.error !== undefined) return <Failure error={changes.error} onRetry={changes.reload} />;
  if (!changes.value) return <Skeleton class="row-skeleton" />;
  if (changes.value.length === 0) return <Empty title={text.none}>{text.noneHint}</Empty>;
  const words = wanted.trim().toLowerCase();
  const shown = changes.value.filter((it) => `${it.name} ${it.path} ${it.user_name}`.toLowerCase().includes(words));
  return (
    <>
      <input type="search" class="admin-search" aria-label={text.search} placeholder={text.search} value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
      <ul class="change-list">
        {shown.map((change, index) => (
          <Change key={`${change.changed_at} ${change.name} ${index}`} change={change} />
        ))}
      </ul>
    </>
  );
}

function Change({ change }: { change: SettingChange }) {
  const text = t.admin.audit.changes;
  const hasValues = change.old_value !== null || change.new_value !== null;
  return (
    <li>
      <time class="muted" dateTime={new Date(change.changed_at * 1_000).toISOString()}>
        {formatTime(change.changed_at)}
      </time>
      <div class="stack tight">
        <span class="wrap">
          <a href={`/admin/configuration?q=${encodeURIComponent(change.name)}`}>
            <code>{change.name}</code>
          </a>{" "}
          {text[change.what]}{" "}
          <span class="muted" dir="auto">
            {change.user_id === "" ? text.reset : text.by(change.user_name || change.user_id)}
          </span>
        </span>
        {hasValues && (
          <span class="setting-values">
            {change.old_value === null ? (
              <span class="muted">{text.notSet}</span>
            ) : (
              <del class="setting-value" dir="auto" aria-label={text.before}>
                {valueText(change.old_value)}
              </del>
            )}
            <span aria-hidden="true">→</span>
            <ins class="setting-value" dir="auto" aria-label={text.after}>
              {change.new_value === null ? text.notSet : valueText(change.new_value)}
            </ins>
          </span>
        )}
      </div>
    </li>
  );
}
