import assert from "node:assert/strict";
import { test } from "node:test";
import { groupChats } from "./chat_groups.ts";

test("chats are grouped by days, then by months", () => {
  const now = new Date(2026, 2, 15, 0, 30);
  const at = (...date: [number, number, number, number]) => Math.floor(new Date(...date).getTime() / 1000);
  const times = [at(2026, 2, 15, 0), at(2026, 2, 14, 23), at(2026, 2, 10, 9), at(2026, 1, 20, 9), at(2026, 1, 2, 9), at(2025, 1, 2, 9)];
  const chats = times.map((updated_at, index) => ({ id: String(index), title: "", updated_at, created_at: 0 }));
  const names = groupChats(chats, now).map((it) => it.name);
  assert.deepEqual(names, ["today", "yesterday", "week", "month", { year: 2026, month: 1 }, { year: 2025, month: 1 }]);
  assert.deepEqual(groupChats([], now), []);
});
