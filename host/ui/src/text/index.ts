// The texts of the pages, in the language of the person. A language is one directory with the same files as `en`.
import { language } from "../preferences.ts";
import { en, type Text } from "./en/index.ts";

/** The texts. They are complete before the first page is shown. */
export let t: Text = en;

export async function loadText(): Promise<void> {
  document.documentElement.lang = language;
  if (language === "de") t = (await import("./de/index.ts")).de;
}
