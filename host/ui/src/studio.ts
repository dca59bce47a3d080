// What the create page, the gallery and the dialogs of a chat share, and the first page does not need.
import { loadStyle } from "./style.ts";
import { loadStudioText } from "./text/index.ts";

export async function loadStudio(): Promise<void> {
  await Promise.all([loadStudioText(), loadStyle("studio")]);
}
