import { useState } from "preact/hooks";
import { ApiError, post } from "../../api/client.ts";
import { Field } from "../../components/field.tsx";
import { Form } from "../../components/form.tsx";
import { Trouble } from "../../components/notice.tsx";
import { useAction } from "../../components/resource.ts";
import { config, loadSession, signIn } from "../../session.ts";
import { t } from "../../text/index.ts";

type Mode = "password" | "key" | "sign-up";

/** Signs in with a password or a key, or creates an account if the server allows it. */
export function SignInForm({ isAgain = false }: { isAgain?: boolean }) {
  const [mode, setMode] = useState<Mode>("password");
  const { error, isRunning, run } = useAction((fields: FormData) => submit(mode, fields));
  const canSignUp = config.value?.features.enable_signup === true && !isAgain;
  const submitText = mode === "sign-up" ? t.welcome.signUp : t.welcome.signIn;
  return (
    <Form onSubmit={run}>
      {mode === "key" ? <KeyField /> : <AccountFields isNew={mode === "sign-up"} />}
      <Trouble error={withWait(error)} />
      <button type="submit" class="primary" disabled={isRunning}>
        {submitText}
      </button>
      <div class="row">
        <button type="button" class="quiet small" onClick={() => setMode(mode === "key" ? "password" : "key")}>
          {mode === "key" ? t.welcome.usePassword : t.welcome.useKey}
        </button>
        {canSignUp && (
          <button type="button" class="quiet small" onClick={() => setMode(mode === "sign-up" ? "password" : "sign-up")}>
            {mode === "sign-up" ? t.welcome.haveAccount : t.welcome.noAccount}
          </button>
        )}
      </div>
    </Form>
  );
}

function KeyField() {
  return (
    <Field label={t.welcome.key} hint={t.welcome.keyHint}>
      <input name="key" type="password" autocomplete="off" required autofocus />
    </Field>
  );
}

export function AccountFields({ isNew }: { isNew: boolean }) {
  return (
    <>
      {isNew && (
        <Field label={t.welcome.name}>
          <input name="name" autocomplete="name" required maxLength={100} autofocus />
        </Field>
      )}
      <Field label={t.welcome.email}>
        <input name="email" type="email" autocomplete="username" required autofocus={!isNew} />
      </Field>
      <Field label={t.welcome.password} {...(isNew ? { hint: t.shell.passwordHint } : {})}>
        <input name="password" type="password" autocomplete={isNew ? "new-password" : "current-password"} required minLength={isNew ? 8 : 1} />
      </Field>
    </>
  );
}

async function submit(mode: Mode, form: FormData): Promise<void> {
  const text = (name: string) => String(form.get(name) ?? "");
  if (mode === "key") return signIn({ key: text("key").trim() });
  const credentials = { email: text("email"), password: text("password") };
  if (mode === "password") return signIn(credentials);
  await post("/api/v1/auths/signup", { body: { name: text("name"), ...credentials } });
  await loadSession();
}

/** After too many attempts, how long to wait. */
function withWait(error: unknown): unknown {
  const seconds = error instanceof ApiError && error.status === 429 ? error.retryAfterSecs : undefined;
  return seconds === undefined ? error : new Error(t.welcome.waitSeconds(seconds));
}
