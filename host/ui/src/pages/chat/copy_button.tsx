import { useEffect, useRef, useState } from "preact/hooks";
import { IconCheck, IconCopy } from "../../icons.ts";
import { t } from "../../text/index.ts";

/** Time for which the button shows that it has copied, in milliseconds. */
const SHOWN_MS = 2_000;

/** Copies a text. On plain http there may be no clipboard: then a field with the text, selected, does it. */
export async function copyText(text: string): Promise<boolean> {
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
  // Within an open dialog, only its own elements can have the focus.
  (opener?.closest("dialog") ?? document.body).append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (opener instanceof HTMLElement) opener.focus();
  return isCopied;
}

interface CopyButtonProps {
  text: string;
  label: string;
}

/** A button that copies a text and says that it did. */
export function CopyButton({ text, label }: CopyButtonProps) {
  const [isCopied, setCopied] = useState(false);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    if (!(await copyText(text))) return;
    setCopied(true);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => setCopied(false), SHOWN_MS);
  };
  return (
    <button type="button" class="quiet small icon" aria-label={isCopied ? t.shell.copied : label} title={isCopied ? t.shell.copied : label} onClick={() => void copy()}>
      {isCopied ? <IconCheck aria-hidden="true" /> : <IconCopy aria-hidden="true" />}
    </button>
  );
}
