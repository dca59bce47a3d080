import { useState } from "preact/hooks";
import { get, messageOf, post } from "../../../api/client.ts";
import type { Operation, Resolution } from "../../../api/types.ts";
import { Field } from "../../../components/field.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { t } from "../../../text/index.ts";

/** Which engine serves a person, and why. */
export function WhoGetsWhat() {
  const users = useResource((signal) => get("/api/v1/users/", { signal }), []);
  const [result, setResult] = useState<Resolution | undefined>();
  const find = useAction(async (form: FormData) => {
    const text = (name: string) => String(form.get(name) ?? "") || undefined;
    setResult(await post("/api/v1/bindings/resolve", { body: { user_id: text("user"), chat_model: text("model"), operation: text("operation") as Operation } }));
  });
  return (
    <section class="section" aria-labelledby="who">
      <h2 id="who">{t.settings.whoGetsWhat}</h2>
      <p class="muted">{t.settings.whoLead}</p>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void find.run(new FormData(event.currentTarget));
        }}
      >
        <div class="columns">
          <Field label={t.settings.person}>
            <select name="user">
              <option value="">{t.settings.me}</option>
              {users.value?.users.map((it) => (
                <option key={it.id} value={it.id}>
                  {it.name}
                </option>
              ))}
            </select>
          </Field>
          <Field label={t.settings.operation}>
            <select name="operation">
              <option value="generate">{t.settings.mode.generate}</option>
              <option value="edit">{t.settings.mode.edit}</option>
            </select>
          </Field>
          <Field label={t.settings.chatModel}>
            <input name="model" autocomplete="off" />
          </Field>
        </div>
        <div>
          <button type="submit" disabled={find.isRunning}>
            {t.settings.find}
          </button>
        </div>
      </form>
      {find.error !== undefined && (
        <p class="trouble" role="alert">
          {messageOf(find.error)}
        </p>
      )}
      {result && <ResolutionCard result={result} />}
    </section>
  );
}

function ResolutionCard({ result }: { result: Resolution }) {
  return (
    <div class="card stack" role="status">
      <div class="stack tight">
        <strong class="status">
          <span class={result.binding ? "dot" : "dot bad"} />
          {result.binding ?? t.settings.noBinding}
        </strong>
        <span>{result.reason}</span>
        {result.fallbacks.length > 0 && <small>{t.settings.then(result.fallbacks.join(", "))}</small>}
      </div>
      <table>
        <thead>
          <tr>
            <th>{t.settings.candidate}</th>
            <th>{t.settings.why}</th>
          </tr>
        </thead>
        <tbody>
          {result.candidates.map((it) => (
            <tr key={it.binding}>
              <td>
                <span class="status">
                  <span class={it.usable ? "dot" : "dot off"} />
                  {it.binding}
                </span>
              </td>
              <td class="wrap">{it.why}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
