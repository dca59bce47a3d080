import assert from "node:assert/strict";
import { test } from "node:test";
import { offeredSizes, parseSize, ratioOf, showSize, smallerSize } from "./sizes.ts";

test("parseSize accepts width and height", () => {
  assert.deepEqual(parseSize("1024x768"), { width: 1024, height: 768 });
  assert.deepEqual(parseSize(" 1024 × 768 "), { width: 1024, height: 768 });
  for (const text of [undefined, null, "", "auto", "0x5", "1024", "1x2x3", "999999x1"]) assert.equal(parseSize(text), undefined);
});

test("offered sizes are those of the model, else ratios of the default", () => {
  assert.deepEqual(offeredSizes(["1024x1024", "auto"], null), ["1024x1024"]);
  const free = offeredSizes([], "768x512");
  assert.ok(free.includes("768x512"));
  assert.equal(free.length, 7);
  for (const text of free) assert.ok((parseSize(text)?.width ?? 1) % 64 === 0, text);
  assert.ok(offeredSizes(undefined, undefined).includes("1024x1024"));
});

test("smallerSize keeps the ratio and stops at a useful size", () => {
  assert.equal(smallerSize("1024x768"), "768x576");
  assert.equal(smallerSize("256x256"), undefined);
  assert.equal(smallerSize("auto"), undefined);
  for (let size: string | undefined = "4096x2160", steps = 0; size; size = smallerSize(size), steps += 1) assert.ok(steps < 20);
});

test("sizes are shown for people", () => {
  assert.equal(showSize("1024x768"), "1024 × 768");
  assert.equal(showSize("auto"), "auto");
  assert.equal(ratioOf({ width: 1024, height: 768 }), "4 : 3");
  assert.equal(ratioOf({ width: 1000, height: 300 }), undefined);
});
