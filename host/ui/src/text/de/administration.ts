import type { Text } from "../en/index.ts";
import { admin } from "./admin.ts";
import { engines } from "./engines.ts";

export const administration: Pick<Text, "admin" | "engines"> = { admin, engines };
