import assert from "node:assert/strict";
import { test } from "node:test";
import { addLines, isAtLeast, logText, MAX_LINES } from "./log_lines.ts";

const line = (number: number, digest = "a") => ({ digest, number, at_ms: 0, level: "info", job: "j", text: `line ${number}` });

test("lines that a new connection repeats are shown once", () => {
  const before = addLines([], [line(1), line(2)]);
  assert.deepEqual(addLines(before, [line(1), line(2), line(3)]).map((it) => it.number), [1, 2, 3]);
});

test("lost lines are counted by version", () => {
  const lines = addLines(addLines([], [line(1), line(7, "b")]), [line(5), line(8, "b")]);
  assert.deepEqual(lines.map((it) => [it.digest, it.number, it.lost]), [["a", 1, 0], ["b", 7, 0], ["a", 5, 3], ["b", 8, 0]]);
});

test("the oldest lines are dropped", () => {
  const lines = addLines([], Array.from({ length: MAX_LINES + 5 }, (_, index) => line(index)));
  assert.equal(lines.length, MAX_LINES);
  assert.equal(lines[0]?.number, 5);
});

test("levels are ordered, and an unknown one is shown", () => {
  assert.equal(isAtLeast("info", "warn"), false);
  assert.equal(isAtLeast("error", "warn"), true);
  assert.equal(isAtLeast("fatal", "error"), true);
});

test("a file of lines has one line each", () => {
  assert.equal(logText([line(1)]), "1970-01-01T00:00:00.000Z info  a j line 1\n");
});
