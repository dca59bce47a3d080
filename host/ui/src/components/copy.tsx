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

/** Copies a text. Where the browser refuses the clipboard, as over plain HTTP, the text can be selected. */
export function CopyButton({ text, label, children, ...props }: CopyButtonProps) {
  const [state, setState] = useState<"ready" | "copied" | "refused">("ready");
  const timer = useRef(0);
  const copy = async () => {
    clearTimeout(timer.current);
    try {
      await navigator.clipboard.writeText(text);
      setState("copied");
      timer.current = window.setTimeout(() => setState("ready"), COPIED_MS);
    } catch {
      setState("refused");
    }
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
