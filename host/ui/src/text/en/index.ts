import type { administration } from "./administration.ts";
import { chat } from "./chat.ts";
import { shell } from "./shell.ts";
import type { studio } from "./studio.ts";
import type { welcome } from "./welcome.ts";

export const en = { chat, shell };

/** The texts that are there before the first page. */
export type FirstText = typeof en;
/** All texts of a language. The compiler finds a missing one. */
export type Text = FirstText & typeof administration & typeof studio & { welcome: typeof welcome };
