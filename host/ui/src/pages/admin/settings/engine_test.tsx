import { useState } from "preact/hooks";
import { post } from "../../../api/client.ts";
import type { BindingVerification, Operation } from "../../../api/types.ts";
import { Trouble } from "../../../components/notice.tsx";
import { useAction } from "../../../components/resource.ts";
import { Status } from "../../../components/status.tsx";
import { formatDuration } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import type { Draft } from "./setting.ts";

interface EngineTestProps {
  binding: string;
  /** Values that are not stored yet. */
  settings: Draft;
  operation: Operation;
}

/** Asks the engine's server with the values of the form, and shows what was asked. */
export function EngineTest({ binding, settings, operation }: EngineTestProps) {
  const [result, setResult] = useState<BindingVerification | undefined>();
  const test = useAction(async () => {
    setResult(undefined);
    setResult(await post("/api/v1/bindings/{name}/verify", { path: { name: binding }, body: { settings, operation } }));
  });
  return (
    <div class="stack">
      <div class="row">
        <button type="button" disabled={test.isRunning} onClick={() => void test.run()}>
          {test.isRunning ? t.settings.testing : t.settings.test}
        </button>
        <small>{t.settings.testHint}</small>
      </div>
      <Trouble error={test.error} />
      {result && <Result result={result} />}
    </div>
  );
}

function Result({ result }: { result: BindingVerification }) {
  return (
    <div class={result.ok ? "card stack tight" : "trouble"} role="status">
      <strong>{result.ok ? <Status tone="">{t.settings.works}</Status> : t.settings.fails}</strong>
      {result.message && <span class="wrap">{result.message}</span>}
      {result.problems.map((it) => (
        <span key={it} class="wrap">
          {it}
        </span>
      ))}
      <span class="quiet-line">
        {result.server && <span>{result.server}</span>}
        <span>{formatDuration(result.duration_ms)}</span>
      </span>
      {result.requests.length > 0 && (
        <ul class="lines compact">
          {result.requests.map((request, index) => (
            <li key={index} class="row">
              <code class="grow wrap">
                {request.method} {request.url_without_secrets}
              </code>
              <span class="muted">{request.status ?? t.settings.noResponse}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
