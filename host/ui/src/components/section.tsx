import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface SectionProps {
  title: string;
  hint?: string;
  /** At the end of the title's line. */
  actions?: ComponentChildren;
  children: ComponentChildren;
}

/** A part of a page with a title, separated by a line from the one before. */
export function Section({ title, hint, actions, children }: SectionProps) {
  const id = useId();
  return (
    <section class="section" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {actions}
      </header>
      {hint && <p class="muted">{hint}</p>}
      {children}
    </section>
  );
}
