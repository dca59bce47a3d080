import type { ComponentChildren } from "preact";

/** The empty one is good. */
export type Tone = "" | "warn" | "bad" | "off" | "live";

interface StatusProps {
  tone: Tone;
  /** More about it, shown when it is pointed at. */
  title?: string | undefined;
  children: ComponentChildren;
}

/** A state: a dot and words, because color alone says nothing to many people. */
export function Status({ tone, title, children }: StatusProps) {
  return (
    <span class="status" title={title}>
      <span class={`dot ${tone}`} aria-hidden="true" />
      {children}
    </span>
  );
}
