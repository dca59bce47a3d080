import { useState } from "preact/hooks";
import { ApiError } from "../../../api/client.ts";
import { Confirm } from "../../../components/confirm.tsx";
import { t } from "../../../text/index.ts";
import { reloadEngines } from "../engine_list.ts";
import { removeEngine } from "./requests.ts";
import type { EngineDescription } from "./types.ts";

interface RemoveDialogProps {
  engine: EngineDescription;
  onDone: () => void;
  onClose: () => void;
}

/** Says what happens when an engine is removed, and asks what becomes of its running jobs. */
export function RemoveDialog({ engine, onDone, onClose }: RemoveDialogProps) {
  const [now, setNow] = useState(false);
  const [force, setForce] = useState(false);
  const [isNeeded, setIsNeeded] = useState(false);
  const { name } = engine.engine;
  const { removal } = t.engines;
  const remove = async () => {
    try {
      await removeEngine(name, { now, force });
    } catch (error) {
      setIsNeeded(error instanceof ApiError && error.status === 409);
      throw error;
    }
    await reloadEngines();
    onDone();
  };
  const choices = [
    { value: false, title: removal.finish },
    { value: true, title: removal.now, hint: removal.nowHint },
  ];
  return (
    <Confirm title={removal.title(name)} label={removal.remove} isDanger onConfirm={remove} onClose={onClose}>
      <p>{removal.hint}</p>
      <fieldset class="choices">
        <legend class="visually-hidden">{t.admin.jobs.running}</legend>
        {choices.map(({ value, title, hint }) => (
          <label key={title} class="choice">
            <input type="radio" name="now" checked={now === value} onChange={() => setNow(value)} />
            <span>
              {title}
              {hint && <small>{hint}</small>}
            </span>
          </label>
        ))}
      </fieldset>
      {isNeeded && (
        <label class="check">
          <input type="checkbox" checked={force} onChange={(event) => setForce(event.currentTarget.checked)} />
          {removal.force}
        </label>
      )}
    </Confirm>
  );
}
