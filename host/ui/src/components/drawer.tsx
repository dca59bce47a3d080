import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../text/index.ts";
import { RailFoot } from "./rail.tsx";

const isOpen = signal(false);

export function openDrawer(): void {
  isOpen.value = true;
}

/** What the rail has in addition to its navigation, for windows without a rail. */
export function Drawer({ aside: Aside }: { aside: ComponentType | undefined }) {
  return isOpen.value ? <OpenDrawer aside={Aside} /> : null;
}

function OpenDrawer({ aside: Aside }: { aside: ComponentType | undefined }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const close = () => (isOpen.value = false);
  const closeAfterChoice = (event: MouseEvent) => {
    const { target } = event;
    if (target === dialog.current || (target instanceof Element && target.closest("a"))) close();
  };
  return (
    <dialog ref={dialog} class="drawer" aria-label={t.shell.menu} onCancel={close} onClose={close} onClick={closeAfterChoice}>
      {Aside && <Aside />}
      <RailFoot />
    </dialog>
  );
}
