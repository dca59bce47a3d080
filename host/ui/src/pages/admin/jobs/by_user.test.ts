import assert from "node:assert/strict";
import { test } from "node:test";
import type { Job, JobState } from "../../../api/types.ts";
import { activeByUser } from "./by_user.ts";

function job(user: string, state: JobState): Job {
  return {
    id: `${user}-${state}`, state, operation: "generate", origin: "api", chat_id: null, message_id: null, user_id: user, user_name: user.toUpperCase(),
    binding: "sketch", engine: "sketch", engine_version: "1.0.0", digest: "", request: null, progress: null, files: [], warnings: [], error: null,
    created_at: 0, started_at: null, ended_at: null, duration_ms: null,
  };
}

test("active jobs are counted by user, those with most first", () => {
  const users = activeByUser([job("a", "running"), job("b", "waiting"), job("b", "running"), job("c", "done")]);
  assert.deepEqual(users, [
    { id: "b", name: "B", running: 1, waiting: 1 },
    { id: "a", name: "A", running: 1, waiting: 0 },
  ]);
});
