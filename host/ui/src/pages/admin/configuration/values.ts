// Settings and their values as a person reads them.

export interface Setting {
  name: string;
  path: string;
  title?: string;
  variables: string[];
  kind: string;
  source: "default" | "environment" | "store";
  /** `********` in place of a secret. */
  value: unknown;
  description: string;
  group?: string;
  /** The binding that it configures. */
  binding?: string;
  is_set?: boolean;
  problem?: string;
  changed_at?: number;
  changed_by?: string;
  /** The environment variable that supplies the value. */
  variable_in_use?: string;
}

export interface EffectiveEngine {
  enabled: boolean;
  engine: string;
  available: boolean;
  source: "environment" | "store" | "only-configured" | "previous-start" | "generates" | "default";
  reason: string;
  model: string | null;
  size: string | null;
  steps: number | null;
}

export interface EffectiveSettings {
  generation: EffectiveEngine;
  edit: EffectiveEngine;
  problems: string[];
}

/** What the server shows instead of a secret. */
export const MASK = "********";

export function isSecret(kind: string): boolean {
  return kind.includes("secret");
}

/** A value on one line, or JSON for lists and objects. */
export function valueText(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, typeof value === "object" ? 2 : undefined);
}

export function isMatch(setting: Setting, words: string): boolean {
  const text = [setting.name, setting.path, setting.title ?? "", setting.description, ...setting.variables].join(" ").toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** The number of values in a tree of settings, as an export has it. */
export function countValues(tree: unknown): number {
  if (tree === null || typeof tree !== "object" || Array.isArray(tree)) return 1;
  return Object.values(tree).reduce((total: number, it) => total + countValues(it), 0);
}

/** The tree of settings in an exported file, which may be wrapped as a request is. */
export function treeOf(text: string): Record<string, unknown> | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) return undefined;
  const { config } = parsed as { config?: unknown };
  const tree = config !== null && typeof config === "object" && !Array.isArray(config) ? config : parsed;
  return tree as Record<string, unknown>;
}
