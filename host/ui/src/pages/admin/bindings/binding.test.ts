import assert from "node:assert/strict";
import { test } from "node:test";
import { moved, parseNames } from "./binding.ts";

test("moved puts an entry at its new place, and stays within the list", () => {
  assert.deepEqual(moved(["a", "b", "c"], 0, 1), ["b", "a", "c"]);
  assert.deepEqual(moved(["a", "b", "c"], 2, 0), ["c", "a", "b"]);
  assert.deepEqual(moved(["a", "b", "c"], 2, 9), ["a", "b", "c"]);
  assert.deepEqual(moved(["a"], 5, 0), ["a"]);
});

test("names are separated by commas", () => {
  assert.deepEqual(parseNames(" Designers , ,b "), ["Designers", "b"]);
});
