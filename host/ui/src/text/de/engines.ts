import type { Text } from "../en/index.ts";

export const engines: Text["engines"] = {
  title: "Bilddienste",
  state: "Zustand",
};
