import assert from "node:assert/strict";
import { test } from "node:test";
import { randomId, randomSeed } from "./random.ts";

test("random ids have 128 bits, and seeds fit a signed number of 32 bits", () => {
  assert.match(randomId(), /^[\da-f]{32}$/);
  for (let count = 0; count < 100; count += 1) {
    const seed = randomSeed();
    assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31, String(seed));
  }
});
