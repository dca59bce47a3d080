import type { administration } from "./administration.ts";
import { chat } from "./chat.ts";
import { create } from "./create.ts";
import { gallery } from "./gallery.ts";
import { shell } from "./shell.ts";
import { welcome } from "./welcome.ts";

export const en = { chat, create, gallery, shell, welcome };

/** The texts that are there before the first page. */
export type FirstText = typeof en;
/** All texts of a language. The compiler finds a missing one. */
export type Text = FirstText & typeof administration;
