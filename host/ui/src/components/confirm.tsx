import type { ComponentChildren } from "preact";
import { Dialog } from "./dialog.tsx";
import { Trouble } from "./notice.tsx";
import { useAction } from "./resource.ts";
import { t } from "../text/index.ts";

interface ConfirmProps {
  title: string;
  /** What the button says. */
  label: string;
  isDanger?: boolean;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
  children?: ComponentChildren;
}

/** Asks before something happens that cannot be undone by one click. A failure is shown in the dialog. */
export function Confirm({ title, label, isDanger = false, onConfirm, onClose, children }: ConfirmProps) {
  const action = useAction(onConfirm);
  const confirm = async () => {
    if (await action.run()) onClose();
  };
  const foot = (
    <>
      <button type="button" onClick={onClose}>
        {t.shell.cancel}
      </button>
      <button type="button" class={isDanger ? "primary danger" : "primary"} disabled={action.isRunning} onClick={() => void confirm()}>
        {label}
      </button>
    </>
  );
  return (
    <Dialog title={title} onClose={onClose} foot={foot}>
      {children}
      <Trouble error={action.error} />
    </Dialog>
  );
}
