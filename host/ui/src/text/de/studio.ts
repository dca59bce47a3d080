import type { Text } from "../en/index.ts";
import { create } from "./create.ts";
import { gallery } from "./gallery.ts";

export const studio: Pick<Text, "create" | "gallery"> = { create, gallery };
