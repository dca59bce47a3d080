import { Field } from "../../../components/field.tsx";
import { t } from "../../../text/index.ts";

export interface Options {
  strategy: "" | "watch" | "canary";
  probe: string;
  force: boolean;
}

export const DEFAULT_OPTIONS: Options = { strategy: "", probe: "", force: false };

/** How the component replaces a version that serves. Few people need it, so it is closed. */
export function InstallOptions({ options, onChange }: { options: Options; onChange: (options: Options) => void }) {
  const { installation } = t.engines;
  return (
    <details class="fold">
      <summary>{installation.options}</summary>
      <div class="stack">
        <Field label={installation.strategy}>
          <select value={options.strategy} onChange={(event) => onChange({ ...options, strategy: event.currentTarget.value as Options["strategy"] })}>
            <option value="">{installation.strategies.default}</option>
            <option value="watch">{installation.strategies.watch}</option>
            <option value="canary">{installation.strategies.canary}</option>
          </select>
        </Field>
        <Field label={installation.probe} hint={installation.probeHint}>
          <input type="text" dir="auto" value={options.probe} onInput={(event) => onChange({ ...options, probe: event.currentTarget.value })} />
        </Field>
        <label class="check">
          <input type="checkbox" checked={options.force} onChange={(event) => onChange({ ...options, force: event.currentTarget.checked })} />
          {installation.force}
        </label>
      </div>
    </details>
  );
}
