// The kinds of the audit log.

export const AUDIT_KINDS = ["admission", "grant", "address", "request", "answer", "secret", "limit", "crash", "picture", "access"] as const;
export type AuditKind = (typeof AUDIT_KINDS)[number];

export function isAuditKind(kind: string): kind is AuditKind {
  return (AUDIT_KINDS as readonly string[]).includes(kind);
}
