import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { IconCheck, IconCopy } from "../icons.ts";
import { t } from "../text/index.ts";

interface CopyButtonProps {
  text: string;
  label?: string;
  class?: string;
  children?: ComponentChildren;
}

/** Time for which a button says that it copied, in milliseconds. */
const COPIED_MS = 2_000;

/** Copies a text. Where the browser refuses, the text can be selected. */
export function CopyButton({ text, label, children, ...props }: CopyButtonProps) {
  const [state, setState] = useState<"ready" | "copied" | "refused">("ready");
  const timer = useRef(0);
  const copy = async () => {
    clearTimeout(timer.current);
    if (!(await copyText(text))) {
      setState("refused");
      return;
    }
    setState("copied");
    timer.current = window.setTimeout(() => setState("ready"), COPIED_MS);
  };
  if (state === "refused") {
    return <input class="copy-text" readOnly value={text} aria-label={label ?? t.shell.copy} autofocus onFocus={(event) => event.currentTarget.select()} />;
  }
  const Icon = state === "copied" ? IconCheck : IconCopy;
  return (
    <button type="button" class={props.class ?? "quiet small icon"} aria-label={children ? undefined : (label ?? t.shell.copy)} onClick={() => void copy()}>
      <Icon aria-hidden="true" />
      {children && <span>{state === "copied" ? t.shell.copied : children}</span>}
      {!children && state === "copied" && (
        <span class="visually-hidden" role="status">
          {t.shell.copied}
        </span>
      )}
    </button>
  );
}

/** Over plain HTTP there is no clipboard: then a selected text is copied. */
async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const field = document.createElement("textarea");
  const opener = document.activeElement;
  field.value = text;
  field.className = "visually-hidden";
  // While a dialog is open, only its own elements can have the focus.
  (opener?.closest("dialog") ?? document.body).append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (opener instanceof HTMLElement) opener.focus();
  return isCopied;
}
