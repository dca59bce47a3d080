import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { IconClose } from "../icons.ts";
import { t } from "../text/index.ts";

/** The ref of a dialog that is open while it is rendered. What had the focus before has it again after. */
export function useModal(): RefObject<HTMLDialogElement | null> {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    return () => {
      if (opener instanceof HTMLElement) opener.focus();
    };
  }, []);
  return dialog;
}

interface DialogProps {
  title: string;
  onClose: () => void;
  /** The buttons at the end. */
  foot?: ComponentChildren;
  class?: string;
  /** Only one of its buttons closes it. */
  isRequired?: boolean;
  children: ComponentChildren;
}

/** A modal dialog while it is rendered. Escape, the button and a click outside close it. */
export function Dialog({ title, onClose, foot, isRequired = false, children, ...props }: DialogProps) {
  const dialog = useModal();
  const id = useId();
  const closeOutside = (event: MouseEvent) => {
    if (event.target === dialog.current && !isRequired) onClose();
  };
  return (
    <dialog
      ref={dialog}
      class={props.class ?? ""}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        if (!isRequired) onClose();
      }}
      onMouseDown={closeOutside}
    >
      <div class="dialog-head">
        <h2 id={id}>{title}</h2>
        {!isRequired && (
          <button type="button" class="quiet icon" aria-label={t.shell.close} onClick={onClose}>
            <IconClose />
          </button>
        )}
      </div>
      <div class="dialog-body">{children}</div>
      {foot && <div class="dialog-foot">{foot}</div>}
    </dialog>
  );
}
