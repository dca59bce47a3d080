import assert from "node:assert/strict";
import { test } from "node:test";
import type { Abilities, UsableEngine } from "../../api/types.ts";
import { countDetails, engineFor, parseOptions, usableOptions } from "./image_options.ts";

const none: Abilities = { edit: false, mask: false, negative_prompt: false, seed: false, steps: false, strength: false, progress: false, max_count: 1, max_sources: 0 };
const all: Abilities = { edit: true, mask: true, negative_prompt: true, seed: true, steps: true, strength: true, progress: true, max_count: 4, max_sources: 2 };

function engine(name: string, abilities: Abilities, fields: Partial<UsableEngine> = {}): UsableEngine {
  const parameter = { name: "cfg", title: "", description: "", type: "number" as const, default: null, unit: null };
  return { name, engine: name, title: name, version: "1", abilities, parameters: [parameter], other_parameters: false, default_model: null, default_size: null, is_ready: true, generates_by_default: false, edits_by_default: false, ...fields };
}

test("options are those that the engine can use", () => {
  const options = { n: 9, seed: 7, negative_prompt: " snow ", steps: 20, strength: 0.5, size: "512x512", parameters: { cfg: 5, other: 1 }, sources: ["f1"], mask: "m1" };
  assert.deepEqual(usableOptions(options, engine("b", none), none), { size: "512x512", parameters: { cfg: 5 }, sources: ["f1"] });
  const expected = { size: "512x512", n: 4, seed: 7, negative_prompt: "snow", steps: 20, strength: 0.5, parameters: { cfg: 5 }, sources: ["f1"], mask: "m1" };
  assert.deepEqual(usableOptions(options, engine("a", all), all), expected);
  assert.deepEqual(usableOptions({ n: 1, model: "", edit: false, strength: 0.5, mask: "m" }, engine("a", all), all), { edit: false });
  assert.deepEqual(usableOptions({ edit: false, sources: ["f"] }, undefined, undefined), { sources: ["f"] });
});

test("engineFor finds the chosen engine, else that of the operation", () => {
  const engines = [engine("a", all), engine("g", all, { generates_by_default: true }), engine("e", all, { edits_by_default: true })];
  assert.equal(engineFor(engines, "a", true)?.name, "a");
  assert.equal(engineFor(engines, undefined, false)?.name, "g");
  assert.equal(engineFor(engines, undefined, true)?.name, "e");
  assert.equal(engineFor(engines, "removed", false)?.name, "g");
  assert.equal(engineFor([], undefined, false), undefined);
});

test("stored options are checked", () => {
  assert.deepEqual(parseOptions('{"n": 2, "seed": "7", "engine": 5, "size": "1x1", "edit": false, "x": 1}'), { n: 2, size: "1x1", edit: false });
  for (const text of [null, "", "null", "[", "5"]) assert.deepEqual(parseOptions(text), {});
});

test("countDetails counts what only the dialog shows", () => {
  assert.equal(countDetails({ n: 2, size: "1x1", engine: "a" }), 0);
  assert.equal(countDetails({ seed: 0, steps: 5, parameters: { cfg: 5, x: "" }, negative_prompt: " " }), 3);
});
