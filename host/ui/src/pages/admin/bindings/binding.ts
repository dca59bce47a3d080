// What the page does with bindings. No DOM.
import type { BindingDefinition, BindingEntry } from "../../../api/types.ts";

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
