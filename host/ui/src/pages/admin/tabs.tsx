import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface TabsProps<Name extends string> {
  /** What the tabs choose, for a screen reader. */
  label: string;
  tabs: readonly { name: Name; title: string }[];
  current: Name;
  onChoose: (name: Name) => void;
  children: ComponentChildren;
}

/** Tabs and the panel of the current one. Arrow keys move between them. */
export function Tabs<Name extends string>({ label, tabs, current, onChoose, children }: TabsProps<Name>) {
  const list = useRef<HTMLDivElement>(null);
  useEffect(() => {
    list.current?.querySelector(`#tab-${current}`)?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [current]);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const direction = getComputedStyle(event.currentTarget as HTMLElement).direction === "rtl" ? -1 : 1;
    const at = tabs.findIndex((it) => it.name === current);
    const next = tabs[(at + step * direction + tabs.length) % tabs.length];
    if (!next) return;
    onChoose(next.name);
    list.current?.querySelector<HTMLElement>(`#tab-${next.name}`)?.focus();
  };
  return (
    <>
      <div ref={list} class="tabs" role="tablist" aria-label={label} onKeyDown={onKeyDown}>
        {tabs.map(({ name, title }) => (
          <button
            key={name}
            id={`tab-${name}`}
            type="button"
            role="tab"
            aria-selected={name === current}
            aria-controls="tab-panel"
            tabIndex={name === current ? 0 : -1}
            onClick={() => onChoose(name)}
          >
            {title}
          </button>
        ))}
      </div>
      <div id="tab-panel" class="stack loose" role="tabpanel" aria-labelledby={`tab-${current}`}>
        {children}
      </div>
    </>
  );
}
