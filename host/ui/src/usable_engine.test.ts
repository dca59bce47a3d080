import assert from "node:assert/strict";
import { test } from "node:test";
import type { Abilities, UsableEngine } from "./api/types.ts";
import { abilitiesOf, titleOf } from "./usable_engine.ts";

const NONE: Abilities = { edit: false, mask: false, negative_prompt: false, seed: false, steps: false, strength: false, progress: false, max_count: 1, max_sources: 0 };
const ALL: Abilities = { edit: true, mask: true, negative_prompt: true, seed: true, steps: true, strength: true, progress: true, max_count: 4, max_sources: 2 };
const ENGINE: UsableEngine = {
  name: "comfyui",
  engine: "comfyui",
  title: "ComfyUI",
  version: "1.0.0",
  abilities: ALL,
  parameters: [],
  other_parameters: false,
  default_model: null,
  default_size: null,
  is_ready: true,
  generates_by_default: true,
  edits_by_default: false,
};

test("a title names the configuration if it is not the engine's own", () => {
  assert.equal(titleOf(ENGINE), "ComfyUI");
  assert.equal(titleOf({ ...ENGINE, name: "fast" }), "ComfyUI · fast");
});

test("abilities of a model override those of its engine", () => {
  const { progress: _progress, ...abilities } = NONE;
  const model = { id: "m", name: "m", abilities: { ...abilities, sizes: ["1x1"], aspect_ratios: [] } };
  assert.deepEqual(abilitiesOf(ENGINE, model), { ...NONE, progress: true });
  assert.deepEqual(abilitiesOf(ENGINE, undefined), ALL);
  assert.equal(abilitiesOf(undefined, undefined), undefined);
});
