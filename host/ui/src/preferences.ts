// What a person chose for this browser: scheme and language. Never a key or a session.
import { signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
export type Language = "en" | "de";

/** The languages, each by its own name. */
export const LANGUAGES: Record<Language, string> = { en: "English", de: "Deutsch" };

export const theme = signal<Theme>(asTheme(read("theme")));
export const language: Language = chooseLanguage();

export function setTheme(value: Theme): void {
  theme.value = value;
  write("theme", value);
  applyTheme();
}

export function applyTheme(): void {
  const root = document.documentElement;
  if (theme.value === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme.value;
}

/** The page is loaded again, because all of its texts change. */
export function setLanguage(value: Language): void {
  write("language", value);
  window.location.reload();
}

/** Reads a value that this browser stored for these pages. Storage can be disabled. */
export function read(name: string): string | null {
  try {
    return localStorage.getItem(`pinhole.${name}`);
  } catch {
    return null;
  }
}

export function write(name: string, value: string): void {
  try {
    localStorage.setItem(`pinhole.${name}`, value);
  } catch {
    // The choice then holds until the page is closed.
  }
}

export function remove(name: string): void {
  try {
    localStorage.removeItem(`pinhole.${name}`);
  } catch {
    // Without storage there is nothing to remove.
  }
}

function asTheme(text: string | null): Theme {
  return text === "light" || text === "dark" ? text : "auto";
}

function chooseLanguage(): Language {
  const stored = read("language");
  const wanted = stored ? [stored] : navigator.languages;
  const known = wanted.map((it) => it.slice(0, 2)).find((it): it is Language => it in LANGUAGES);
  return known ?? "en";
}
