import assert from "node:assert/strict";
import { test } from "node:test";
import { engineState, needsDecision, servingVersion, versionState } from "./states.ts";
import type { EngineStatus, VersionStatus } from "./types.ts";

function version(state: string, digest = state): VersionStatus {
  return { version: "1.0.0", digest, state, is_previous: false, reason: "", file: "", size_bytes: 1, added_by: "", added_at: 0, new_rights: [], jobs: 0, failed: 0 };
}

function engine(changes: Partial<EngineStatus>): EngineStatus {
  return { name: "a", serves: true, pinned: false, strategy: "watch", percent: 0, revision: 1, changed_at: 0, versions: [version("current")], ...changes };
}

test("the state of an engine is that of its rollout", () => {
  const parked = version("parked");
  assert.equal(engineState(engine({}), []), "serving");
  assert.equal(engineState(engine({ versions: [parked, version("current")] }), []), "update");
  assert.equal(engineState(engine({ serves: false, versions: [parked] }), []), "waiting");
  assert.equal(engineState(engine({ serves: false }), []), "stopped");
  assert.equal(engineState(engine({ percent: 10 }), []), "canary");
  assert.equal(engineState(engine({ percent: 100 }), []), "watched");
});

test("an engine is not set up if none of its bindings is ready", () => {
  const binding = { name: "a", engine: "a", title: "A", is_ready: false };
  assert.equal(engineState(engine({}), [binding]), "unready");
  assert.equal(engineState(engine({}), [binding, { ...binding, name: "b", is_ready: true }]), "serving");
});

test("a candidate serves once all users have it", () => {
  const versions = [version("candidate"), version("current")];
  assert.equal(servingVersion(engine({ versions, percent: 10 }))?.digest, "current");
  assert.equal(servingVersion(engine({ versions, percent: 100 }))?.digest, "candidate");
  assert.equal(servingVersion(engine({ serves: false }))?.digest, undefined);
});

test("the version before is a fallback while the new one is watched", () => {
  const watched = engine({ percent: 100, versions: [version("candidate"), version("current")] });
  assert.deepEqual(watched.versions.map((it) => versionState(watched, it)), ["watched", "fallback"]);
  const removed = engine({ serves: false, revision: 0 });
  assert.equal(versionState(removed, version("current")), "removed");
  assert.equal(versionState(removed, version("retired")), "retired");
});

test("only a version that waits needs a decision", () => {
  assert.equal(needsDecision(engine({})), false);
  assert.equal(needsDecision(engine({ versions: [version("parked")] })), true);
});
