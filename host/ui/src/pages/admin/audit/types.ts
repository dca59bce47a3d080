// Entries of the audit log and of the history of settings.

export const AUDIT_KINDS = ["admission", "grant", "address", "request", "answer", "secret", "limit", "crash", "picture", "access"] as const;
export type AuditKind = (typeof AUDIT_KINDS)[number];

export interface Refusal {
  /** UTC, RFC 3339. */
  refused_at: string;
  kind: string;
  guard: string;
  engine: string;
  job: string;
  user: string;
  message: string;
}

export interface Refusals {
  counted: number;
  dropped: number;
  lines: Refusal[];
  next?: string | null;
}

export interface SettingChange {
  changed_at: number;
  /** Empty if the server removed the value at its start. */
  user_id: string;
  user_name: string;
  name: string;
  path: string;
  what: "set" | "changed" | "removed";
  old_value: unknown;
  new_value: unknown;
}

export function isAuditKind(kind: string): kind is AuditKind {
  return (AUDIT_KINDS as readonly string[]).includes(kind);
}
