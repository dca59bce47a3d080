// The users: find, approve, create.
import { useState } from "preact/hooks";
import { post } from "../../../api/client.ts";
import type { Role, User } from "../../../api/types.ts";
import { Dialog } from "../../../components/dialog.tsx";
import { Field } from "../../../components/field.tsx";
import { Form } from "../../../components/form.tsx";
import { Empty, Failure, Notice, Trouble } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { Pager } from "../../../components/pager.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { Status } from "../../../components/status.tsx";
import { formatAgo, formatDay, formatNumber } from "../../../format.ts";
import { IconPlus, IconSearch } from "../../../icons.ts";
import { location, setQuery } from "../../../router.ts";
import { t } from "../../../text/index.ts";
import { listUsers, pageCount } from "../users.ts";

export { Aside } from "../aside.tsx";

export default function PeoplePage() {
  const { query } = location.value;
  const [isCreating, setCreating] = useState(false);
  const page = Number(query.get("page") ?? 1);
  const filter = { query: query.get("q"), role: query.get("role"), page };
  const people = useResource((signal) => listUsers(filter, signal), [filter.query, filter.role, page]);
  const pending = useResource((signal) => listUsers({ role: "pending" }, signal), []);
  const waiting = pending.value?.users.filter((it) => it.role === "pending") ?? [];
  const approve = useAction(async (id: string) => {
    await post("/api/v1/users/{id}/update", { path: { id }, body: { role: "user" } });
    people.reload();
    pending.reload();
  });
  const create = (
    <button type="button" class="primary" onClick={() => setCreating(true)}>
      <IconPlus aria-hidden="true" />
      <span>{t.people.newPerson}</span>
    </button>
  );
  return (
    <Page title={t.people.title} lead={people.value && <small class="wide-only">{t.people.count(people.value.total)}</small>} actions={create}>
      <div class="sheet">
        {waiting.map((person) => (
          <Notice
            key={person.id}
            title={t.people.waits(person.name)}
            actions={
              <>
                <button type="button" class="primary" disabled={approve.isRunning} onClick={() => void approve.run(person.id)}>
                  {t.people.approve}
                </button>
                <a class="button quiet" href={`/admin/people/${encodeURIComponent(person.id)}`}>
                  {t.people.show}
                </a>
              </>
            }
          >
            {person.email}
          </Notice>
        ))}
        {approve.error !== undefined && <Failure error={approve.error} />}
        <PeopleFilter />
        {people.error !== undefined && <Failure error={people.error} onRetry={people.reload} />}
        {!people.value && people.isLoading && <Skeleton class="tall" />}
        {people.value?.users.length === 0 && <Empty title={t.people.noMatch} />}
        {people.value && people.value.users.length > 0 && <PeopleTable people={people.value.users} />}
        {people.value && <Pager page={page} pages={pageCount(people.value)} onShow={(to) => setQuery({ page: to === 1 ? undefined : String(to) })} />}
      </div>
      {isCreating && (
        <NewPersonDialog
          onClose={() => {
            setCreating(false);
            people.reload();
          }}
        />
      )}
    </Page>
  );
}

function PeopleFilter() {
  const { query } = location.value;
  return (
    <search class="row">
      <label class="search-field">
        <IconSearch aria-hidden="true" />
        <span class="visually-hidden">{t.people.search}</span>
        <input type="search" placeholder={t.people.search} value={query.get("q") ?? ""} maxLength={200} onChange={(event) => setQuery({ q: event.currentTarget.value, page: undefined })} />
      </label>
      <label class={query.get("role") ? "chip on" : "chip"}>
        <span class="visually-hidden">{t.people.role}</span>
        <select value={query.get("role") ?? ""} onChange={(event) => setQuery({ role: event.currentTarget.value, page: undefined })}>
          <option value="">{t.people.allRoles}</option>
          {(["admin", "user", "pending"] as const).map((role) => (
            <option key={role} value={role}>
              {t.people.roles[role]}
            </option>
          ))}
        </select>
      </label>
    </search>
  );
}

function PeopleTable({ people }: { people: readonly User[] }) {
  return (
    <table>
      <thead>
        <tr>
          <th>{t.people.name}</th>
          <th>{t.people.role}</th>
          <th class="number wide-only">{t.people.images}</th>
          <th class="wide-only">{t.people.lastActive}</th>
          <th class="wide-only">{t.people.created}</th>
        </tr>
      </thead>
      <tbody>
        {people.map((person) => (
          <tr key={person.id}>
            <td class="wrap">
              <a class="row-link" href={`/admin/people/${encodeURIComponent(person.id)}`} dir="auto">
                {person.name}
              </a>
              <br />
              <small>{person.email || t.people.noEmail}</small>
            </td>
            <td>
              <Status tone={person.role === "pending" ? "warn" : ""}>{t.people.roles[person.role]}</Status>
            </td>
            <td class="number wide-only">{formatNumber(person.image_count)}</td>
            <td class="wide-only">{person.last_active_at ? formatAgo(person.last_active_at) : "–"}</td>
            <td class="wide-only">{formatDay(person.created_at)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function NewPersonDialog({ onClose }: { onClose: () => void }) {
  const create = useAction(async (form: FormData) => {
    const text = (name: string) => String(form.get(name) ?? "");
    await post("/api/v1/auths/add", { body: { name: text("name"), email: text("email"), password: text("password"), role: text("role") as Role } });
    onClose();
  });
  return (
    <Dialog
      title={t.people.newPerson}
      onClose={onClose}
      foot={
        <>
          <button type="button" class="quiet" onClick={onClose}>
            {t.shell.cancel}
          </button>
          <button type="submit" form="new-person" class="primary" disabled={create.isRunning}>
            {t.people.create}
          </button>
        </>
      }
    >
      <Form id="new-person" onSubmit={create.run}>
        <Field label={t.people.name}>
          <input name="name" required maxLength={200} autofocus autocomplete="off" />
        </Field>
        <Field label={t.people.email}>
          <input name="email" type="email" required autocomplete="off" />
        </Field>
        <Field label={t.people.firstPassword} hint={t.shell.passwordHint}>
          <input name="password" type="password" required minLength={8} autocomplete="new-password" />
        </Field>
        <Field label={t.people.role}>
          <select name="role">
            <option value="user">{t.people.roles.user}</option>
            <option value="admin">{t.people.roles.admin}</option>
          </select>
        </Field>
        <Trouble error={create.error} />
      </Form>
    </Dialog>
  );
}
