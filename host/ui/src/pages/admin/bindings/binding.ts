// Bindings as the server describes and takes them.

export interface BindingDefinition {
  engine?: string;
  settings?: Record<string, unknown>;
  edit_settings?: Record<string, unknown>;
  model?: string;
  size?: string;
  steps?: number;
  edit_model?: string;
  edit_size?: string;
  groups?: string[];
  preferred_by?: string[];
  chat_models?: string[];
  concurrency?: number;
  /** Such as certificates and headers, which this page does not change. */
  [other: string]: unknown;
}

export interface BindingEntry extends BindingDefinition {
  name: string;
  /** The operator defined it. Otherwise it is an engine's own. */
  is_defined: boolean;
  fallbacks: string[];
  problems: string[];
}

export interface BindingList {
  bindings: BindingEntry[];
  fallbacks: string[];
  engines: string[];
}

/** The definition within an entry. */
export function definitionOf(entry: BindingEntry): BindingDefinition {
  const { name: _name, is_defined: _isDefined, fallbacks: _fallbacks, problems: _problems, ...definition } = entry;
  return definition;
}

/** The names in a text, separated by commas. */
export function parseNames(text: string): string[] {
  const names = text.split(",").map((it) => it.trim());
  return names.filter((it) => it !== "");
}

/** The list with an entry at another place. */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const next = [...list];
  const [entry] = next.splice(from, 1);
  if (entry !== undefined) next.splice(Math.max(0, Math.min(next.length, to)), 0, entry);
  return next;
}
