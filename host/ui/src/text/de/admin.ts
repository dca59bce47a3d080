import type { Text } from "../en/index.ts";

export const admin: Text["admin"] = {
  title: "Admin",
};
