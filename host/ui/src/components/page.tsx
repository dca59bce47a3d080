import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { IconMenu } from "../icons.ts";
import { location } from "../router.ts";
import { t } from "../text/index.ts";
import { openDrawer } from "./drawer.tsx";

interface PageProps {
  title: string;
  /** After the title. */
  lead?: ComponentChildren;
  /** At the end of the bar. */
  actions?: ComponentChildren;
  /** Stays at the bottom, such as a composer. */
  foot?: ComponentChildren;
  children: ComponentChildren;
}

/** A page: a bar with its title, which gets the focus after navigation, and its content. */
export function Page({ title, lead, actions, foot, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const { path } = location.value;
  useEffect(() => {
    document.title = `${title} · Pinhole`;
  }, [title]);
  useEffect(() => {
    const { activeElement } = document;
    // A field that a page focuses by itself keeps the focus.
    if (activeElement === null || activeElement === document.body) heading.current?.focus({ preventScroll: true });
  }, [path]);
  return (
    <main class="page" id="content">
      <header class="bar">
        <button class="quiet icon menu-button" aria-label={t.shell.menu} onClick={openDrawer}>
          <IconMenu />
        </button>
        <h1 ref={heading} tabIndex={-1} dir="auto">
          {title}
        </h1>
        {lead}
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
      {foot}
    </main>
  );
}
