// Configurations of engines, the order of fallbacks, and who gets what.
import { useState } from "preact/hooks";
import { get } from "../../../api/client.ts";
import type { BindingEntry } from "../../../api/types.ts";
import { Failure } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { Status } from "../../../components/status.tsx";
import { IconPlus } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { BindingDialog } from "./binding_dialog.tsx";
import { FallbackList } from "./fallback_list.tsx";
import { WhoGetsWhat } from "./who_gets_what.tsx";

export { Aside } from "../aside.tsx";

export default function BindingsPage() {
  const list = useResource((signal) => get("/api/v1/bindings", { signal }), []);
  const [edited, setEdited] = useState<BindingEntry | "new" | undefined>();
  const { value } = list;
  const create = (
    <button type="button" class="primary" aria-label={t.settings.newBinding} onClick={() => setEdited("new")}>
      <IconPlus aria-hidden="true" />
      <span class="wide-only">{t.settings.newBinding}</span>
    </button>
  );
  return (
    <Page title={t.settings.bindings} actions={create}>
      <div class="sheet">
        {list.error !== undefined && <Failure error={list.error} onRetry={list.reload} />}
        {!value && list.isLoading && <Skeleton class="tall" />}
        {value && (
          <>
            <section class="section">
              <p class="muted">{t.settings.bindingsLead}</p>
              <BindingTable bindings={value.bindings} onEdit={setEdited} />
            </section>
            <FallbackList list={value} onChange={list.reload} />
            <WhoGetsWhat />
          </>
        )}
      </div>
      {edited && value && (
        <BindingDialog
          entry={edited === "new" ? undefined : edited}
          engines={value.engines}
          onClose={() => {
            setEdited(undefined);
            list.reload();
          }}
        />
      )}
    </Page>
  );
}

function BindingTable({ bindings, onEdit }: { bindings: readonly BindingEntry[]; onEdit: (entry: BindingEntry) => void }) {
  return (
    <table>
      <thead>
        <tr>
          <th>{t.settings.binding}</th>
          <th class="wide-only">{t.settings.forGroups}</th>
          <th class="wide-only">{t.settings.model}</th>
          <th>{t.engines.state}</th>
          <th>
            <span class="visually-hidden">{t.people.actions}</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {bindings.map((it) => (
          <tr key={it.name}>
            <td class="wrap">
              <strong>{it.name}</strong>
              <br />
              <small>{it.engine && it.engine !== it.name ? it.engine : t.settings.ownBinding}</small>
            </td>
            <td class="wide-only wrap" dir="auto">
              {it.groups?.join(", ") || t.settings.everyone}
            </td>
            <td class="wide-only wrap">{it.model ?? "–"}</td>
            <td>
              <Status tone={it.problems.length > 0 ? "bad" : ""} title={it.problems.join("\n")}>
                {it.problems.length > 0 ? t.settings.problems(it.problems.length) : t.settings.ready}
              </Status>
            </td>
            <td class="number">
              <button type="button" class="small" aria-label={t.settings.editNamed(it.name)} onClick={() => onEdit(it)}>
                {t.settings.edit}
              </button>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
