// An engine for tests.
import type { Abilities, UsableEngine } from "./api/types.ts";

export const NO_ABILITIES: Abilities = { edit: false, mask: false, negative_prompt: false, seed: false, steps: false, strength: false, progress: false, max_count: 1, max_sources: 0 };
export const ENGINE: UsableEngine = {
  name: "comfyui",
  engine: "comfyui",
  title: "ComfyUI",
  version: "1.0.0",
  abilities: NO_ABILITIES,
  parameters: [],
  other_parameters: false,
  default_model: null,
  default_size: null,
  is_ready: true,
  generates_by_default: true,
  edits_by_default: false,
};
