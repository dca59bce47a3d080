import assert from "node:assert/strict";
import { test } from "node:test";
import { nodesOf, readWorkflow } from "./workflow.ts";

test("workflow of the editor, broken JSON and other JSON are told apart", () => {
  assert.equal(readWorkflow('{"nodes": [], "links": []}').problem, "editor");
  assert.equal(readWorkflow("{").problem, "json");
  assert.equal(readWorkflow("[1]").problem, "other");
  assert.deepEqual(readWorkflow("@workflow.json"), {});
});

test("choices are the inputs without a link", () => {
  const { graph } = readWorkflow('{"6": {"class_type": "CLIPTextEncode", "inputs": {"text": "x", "clip": ["4", 1]}, "_meta": {"title": "Prompt"}}}');
  assert.deepEqual(nodesOf(graph ?? {}), [{ id: "6 text", node: "6", title: "Prompt", input: "text" }]);
});
