// The texts of the pages, in the language of the person. A language is one directory with the same files as `en`.
import { language } from "../preferences.ts";
import { en, type FirstText, type Text } from "./en/index.ts";

/** The texts. Those of a page are complete before it is shown. */
export let t: Text = withLaterTexts(en);

/** The pages that read these texts are shown after they are loaded. */
function withLaterTexts(first: FirstText): Text {
  return first as Text;
}

export async function loadText(): Promise<void> {
  document.documentElement.lang = language;
  if (language === "de") t = withLaterTexts((await import("./de/index.ts")).de);
}

/** Loads the texts that only the pages of administration and of the own account show. */
export async function loadAdministrationText(): Promise<void> {
  const { administration } = language === "de" ? await import("./de/administration.ts") : await import("./en/administration.ts");
  t = { ...t, ...administration };
}

/** Loads the texts of set-up and sign-in. */
export async function loadWelcomeText(): Promise<void> {
  const { welcome } = language === "de" ? await import("./de/welcome.ts") : await import("./en/welcome.ts");
  t = { ...t, welcome };
}

/** Loads the texts of the create page, its editor of masks, and the gallery. */
export async function loadStudioText(): Promise<void> {
  const { studio } = language === "de" ? await import("./de/studio.ts") : await import("./en/studio.ts");
  t = { ...t, ...studio };
}
