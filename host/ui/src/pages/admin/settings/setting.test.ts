import assert from "node:assert/strict";
import { test } from "node:test";
import type { Setting } from "../../../api/types.ts";
import { fieldText, parseField, sectionsOf, withoutUnchanged } from "./setting.ts";

function setting(changes: Partial<Setting>): Setting {
  return { name: "X", path: "x", variables: ["X"], kind: "text", source: "default", value: null, description: "", title: "X", group: "images", is_set: false, ...changes };
}

test("field shows the draft, else the value, and never the mark of a secret", () => {
  assert.equal(fieldText(setting({ value: "a" }), {}), "a");
  assert.equal(fieldText(setting({ value: "a" }), { X: null }), "");
  assert.equal(fieldText(setting({ kind: "secret", value: "********" }), {}), "");
  assert.equal(fieldText(setting({ kind: "list", value: [1] }), {}), "[\n  1\n]");
});

test("a text is parsed by the kind of its setting", () => {
  assert.equal(parseField(setting({}), " "), null);
  assert.equal(parseField(setting({ kind: "integer" }), "12"), 12);
  assert.equal(parseField(setting({ kind: "integer" }), "12x"), undefined);
  assert.deepEqual(parseField(setting({ kind: "object" }), '{"a":1}'), { a: 1 });
  assert.equal(parseField(setting({ kind: "object" }), "{"), undefined);
});

test("a draft has only what changes", () => {
  const settings = [setting({ name: "A", source: "store", value: "a" }), setting({ name: "B" })];
  assert.deepEqual(withoutUnchanged({ A: "a", B: null }, settings), {});
  assert.deepEqual(withoutUnchanged({ A: null, B: "b", C: 1 }, settings), { A: null, B: "b" });
});

test("each engine has a section", () => {
  const settings = [setting({ binding: "openai", group: "engine" }), setting({ binding: "comfyui", group: "engine" })];
  assert.deepEqual(sectionsOf(settings), ["images", "comfyui", "openai", "chat", "accounts", "server"]);
});
