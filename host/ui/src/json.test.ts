import assert from "node:assert/strict";
import { test } from "node:test";
import { parseObject } from "./json.ts";

test("parseObject accepts objects and an empty text only", () => {
  assert.deepEqual(parseObject('{"a": [1]}'), { a: [1] });
  assert.deepEqual(parseObject(" \n"), {});
  for (const text of ["{", "[]", "null", "5", '"a"']) assert.equal(parseObject(text), undefined, text);
});
