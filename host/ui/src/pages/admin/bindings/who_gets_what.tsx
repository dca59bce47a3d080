import { useState } from "preact/hooks";
import { post } from "../../../api/client.ts";
import type { Operation, Resolution } from "../../../api/types.ts";
import { useDelayed } from "../../../components/delayed.ts";
import { Field } from "../../../components/field.tsx";
import { Form } from "../../../components/form.tsx";
import { Trouble } from "../../../components/notice.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { Section } from "../../../components/section.tsx";
import { Status } from "../../../components/status.tsx";
import { t } from "../../../text/index.ts";
import { listUsers, SEARCH_DELAY_MS } from "../users.ts";

/** Which engine serves a person, and why. */
export function WhoGetsWhat() {
  const [result, setResult] = useState<Resolution | undefined>();
  const find = useAction(async (form: FormData) => {
    const text = (name: string) => String(form.get(name) ?? "") || undefined;
    setResult(await post("/api/v1/bindings/resolve", { body: { user_id: text("user"), chat_model: text("model"), operation: text("operation") as Operation } }));
  });
  return (
    <Section title={t.settings.whoGetsWhat} hint={t.settings.whoLead}>
      <Form onSubmit={find.run}>
        <div class="columns">
          <PersonField />
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
      </Form>
      <Trouble error={find.error} />
      {result && <ResolutionCard result={result} />}
    </Section>
  );
}

/** One of the users. If they are many, a search narrows the choice. */
function PersonField() {
  const [text, setText] = useState("");
  const query = useDelayed(text.trim(), SEARCH_DELAY_MS);
  const { value } = useResource((signal) => listUsers({ query }, signal), [query]);
  const users = value?.users ?? [];
  const isSearched = query !== "" || (value !== undefined && value.total > users.length);
  return (
    <div class="stack tight">
      <Field label={t.settings.person}>
        <select name="user">
          {query === "" && <option value="">{t.settings.me}</option>}
          {users.map((it) => (
            <option key={it.id} value={it.id}>
              {it.name}
            </option>
          ))}
        </select>
      </Field>
      {isSearched && <input type="search" dir="auto" maxLength={200} aria-label={t.people.search} placeholder={t.people.search} value={text} onInput={(event) => setText(event.currentTarget.value)} />}
    </div>
  );
}

function ResolutionCard({ result }: { result: Resolution }) {
  return (
    <div class="card stack" role="status">
      <div class="stack tight">
        <strong>
          <Status tone={result.binding ? "" : "bad"}>{result.binding ?? t.settings.noBinding}</Status>
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
                <Status tone={it.usable ? "" : "off"}>{it.binding}</Status>
              </td>
              <td class="wrap">{it.why}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
