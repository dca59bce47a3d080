import { useState } from "preact/hooks";
import { post } from "../../api/client.ts";
import type { BindingVerification } from "../../api/types.ts";
import { Field } from "../../components/field.tsx";
import { Form } from "../../components/form.tsx";
import { Trouble } from "../../components/notice.tsx";
import { useAction } from "../../components/resource.ts";
import { IconCheck } from "../../icons.ts";
import { t } from "../../text/index.ts";

type EngineName = "sketch" | "openai" | "gemini" | "comfyui" | "automatic1111";

interface Choice {
  name: EngineName;
  title: () => string;
  hint: () => string;
  /** The settings that the choice needs: their variables. */
  url?: { variable: string; initial: string };
  key?: string;
}

const CHOICES: readonly Choice[] = [
  { name: "sketch", title: () => t.welcome.engineSketch, hint: () => t.welcome.engineSketchHint },
  {
    name: "openai",
    title: () => t.welcome.engineOpenai,
    hint: () => t.welcome.engineOpenaiHint,
    url: { variable: "IMAGES_OPENAI_API_BASE_URL", initial: "https://api.openai.com/v1" },
    key: "IMAGES_OPENAI_API_KEY",
  },
  {
    name: "gemini",
    title: () => t.welcome.engineGemini,
    hint: () => t.welcome.engineGeminiHint,
    key: "IMAGES_GEMINI_API_KEY",
  },
  {
    name: "comfyui",
    title: () => t.welcome.engineComfyui,
    hint: () => t.welcome.engineComfyuiHint,
    url: { variable: "COMFYUI_BASE_URL", initial: "http://127.0.0.1:8188" },
  },
  {
    name: "automatic1111",
    title: () => t.welcome.engineAutomatic,
    hint: () => t.welcome.engineAutomaticHint,
    url: { variable: "AUTOMATIC1111_BASE_URL", initial: "http://127.0.0.1:7860" },
  },
];

/** Chooses the engine, tests its connection, and stores both. */
export function EngineStep({ onDone }: { onDone: () => void }) {
  const [name, setName] = useState<EngineName>("sketch");
  const [values, setValues] = useState<Record<string, string>>({});
  const choice = CHOICES.find((it) => it.name === name);
  const settings = choice ? valuesOf(choice, values) : {};
  const [tested, setTested] = useState<BindingVerification | undefined>();
  const test = useAction(async () => {
    setTested(undefined);
    setTested(await post("/api/v1/bindings/{name}/verify", { path: { name }, body: { settings } }));
  });
  const save = useAction(async () => {
    await post("/api/v1/settings", { body: { IMAGE_GENERATION_ENGINE: name, ENABLE_IMAGE_GENERATION: true, ...settings } });
    onDone();
  });
  const set = (variable: string, value: string) => {
    setValues({ ...values, [variable]: value });
    setTested(undefined);
  };
  const error = save.error ?? test.error;
  return (
    <Form onSubmit={save.run}>
      <fieldset class="choices">
        <legend class="visually-hidden">{t.welcome.steps.engine}</legend>
        {CHOICES.map((it) => (
          <label key={it.name} class="choice">
            <input
              type="radio"
              name="engine"
              checked={it.name === name}
              onChange={() => {
                setName(it.name);
                setTested(undefined);
              }}
            />
            <span>
              <strong>{it.title()}</strong>
              <small>{it.hint()}</small>
            </span>
          </label>
        ))}
      </fieldset>
      {choice?.url && <UrlField choice={choice.url} value={values[choice.url.variable]} onInput={set} />}
      {choice?.key && <KeyField variable={choice.key} onInput={set} />}
      {tested && <TestResult result={tested} />}
      <Trouble error={error} />
      <div class="row">
        <button type="submit" class="primary" disabled={save.isRunning}>
          {save.isRunning ? t.welcome.saving : t.welcome.continue}
        </button>
        {name !== "sketch" && (
          <button type="button" disabled={test.isRunning} onClick={() => void test.run()}>
            {test.isRunning ? t.welcome.testing : t.welcome.test}
          </button>
        )}
      </div>
    </Form>
  );
}

interface UrlFieldProps {
  choice: { variable: string; initial: string };
  value: string | undefined;
  onInput: (variable: string, value: string) => void;
}

function UrlField({ choice, value, onInput }: UrlFieldProps) {
  return (
    <Field label={t.welcome.url}>
      <input type="url" required value={value ?? choice.initial} onInput={(event) => onInput(choice.variable, event.currentTarget.value)} />
    </Field>
  );
}

function KeyField({ variable, onInput }: { variable: string; onInput: (variable: string, value: string) => void }) {
  return (
    <Field key={variable} label={t.welcome.key}>
      <input type="password" autocomplete="off" required onInput={(event) => onInput(variable, event.currentTarget.value)} />
    </Field>
  );
}

function TestResult({ result }: { result: BindingVerification }) {
  if (!result.ok) {
    return (
      <p class="trouble" role="alert">
        {result.message}
      </p>
    );
  }
  return (
    <p class="status" role="status">
      <IconCheck aria-hidden="true" class="good" />
      {result.message || t.welcome.testOk}
    </p>
  );
}

function valuesOf(choice: Choice, values: Record<string, string>): Record<string, string> {
  const settings: Record<string, string> = {};
  if (choice.url) settings[choice.url.variable] = values[choice.url.variable] ?? choice.url.initial;
  if (choice.key) settings[choice.key] = values[choice.key] ?? "";
  return settings;
}
