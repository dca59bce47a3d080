// What a form does with a setting and its value. No DOM.
import type { Setting } from "../../../api/types.ts";

/** Values that are not stored yet, by the names of settings. `null` removes the stored value. */
export type Draft = Readonly<Record<string, unknown>>;

/** In place of a secret that is set. */
const SECRET_MARK = "********";

export function isSecret(setting: Setting): boolean {
  return setting.kind === "secret" || setting.kind === "object with secrets";
}

/** Has the setting a value of several lines or a structure? */
export function isDocument(setting: Setting): boolean {
  return setting.multiline === true || ["object", "list", "object with secrets"].includes(setting.kind);
}

/** What a field shows. */
export function fieldText(setting: Setting, draft: Draft): string {
  const value = setting.name in draft ? draft[setting.name] : setting.value;
  if (value === null || value === undefined || value === SECRET_MARK) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

/** The value that a text stands for. `undefined` if it is no JSON although it must be. */
export function parseField(setting: Setting, text: string): unknown {
  if (text.trim() === "") return null;
  switch (setting.kind) {
    case "integer":
      return /^-?\d+$/.test(text.trim()) ? Number(text) : undefined;
    case "object":
    case "list":
    case "object with secrets":
      try {
        return JSON.parse(text) as unknown;
      } catch {
        return undefined;
      }
    default:
      return text;
  }
}

/** The draft without values that change nothing. */
export function withoutUnchanged(draft: Draft, settings: readonly Setting[]): Draft {
  const changed = Object.entries(draft).filter(([name, value]) => {
    const setting = settings.find((it) => it.name === name);
    if (!setting) return false;
    if (value === null) return setting.source === "store";
    return setting.source !== "store" || JSON.stringify(value) !== JSON.stringify(setting.value);
  });
  return Object.fromEntries(changed);
}

/** The sections of the page: groups of settings, and one for each engine. */
export function sectionsOf(settings: readonly Setting[]): string[] {
  const engines = new Set(settings.map((it) => it.binding).filter((it) => it !== undefined));
  return ["images", ...[...engines].sort(), "chat", "accounts", "server"];
}

export function settingsOf(section: string, settings: readonly Setting[]): Setting[] {
  return settings.filter((it) => (it.binding ?? it.group) === section && it.name !== "PINHOLE_BINDINGS" && it.name !== "PINHOLE_FALLBACKS");
}
