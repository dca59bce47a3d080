// Settings and their values as a person reads them.
import type { Setting } from "../../../api/types.ts";
import { isObject, parseObject, type JsonObject } from "../../../json.ts";

/** A value on one line, or JSON for lists and objects. */
export function valueText(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, typeof value === "object" ? 2 : undefined);
}

export function isMatch(setting: Setting, words: string): boolean {
  const text = [setting.name, setting.path, setting.title, setting.description, ...setting.variables].join(" ").toLowerCase();
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
export function treeOf(text: string): JsonObject | undefined {
  const parsed = text.trim() === "" ? undefined : parseObject(text);
  const config = parsed?.config;
  return isObject(config) ? config : parsed;
}
