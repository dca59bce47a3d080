import type { FirstText } from "../en/index.ts";
import { chat } from "./chat.ts";
import { shell } from "./shell.ts";

export const de: FirstText = { chat, shell };

