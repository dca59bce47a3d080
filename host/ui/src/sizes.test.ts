import assert from "node:assert/strict";
import { test } from "node:test";
import type { ImageModel } from "./api/types.ts";
import { isAboutSize, isUsableSize, parseSize, ratioLabel, showSize, sizeChoices, sizeOf, smallerSize } from "./sizes.ts";
import { ENGINE, NO_ABILITIES } from "./test_engine.ts";

function model(sizes: string[], ratios: string[]): ImageModel {
  return { id: "m", name: "M", abilities: { ...NO_ABILITIES, sizes, aspect_ratios: ratios } };
}

test("parseSize accepts width and height", () => {
  assert.deepEqual(parseSize("1024x768"), { width: 1024, height: 768 });
  assert.deepEqual(parseSize(" 1024 × 768 "), { width: 1024, height: 768 });
  for (const text of [undefined, null, "", "auto", "0x5", "1024", "1x2x3", "999999x1"]) assert.equal(parseSize(text), undefined);
  assert.equal(isUsableSize({ width: 63, height: 512 }), false);
});

test("sizeOf has the ratio exactly if its numbers are small", () => {
  assert.deepEqual(sizeOf("3:2", 1024 * 1024), { width: 1248, height: 832 });
  assert.deepEqual(sizeOf("16:9", 1024 * 1024), { width: 1280, height: 720 });
  assert.deepEqual(sizeOf("1:1", 512 * 512), { width: 512, height: 512 });
  assert.deepEqual(sizeOf("1.91:1", 1024 * 1024), { width: 1408, height: 736 });
  assert.equal(sizeOf("wide", 1024 * 1024), undefined);
});

test("sizes of a model come first, then its ratios, then usual ones of the engine's area", () => {
  const labels = (of: ImageModel) => sizeChoices(ENGINE, of).map((it) => it.label);
  assert.deepEqual(labels(model(["1024x1024", "auto", "1536x1024", "1000x300"], ["16:9"])), ["1:1", "3:2", "1000 × 300"]);
  assert.deepEqual(labels(model([], ["16:9"])), ["16:9"]);
  assert.equal(sizeChoices({ ...ENGINE, default_size: "512x512" }, undefined)[0]?.size, "512x512");
  assert.equal(sizeChoices(undefined, undefined)[0]?.size, "1024x1024");
});

test("smallerSize stops at a useful size", () => {
  assert.equal(smallerSize("1024x1024"), "768x768");
  assert.equal(smallerSize("1024x768"), "768x576");
  assert.equal(smallerSize("256x256"), undefined);
  assert.equal(smallerSize("auto"), undefined);
  for (let size: string | undefined = "4096x2160", steps = 0; size; size = smallerSize(size), steps += 1) assert.ok(steps < 20);
});

test("isAboutSize finds what a smaller image avoids", () => {
  for (const reason of ["CUDA out of memory", "OOM at node 3", "Invalid size: 4096x4096", "the image is too large"]) assert.ok(isAboutSize(reason), reason);
  for (const reason of ["Not this.", "bloom filter is missing", "the server has the status 502"]) assert.ok(!isAboutSize(reason), reason);
});

test("sizes are shown for people", () => {
  assert.equal(showSize("1024x768"), "1024 × 768");
  assert.equal(showSize("auto"), "auto");
  assert.equal(ratioLabel({ width: 1024, height: 768 }), "4:3");
  assert.equal(ratioLabel({ width: 1000, height: 300 }), undefined);
});
