import assert from "node:assert/strict";
import { test } from "node:test";
import { match } from "./page_paths.ts";

test("match returns the decoded parameters of a path with the form of the pattern", () => {
  assert.deepEqual(match("/", "/"), {});
  assert.deepEqual(match("/c/:id", "/c/a%20b"), { id: "a b" });
  assert.deepEqual(match("/c/:id", "/c/x/"), { id: "x" });
  for (const path of ["/", "/c", "/c/", "/c/x/y", "/d/x", "/c/%ff"]) {
    assert.equal(match("/c/:id", path), undefined, path);
  }
});
