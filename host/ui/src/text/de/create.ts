import type { Text } from "../en/index.ts";

export const create: Text["create"] = {
  title: "Create",
};
