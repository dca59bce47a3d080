import { useState } from "preact/hooks";
import { CopyButton } from "../../../components/copy.tsx";
import { Empty, Failure } from "../../../components/notice.tsx";
import { useAction } from "../../../components/resource.ts";
import { t } from "../../../text/index.ts";
import { Section } from "../../../components/section.tsx";
import { setRequest } from "./requests.ts";
import { RightList } from "./right_list.tsx";
import type { ParsedRight } from "./rights.ts";
import { shortDigest } from "./states.ts";
import type { EngineDescription } from "./types.ts";

interface PermissionsProps {
  engine: EngineDescription;
  onChange: () => void;
}

/** What the engine may do. Each request can be denied by itself. */
export function Permissions({ engine, onChange }: PermissionsProps) {
  const { name } = engine.engine;
  const [changed, setChanged] = useState("");
  const change = useAction(async (right: string, isAllowed: boolean) => {
    setChanged(right);
    await setRequest(name, right, isAllowed);
    onChange();
  });
  if (engine.rights.length === 0) return <Empty title={t.engines.permissions.none}>{t.engines.permissions.noneHint}</Empty>;
  const action = (right: ParsedRight) => {
    const canChange = engine.granted !== null && right.parsed.kind === "request" && (right.state === "granted" || right.state === "denied");
    if (!canChange) return null;
    const isDenied = right.state === "denied";
    const { rights } = t.engines;
    return (
      <button
        type="button"
        class={isDenied ? "small" : "quiet small"}
        aria-label={isDenied ? rights.allowLabel(right.right) : rights.denyLabel(right.right)}
        disabled={change.isRunning && changed === right.right}
        onClick={() => void change.run(right.right, isDenied)}
      >
        {isDenied ? rights.allow : rights.deny}
      </button>
    );
  };
  return (
    <>
      <p class="muted">{t.engines.permissions.denyHint}</p>
      {change.error !== undefined && <Failure error={change.error} />}
      <RightList level={2} rights={engine.rights} bindings={engine.serving?.bindings ?? []} action={action} />
      {engine.granted && (
        <Section title={t.engines.permissions.bound} hint={t.engines.permissions.boundHint}>
          <p class="digest">
            <code title={engine.granted.digest}>sha256 {shortDigest(engine.granted.digest)}…</code>
            <CopyButton text={engine.granted.digest} />
            <span class="muted" dir="auto">
              {engine.granted.file}
            </span>
          </p>
        </Section>
      )}
    </>
  );
}
