// The branch of each chat that was shown last in this browser. Cheap to lose: the server knows the newest one.
import { parseObject } from "../../json.ts";
import { read, write } from "../../preferences.ts";

/** Chats whose branch is remembered. */
const MAX_CHATS = 100;

interface Choice {
  leaf: string;
  /** The newest message at the time of the choice. A newer one is shown instead. */
  newest: string | null;
}

function readAll(): Record<string, Choice> {
  return (parseObject(read("chat.branches") ?? "") ?? {}) as Record<string, Choice>;
}

/** The last message of the chosen branch, unless the chat got a newer message than `newest` since. */
export function readBranch(chatId: string, newest: string | null): string | undefined {
  const choice = readAll()[chatId];
  return choice !== undefined && choice.newest === newest ? choice.leaf : undefined;
}

export function writeBranch(chatId: string, leaf: string, newest: string | null): void {
  const { [chatId]: _before, ...others } = readAll();
  const kept = Object.entries(others).slice(-MAX_CHATS + 1);
  write("chat.branches", JSON.stringify(Object.fromEntries([...kept, [chatId, { leaf, newest }]])));
}
