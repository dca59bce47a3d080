import type { Text } from "../en/index.ts";

export const gallery: Text["gallery"] = {
  title: "Gallery",
};
