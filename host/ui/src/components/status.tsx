import type { ComponentChildren } from "preact";
import type { Tone } from "./engines/states.ts";

/** A state: a dot and words, because color alone says nothing to many people. */
export function Status({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return (
    <span class="status">
      <span class={`dot ${tone}`} aria-hidden="true" />
      {children}
    </span>
  );
}
