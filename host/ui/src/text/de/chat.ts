import type { Text } from "../en/index.ts";

export const chat: Text["chat"] = {
  title: "Chat",
};
