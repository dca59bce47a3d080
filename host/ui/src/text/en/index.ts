import { admin } from "./admin.ts";
import { chat } from "./chat.ts";
import { create } from "./create.ts";
import { engines } from "./engines.ts";
import { gallery } from "./gallery.ts";
import { people } from "./people.ts";
import { settings } from "./settings.ts";
import { shell } from "./shell.ts";
import { welcome } from "./welcome.ts";

export const en = { admin, chat, create, engines, gallery, people, settings, shell, welcome };

/** All texts of a language. The compiler finds a missing one. */
export type Text = typeof en;
