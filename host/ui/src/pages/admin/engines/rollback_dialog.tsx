import { useState } from "preact/hooks";
import { Confirm } from "../../../components/confirm.tsx";
import { Field } from "../../../components/field.tsx";
import { t } from "../../../text/index.ts";
import { rollBack } from "./requests.ts";
import { shortDigest } from "./states.ts";
import type { EngineStatus, VersionStatus } from "./types.ts";

/** Length that the server accepts. */
const MAX_WHY = 500;

interface RollbackDialogProps {
  engine: EngineStatus;
  version: VersionStatus;
  onDone: () => void;
  onClose: () => void;
}

/** Asks why an earlier version is to serve again. */
export function RollbackDialog({ engine, version, onDone, onClose }: RollbackDialogProps) {
  const [why, setWhy] = useState("");
  const { versions } = t.engines;
  const serve = async () => {
    await rollBack(engine.name, version.digest, why.trim());
    onDone();
  };
  return (
    <Confirm title={versions.rollbackTitle(`${version.version} (${shortDigest(version.digest)})`)} label={versions.serveThis} onConfirm={serve} onClose={onClose}>
      <p>{versions.rollbackHint}</p>
      <Field label={versions.why}>
        <input type="text" dir="auto" maxLength={MAX_WHY} value={why} onInput={(event) => setWhy(event.currentTarget.value)} />
      </Field>
    </Confirm>
  );
}
