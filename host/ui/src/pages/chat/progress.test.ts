import assert from "node:assert/strict";
import { test } from "node:test";
import { nextProgress, quarterOf, secondsLeft } from "./progress.ts";

test("an event replaces all but the preview", () => {
  const first = nextProgress(undefined, { fraction: 0.1, note: "step 1", preview: "data:image/png;base64,AA" }, 1_000);
  const second = nextProgress(first, { fraction: 0.5 }, 5_000);
  assert.deepEqual(second, { fraction: 0.5, preview: "data:image/png;base64,AA", since: 1_000, sinceFraction: 0.1 });
  assert.equal(nextProgress(second, { fraction: 0.2 }, 9_000).since, 9_000);
});

test("the time that is left needs some work to be seen", () => {
  const first = nextProgress(undefined, { fraction: 0.1 }, 0);
  assert.equal(secondsLeft(first, 5_000), undefined);
  assert.equal(secondsLeft(nextProgress(first, { fraction: 0.5 }, 4_000), 4_000), 5);
  assert.equal(secondsLeft(nextProgress(first, { fraction: 1 }, 4_000), 4_000), undefined);
  assert.equal(secondsLeft(nextProgress(first, {}, 4_000), 4_000), undefined);
});

test("only quarters are announced", () => {
  assert.deepEqual([undefined, 0, 0.24, 0.25, 0.99, 1, 7, -1].map(quarterOf), [0, 0, 0, 25, 75, 100, 100, 0]);
});
