import assert from "node:assert/strict";
import { test } from "node:test";
import { applyEvent, branchTo, imagesOf, newestLeaf, readMessages, textOf, versionsOf, type Message } from "./message.ts";

function chat(...rows: [id: string, parentId: string | null, role: string][]): Map<string, Message> {
  return readMessages(Object.fromEntries(rows.map(([id, parentId, role]) => [id, { parentId, role, content: id }])));
}

const tree = chat(["q", null, "user"], ["a1", "q", "assistant"], ["a2", "q", "assistant"], ["r", "a1", "user"], ["b", "r", "assistant"]);

test("branchTo follows the parents", () => {
  assert.deepEqual(branchTo(tree, "b").map((it) => it.id), ["q", "a1", "r", "b"]);
  assert.deepEqual(branchTo(tree, "a2").map((it) => it.id), ["q", "a2"]);
  assert.deepEqual(branchTo(tree, null), []);
  assert.deepEqual(branchTo(tree, "unknown"), []);
});

test("branchTo and newestLeaf stop in a circle", () => {
  const circle = chat(["x", "y", "user"], ["y", "x", "assistant"]);
  assert.deepEqual(branchTo(circle, "x").map((it) => it.id), ["y", "x"]);
  assert.ok(["x", "y"].includes(newestLeaf(circle, "x")));
});

test("versions have the same parent and role", () => {
  const [a1] = [tree.get("a1")];
  assert.ok(a1);
  assert.deepEqual(versionsOf(tree, a1).map((it) => it.id), ["a1", "a2"]);
  assert.equal(newestLeaf(tree, "a1"), "b");
  assert.equal(newestLeaf(tree, "a2"), "a2");
});

test("readMessages drops what is not a message", () => {
  const messages = readMessages({ a: { role: "user", content: null, parentId: 5 }, b: null, c: "x", d: { content: "no role" } });
  assert.deepEqual([...messages.keys()], ["a"]);
  assert.deepEqual(messages.get("a"), { id: "a", parentId: null, role: "user", content: "" });
  assert.equal(readMessages("text").size, 0);
});

test("textOf joins the texts of parts", () => {
  assert.equal(textOf("plain"), "plain");
  assert.equal(textOf([{ type: "text", text: "a" }, { type: "image_url", image_url: { url: "data:…" } }, { type: "text", text: "b" }, null]), "a\nb");
  assert.equal(textOf({ text: "x" }), "");
});

test("imagesOf shows stored files only, each once", () => {
  const files = [
    { type: "image", id: "f1", url: "/api/v1/files/f1/content", name: "fox.png" },
    { type: "image", url: "/api/v1/files/f1/content" },
    { type: "file", id: "f2", content_type: "image/webp" },
    { type: "file", id: "f3", content_type: "application/pdf" },
    { type: "image", url: "http://evil.example/x.png" },
    { type: "image", id: "../../admin" },
  ];
  const message: Message = { id: "m", parentId: null, role: "assistant", content: "", files };
  assert.deepEqual(imagesOf(message).map((it) => it.url), ["/api/v1/files/f1/content", "/api/v1/files/f2/content"]);
});

test("applyEvent follows a turn", () => {
  let message: Message = { id: "m", parentId: null, role: "assistant", content: "", done: false };
  const apply = (type: string, data: unknown) => (message = applyEvent(message, type, data));
  apply("status", { description: "Creating image", done: false });
  apply("files", { files: [{ type: "image", id: "f1" }] });
  apply("files", { files: [{ type: "image", id: "f1" }] });
  apply("chat:completion", { content: "Here" });
  assert.equal(message.done, false);
  apply("chat:completion", { content: "Here it is", done: true });
  assert.deepEqual([message.content, message.done, message.files?.length, message.statusHistory?.length], ["Here it is", true, 1, 1]);
  apply("chat:message:error", { error: { content: "overloaded" } });
  assert.deepEqual(message.error, { content: "overloaded" });
  const before = message;
  assert.equal(applyEvent(message, "chat:tags", {}), before);
  assert.equal(apply("status", null).statusHistory?.length, 2);
});
