import type { ComponentChildren } from "preact";
import { t } from "../text/index.ts";
import { messageOf } from "../api/client.ts";

interface NoticeProps {
  title?: string;
  isBad?: boolean;
  actions?: ComponentChildren;
  children?: ComponentChildren;
}

/** Something that a person should know or decide. It stays until it is solved. */
export function Notice({ title, isBad = false, actions, children }: NoticeProps) {
  return (
    <div class={isBad ? "notice bad" : "notice"} role={isBad ? "alert" : "status"}>
      <div dir="auto">
        {title && <strong>{title}</strong>}
        {title && children && <br />}
        {children && <span class="muted">{children}</span>}
      </div>
      {actions && <div class="row">{actions}</div>}
    </div>
  );
}

/** What failed, and a way to try it again. */
export function Failure({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const retry = onRetry && (
    <button type="button" onClick={onRetry}>
      {t.shell.retry}
    </button>
  );
  return (
    <Notice isBad actions={retry}>
      {messageOf(error)}
    </Notice>
  );
}

/** Why something failed, in the place where it would be. Nothing without an error. */
export function Trouble({ error, class: name = "trouble" }: { error: unknown; class?: string }) {
  if (error === undefined) return null;
  return (
    <p class={name} role="alert" dir="auto">
      {messageOf(error)}
    </p>
  );
}

interface EmptyProps {
  title: string;
  image?: ComponentChildren;
  actions?: ComponentChildren;
  children?: ComponentChildren;
}

/** An empty list, and how to fill it. */
export function Empty({ title, image, actions, children }: EmptyProps) {
  return (
    <div class="empty">
      {image}
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {actions && <div class="row">{actions}</div>}
    </div>
  );
}
