import type { Text } from "../en/index.ts";
import { admin } from "./admin.ts";
import { engines } from "./engines.ts";
import { people } from "./people.ts";
import { settings } from "./settings.ts";

export const administration: Pick<Text, "admin" | "engines" | "people" | "settings"> = { admin, engines, people, settings };
