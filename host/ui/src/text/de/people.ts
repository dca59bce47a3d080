import type { Text } from "../en/index.ts";

export const people: Text["people"] = {
  title: "People",
};
