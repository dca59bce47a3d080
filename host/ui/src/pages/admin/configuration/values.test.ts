import assert from "node:assert/strict";
import { test } from "node:test";
import type { Setting } from "../../../api/types.ts";
import { countValues, isMatch, treeOf, valueText } from "./values.ts";

const setting: Setting = { name: "IMAGE_SIZE", path: "image_generation.size", title: "Size", variables: ["IMAGE_SIZE"], kind: "text", source: "default", value: null, description: "Size of generated images.", group: "images", is_set: false };

test("a setting is found by words of its name and description", () => {
  assert.equal(isMatch(setting, ""), true);
  assert.equal(isMatch(setting, "size generated"), true);
  assert.equal(isMatch(setting, "size steps"), false);
});

test("values are text, numbers and JSON", () => {
  assert.equal(valueText(null), "");
  assert.equal(valueText("a"), "a");
  assert.equal(valueText(false), "false");
  assert.equal(valueText([1]), "[\n  1\n]");
});

test("an export is read with and without its wrapper", () => {
  assert.deepEqual(treeOf('{"images":{"size":"1x1"}}'), { images: { size: "1x1" } });
  assert.deepEqual(treeOf('{"config":{"images":{}}}'), { images: {} });
  assert.equal(treeOf("[1]"), undefined);
  assert.equal(treeOf("{"), undefined);
  assert.equal(countValues({ a: { b: 1, c: [1, 2] }, d: null }), 3);
});
