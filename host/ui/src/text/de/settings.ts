import type { Text } from "../en/index.ts";

export const settings: Text["settings"] = {
  title: "Settings",
};
