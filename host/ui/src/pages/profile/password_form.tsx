import { post } from "../../api/client.ts";
import { Field } from "../../components/field.tsx";
import { Form } from "../../components/form.tsx";
import { Trouble } from "../../components/notice.tsx";
import { useAction } from "../../components/resource.ts";
import { Section } from "../../components/section.tsx";
import { signOut } from "../../session.ts";
import { t } from "../../text/index.ts";

/** Changes the password, which ends all sessions. */
export function PasswordForm() {
  const change = useAction(async (fields: FormData) => {
    await post("/api/v1/auths/update/password", { body: { password: String(fields.get("password")), new_password: String(fields.get("new")) } });
    await signOut();
  });
  return (
    <Section title={t.people.changePassword} hint={t.people.changePasswordHint}>
      <Form onSubmit={change.run}>
        <div class="columns">
          <Field label={t.people.currentPassword}>
            <input name="password" type="password" autocomplete="current-password" required />
          </Field>
          <Field label={t.people.newPassword} hint={t.shell.passwordHint}>
            <input name="new" type="password" autocomplete="new-password" required minLength={8} />
          </Field>
        </div>
        <Trouble error={change.error} />
        <div>
          <button type="submit" disabled={change.isRunning}>
            {t.people.changePassword}
          </button>
        </div>
      </Form>
    </Section>
  );
}
