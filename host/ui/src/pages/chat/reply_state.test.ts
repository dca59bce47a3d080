import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "./message.ts";
import { describeReply } from "./reply_state.ts";

const reply = (fields: Partial<Message>): Message => ({ id: "a", parentId: "q", role: "assistant", content: "", ...fields });
const creating = { description: "Creating image", done: false };
const file = { type: "image", id: "f1" };

test("an image is made from its first status until its outcome", () => {
  const running = reply({ done: false, statusHistory: [creating] });
  assert.equal(describeReply(running, true).isMakingImage, true);
  assert.equal(describeReply({ ...running, files: [file] }, true).isMakingImage, false);
  const failed = { description: "An error occurred while generating an image", done: true, error: true, reason: "out of memory" };
  const state = describeReply({ ...running, statusHistory: [creating, failed] }, true);
  assert.deepEqual([state.isMakingImage, state.imageFailure, state.isRunning], [false, "out of memory", true]);
});

test("a response that nobody writes is interrupted", () => {
  const state = describeReply(reply({ done: false, statusHistory: [creating] }), false);
  assert.deepEqual([state.isInterrupted, state.isRunning, state.isMakingImage], [true, false, false]);
  assert.equal(describeReply(reply({ content: "of another client" }), false).isInterrupted, false);
});

test("warnings are shown once, without the note that repeats them", () => {
  const statusHistory = [
    creating,
    { description: "Image created", done: true, prompt: "a fox", revised_prompt: "a red fox", warnings: ["1 of 2 images received"] },
    { description: "Note: 1 of 2 images received", done: true },
    { description: "The image server cannot be stopped", done: true },
  ];
  const state = describeReply(reply({ done: true, statusHistory, files: [file] }), false);
  assert.deepEqual(state.notes, ["1 of 2 images received", "The image server cannot be stopped"]);
  assert.deepEqual([state.writtenPrompt, state.revisedPrompt], ["a fox", "a red fox"]);
});

test("the server's own sentences are not repeated as text", () => {
  assert.equal(describeReply(reply({ done: true, content: "Here is your image.", files: [file] }), false).text, "");
  assert.equal(describeReply(reply({ done: true, content: "Here is your image." }), false).text, "Here is your image.");
  const failed = [{ done: true, error: true, reason: "no room" }];
  assert.equal(describeReply(reply({ done: true, content: "The image could not be generated: no room", statusHistory: failed }), false).text, "");
});

test("a stop is not a failure", () => {
  const stopped = [creating, { done: true, error: true, reason: "it was stopped; the upstream may still finish it" }];
  assert.equal(describeReply(reply({ done: true, content: "Sorry.", statusHistory: stopped }), false).isStopped, true);
  assert.equal(describeReply(reply({ done: true, statusHistory: [creating] }), false).isStopped, true);
  assert.equal(describeReply(reply({ done: true, error: { content: "busy" } }), false).isStopped, false);
  assert.equal(describeReply(reply({ done: true, content: "Hello" }), false).isStopped, false);
});

test("errors of any form have a text", () => {
  const textFailure = (error: unknown) => describeReply(reply({ done: true, error }), false).textFailure;
  assert.deepEqual([textFailure({ content: "busy" }), textFailure("busy"), textFailure({ message: "busy" }), textFailure(true)], ["busy", "busy", "busy", ""]);
  assert.equal(textFailure(undefined), undefined);
});
