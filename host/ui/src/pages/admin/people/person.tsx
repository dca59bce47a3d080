// One user: role, password, groups, keys, sessions.
import { useState } from "preact/hooks";
import { get, post, remove } from "../../../api/client.ts";
import type { Role, User } from "../../../api/types.ts";
import { Confirm } from "../../../components/confirm.tsx";
import { Field } from "../../../components/field.tsx";
import { Form } from "../../../components/form.tsx";
import { Failure, Trouble } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { formatAgo, formatDay, formatNumber } from "../../../format.ts";
import { navigate } from "../../../router.ts";
import { user } from "../../../session.ts";
import { t } from "../../../text/index.ts";
import { KeyList } from "../../profile/key_list.tsx";
import { SessionList } from "../../profile/session_list.tsx";

export { Aside } from "../aside.tsx";

export default function PersonPage({ parameters }: { parameters: Record<string, string> }) {
  const { id = "" } = parameters;
  const person = useResource((signal) => get("/api/v1/users/{id}", { path: { id }, signal }), [id]);
  const { value } = person;
  return (
    <Page title={value?.name ?? t.people.person}>
      <div class="sheet narrow">
        {person.error !== undefined && <Failure error={person.error} onRetry={person.reload} />}
        {!value && person.isLoading && <Skeleton class="tall" />}
        {value && (
          <>
            <PersonFacts person={value} />
            <AccessForm key={value.id} person={value} onChange={person.reload} />
            <KeyList userId={id} />
            <SessionList userId={id} />
            {value.id !== user.value?.id && <DeleteSection person={value} />}
          </>
        )}
      </div>
    </Page>
  );
}

function PersonFacts({ person }: { person: User }) {
  return (
    <section class="section">
      <dl class="facts">
        <dt>{t.people.email}</dt>
        <dd>{person.email || t.people.noEmail}</dd>
        <dt>{t.people.created}</dt>
        <dd>{formatDay(person.created_at)}</dd>
        {person.last_active_at && (
          <>
            <dt>{t.people.lastActive}</dt>
            <dd>{formatAgo(person.last_active_at)}</dd>
          </>
        )}
        <dt>{t.people.images}</dt>
        <dd>{formatNumber(person.image_count)}</dd>
      </dl>
    </section>
  );
}

interface AccessFormProps {
  person: User;
  onChange: () => void;
}

function AccessForm({ person, onChange }: AccessFormProps) {
  const [name, setName] = useState(person.name);
  const [role, setRole] = useState<Role>(person.role);
  const [password, setPassword] = useState("");
  const isSelf = person.id === user.value?.id;
  const save = useAction(async () => {
    await post("/api/v1/users/{id}/update", { path: { id: person.id }, body: { name, role, password } });
    setPassword("");
    onChange();
  });
  const isChanged = name !== person.name || role !== person.role || password !== "";
  return (
    <Form class="section" onSubmit={save.run}>
      <h2>{t.people.access}</h2>
      <div class="columns">
        <Field label={t.people.name}>
          <input required maxLength={200} value={name} dir="auto" onInput={(event) => setName(event.currentTarget.value)} />
        </Field>
        <Field label={t.people.role} {...(isSelf ? { hint: t.people.ownRole } : {})}>
          <select value={role} disabled={isSelf} onChange={(event) => setRole(event.currentTarget.value as Role)}>
            {(["user", "admin", "pending"] as const).map((it) => (
              <option key={it} value={it}>
                {t.people.roles[it]}
              </option>
            ))}
          </select>
        </Field>
        {person.email !== "" && (
          <Field label={t.people.resetPassword} hint={t.people.resetPasswordHint}>
            <input type="password" autocomplete="new-password" minLength={8} value={password} onInput={(event) => setPassword(event.currentTarget.value)} />
          </Field>
        )}
      </div>
      <Trouble error={save.error} />
      <div>
        <button type="submit" class="primary" disabled={!isChanged || save.isRunning}>
          {t.shell.save}
        </button>
      </div>
    </Form>
  );
}

function DeleteSection({ person }: { person: User }) {
  const [isAsking, setAsking] = useState(false);
  const deletePerson = async () => {
    await remove("/api/v1/users/{id}", { path: { id: person.id } });
    navigate("/admin/people", { replace: true });
  };
  return (
    <section class="section">
      <div>
        <button type="button" class="danger" onClick={() => setAsking(true)}>
          {t.people.deletePerson}
        </button>
      </div>
      {isAsking && (
        <Confirm title={t.people.deleteTitle(person.name)} label={t.people.deletePerson} isDanger onConfirm={deletePerson} onClose={() => setAsking(false)}>
          <p>{t.people.deleteHint}</p>
        </Confirm>
      )}
    </section>
  );
}
