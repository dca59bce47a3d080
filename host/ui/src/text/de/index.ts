import type { FirstText } from "../en/index.ts";
import { chat } from "./chat.ts";
import { shell } from "./shell.ts";
import { welcome } from "./welcome.ts";

export const de: FirstText = { chat, shell, welcome };

