// Groups of chats by their last change. No DOM.
import type { ChatSummary } from "../../api/types.ts";

export type GroupName = "today" | "yesterday" | "week" | "month" | { year: number; month: number };

export interface ChatGroup {
  name: GroupName;
  chats: ChatSummary[];
}

/** The chats in their order, by days at first and then by months. */
export function groupChats(chats: readonly ChatSummary[], now: Date): ChatGroup[] {
  const groups: ChatGroup[] = [];
  for (const chat of chats) {
    const name = groupOf(chat.updated_at, now);
    const last = groups.at(-1);
    if (last && JSON.stringify(last.name) === JSON.stringify(name)) last.chats.push(chat);
    else groups.push({ name, chats: [chat] });
  }
  return groups;
}

function groupOf(seconds: number, now: Date): GroupName {
  const changed = new Date(seconds * 1000);
  const startOfDay = (days: number) => new Date(now.getFullYear(), now.getMonth(), now.getDate() - days).getTime();
  const time = changed.getTime();
  if (time >= startOfDay(0)) return "today";
  if (time >= startOfDay(1)) return "yesterday";
  if (time >= startOfDay(7)) return "week";
  if (time >= startOfDay(30)) return "month";
  return { year: changed.getFullYear(), month: changed.getMonth() };
}
