// The first run: an account, an engine, a first image.
import { useState } from "preact/hooks";
import { post } from "../../api/client.ts";
import { Form } from "../../components/form.tsx";
import { useAction } from "../../components/resource.ts";
import { Empty, Trouble } from "../../components/notice.tsx";
import { Welcome } from "./page.tsx";
import { location, navigate } from "../../router.ts";
import { config, loadSession, user } from "../../session.ts";
import { t } from "../../text/index.ts";
import { EngineStep } from "./engine_step.tsx";
import { AccountFields } from "./sign_in.tsx";
import { ImageStep } from "./image_step.tsx";

const STEPS = ["account", "engine", "image"] as const;

export function SetupPage() {
  // A reload continues after the account.
  const [step, setStep] = useState(user.value?.role === "admin" ? 1 : 0);
  const name = STEPS[step] ?? "image";
  const next = () => setStep(step + 1);
  const finish = () => navigate("/", { replace: true });
  const isDone = config.value?.pinhole?.setup_needed === false && !user.value;
  if (isDone) navigate("/", { replace: true });
  return (
    <Welcome title={step === 0 ? t.welcome.setupTitle : t.welcome.steps[name]} lead={step === 0 ? t.welcome.setupLead : leadOf(name)}>
      <ol class="steps" aria-label={t.welcome.step(step + 1, STEPS.length)}>
        {STEPS.map((it, index) => (
          <li key={it} aria-current={index === step ? "step" : undefined} class={index < step ? "done" : ""}>
            {t.welcome.steps[it]}
          </li>
        ))}
      </ol>
      {name === "account" && <AccountStep onDone={next} />}
      {name === "engine" && <EngineStep onDone={next} />}
      {name === "image" && <ImageStep onDone={finish} />}
    </Welcome>
  );
}

function leadOf(step: (typeof STEPS)[number]): string {
  if (step === "engine") return t.welcome.engineLead;
  return step === "image" ? t.welcome.imageLead : t.welcome.accountLead;
}

function AccountStep({ onDone }: { onDone: () => void }) {
  const code = location.value.hash.slice(1);
  const { error, isRunning, run } = useAction(async (form: FormData) => {
    const text = (name: string) => String(form.get(name) ?? "");
    await post("/api/v1/setup", { body: { code, name: text("name"), email: text("email"), password: text("password") } });
    // The code is used up: it need not stay in the history.
    navigate("/setup", { replace: true });
    await loadSession();
    onDone();
  });
  if (code === "") return <Empty title={t.welcome.noCode}>{t.welcome.noCodeHint}</Empty>;
  return (
    <Form onSubmit={run}>
      <p class="muted">{t.welcome.accountLead}</p>
      <AccountFields isNew />
      <Trouble error={error} />
      <button type="submit" class="primary" disabled={isRunning}>
        {t.welcome.createAccount}
      </button>
    </Form>
  );
}

