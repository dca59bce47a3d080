import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { quote } from "./curl.ts";

test("quote is one word of a shell, whatever the text", () => {
  for (const text of ["a fox", "it's $HOME `id` \\ \"x\"", "'; rm -rf /; '", "line\nline", "ü 🦊"]) {
    assert.equal(execFileSync("/bin/sh", ["-c", `printf %s ${quote(text)}`], { encoding: "utf8" }), text);
  }
});
