import assert from "node:assert/strict";
import { test } from "node:test";
import type { Abilities } from "./api/types.ts";
import { ENGINE, NO_ABILITIES } from "./test_engine.ts";
import { abilitiesOf, titleOf } from "./usable_engine.ts";

const ALL: Abilities = { edit: true, mask: true, negative_prompt: true, seed: true, steps: true, strength: true, progress: true, max_count: 4, max_sources: 2 };

test("a title names the configuration if it is not the engine's own", () => {
  assert.equal(titleOf(ENGINE), "ComfyUI");
  assert.equal(titleOf({ ...ENGINE, name: "fast" }), "ComfyUI · fast");
});

test("abilities of a model override those of its engine", () => {
  const engine = { ...ENGINE, abilities: ALL };
  const { progress: _progress, ...abilities } = NO_ABILITIES;
  const model = { id: "m", name: "m", abilities: { ...abilities, sizes: ["1x1"], aspect_ratios: [] } };
  assert.deepEqual(abilitiesOf(engine, model), { ...NO_ABILITIES, progress: true });
  assert.deepEqual(abilitiesOf(engine, undefined), ALL);
  assert.equal(abilitiesOf(undefined, undefined), undefined);
});
