import assert from "node:assert/strict";
import { test } from "node:test";
import { titleOf } from "./chat_title.ts";

test("a chat without a title is named after its first message", () => {
  assert.equal(titleOf("Foxes", "a red fox", "Untitled"), "Foxes");
  assert.equal(titleOf("New Chat", "  a red fox\nat dawn", "Untitled"), "a red fox");
  assert.equal(titleOf(undefined, undefined, "Untitled"), "Untitled");
  assert.equal(titleOf("", " \n", "Untitled"), "Untitled");
  assert.equal(titleOf("x".repeat(5_000), undefined, "").length, 200);
});
