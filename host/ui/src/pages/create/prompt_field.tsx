import type { Ref } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface PromptFieldProps {
  value: string;
  onInput: (value: string) => void;
  label: string;
  placeholder?: string;
  /** The label is for a reader of the screen only. */
  isBare?: boolean;
  rows?: number;
  error?: string | undefined;
  fieldRef?: Ref<HTMLTextAreaElement>;
}

/** A text area that is as high as its text, up to a limit of the style. */
export function PromptField({ value, onInput, label, placeholder, isBare = false, rows = 3, error, fieldRef }: PromptFieldProps) {
  const id = useId();
  const own = useRef<HTMLTextAreaElement | null>(null);
  useEffect(() => {
    const element = own.current;
    if (!element || CSS.supports("field-sizing", "content")) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight + 2}px`;
  }, [value]);
  return (
    <div class="field">
      <label for={id} class={isBare ? "visually-hidden" : undefined}>
        {label}
      </label>
      <textarea
        ref={(element) => {
          own.current = element;
          if (typeof fieldRef === "function") fieldRef(element);
          else if (fieldRef) fieldRef.current = element;
        }}
        id={id}
        class="growing"
        rows={rows}
        dir="auto"
        maxLength={MAX_PROMPT}
        placeholder={placeholder}
        value={value}
        aria-invalid={error ? true : undefined}
        aria-describedby={error ? `${id}-error` : undefined}
        aria-keyshortcuts="Control+Enter"
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      {error && (
        <span id={`${id}-error`} class="error" role="alert">
          {error}
        </span>
      )}
    </div>
  );
}

/** More than any upstream reads. */
const MAX_PROMPT = 32_000;
