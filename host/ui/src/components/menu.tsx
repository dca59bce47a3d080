import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

interface MenuProps {
  /** For a reader of the screen; also shown if there is no `face`. */
  label: string;
  /** What the button shows. */
  face?: ComponentChildren;
  /** The face has text, which names the button. */
  hasText?: boolean;
  class?: string;
  children: ComponentChildren;
}

/** Space between the button and its menu, and between the menu and the window, in pixels. */
const GAP_PX = 6;

/** A button with a menu of buttons and links. Arrow keys move in it, Escape and a choice close it. */
export function Menu({ label, face, hasText = false, children, ...props }: MenuProps) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const menu = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = menu.current;
    if (!element) return;
    const place = (event: Event) => {
      if ((event as ToggleEvent).newState !== "open") return;
      requestAnimationFrame(() => {
        moveBeside(element, button.current);
        items(element)[0]?.focus();
      });
    };
    element.addEventListener("beforetoggle", place);
    return () => element.removeEventListener("beforetoggle", place);
  }, []);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined || !menu.current) return;
    event.preventDefault();
    const all = items(menu.current);
    const at = all.indexOf(document.activeElement as HTMLElement);
    all[(at + step + all.length) % all.length]?.focus();
  };
  return (
    <>
      <button ref={button} type="button" class={props.class ?? "quiet icon"} aria-label={face && !hasText ? label : undefined} aria-haspopup="menu" popovertarget={id}>
        {face ?? label}
      </button>
      <div ref={menu} id={id} class="menu" popover="auto" aria-label={label} onKeyDown={onKeyDown} onClick={() => menu.current?.hidePopover()}>
        {children}
      </div>
    </>
  );
}

function items(menu: HTMLElement): HTMLElement[] {
  return [...menu.querySelectorAll<HTMLElement>("button:not(:disabled), a[href]")];
}

function moveBeside(menu: HTMLElement, button: HTMLElement | null): void {
  const around = button?.getBoundingClientRect();
  if (!around) return;
  const { offsetWidth: width, offsetHeight: height } = menu;
  const isBelow = around.bottom + GAP_PX + height <= innerHeight || around.top < height;
  const top = isBelow ? around.bottom + GAP_PX : around.top - GAP_PX - height;
  const left = around.left + width <= innerWidth - GAP_PX ? around.left : around.right - width;
  menu.style.top = `${Math.max(GAP_PX, Math.min(top, innerHeight - height - GAP_PX))}px`;
  menu.style.left = `${Math.max(GAP_PX, left)}px`;
}
