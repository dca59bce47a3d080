// The person's own account: name, password, keys, sessions.
import { Page } from "../../components/page.tsx";
import { t } from "../../text/index.ts";
import { user } from "../../session.ts";
import { KeyList } from "./key_list.tsx";
import { PasswordForm } from "./password_form.tsx";
import { SessionList } from "./session_list.tsx";

export default function ProfilePage() {
  const current = user.value;
  return (
    <Page title={t.people.profile}>
      <div class="sheet narrow">
        <section class="section">
          <dl class="facts">
            <dt>{t.people.name}</dt>
            <dd dir="auto">{current?.name}</dd>
            <dt>{t.people.email}</dt>
            <dd>{current?.email || t.people.noEmail}</dd>
            <dt>{t.people.role}</dt>
            <dd>{current && t.people.roles[current.role]}</dd>
          </dl>
        </section>
        <KeyList />
        <SessionList />
        {current?.email && <PasswordForm />}
      </div>
    </Page>
  );
}
