// What a user chooses for an image, and the part of it that an engine can use. No DOM.
import type { Abilities, UsableEngine } from "../../api/types.ts";
import { parseObject } from "../../json.ts";

export interface ImageOptions {
  engine?: string;
  model?: string;
  size?: string;
  n?: number;
  seed?: number;
  negative_prompt?: string;
  steps?: number;
  strength?: number;
  parameters?: Record<string, unknown>;
  /** Ids of the images to edit. */
  sources?: string[];
  /** Id of the mask: transparent where the first source may change. */
  mask?: string;
  /** False: a new image, although the conversation has images. */
  edit?: boolean;
}

/** Counts that the composer offers, unless the engine allows fewer. */
export const COUNTS = [1, 2, 3, 4, 6, 8];

/** The engine that a turn uses: the chosen one, or that of the server's settings. */
export function engineFor(engines: readonly UsableEngine[], name: string | undefined, isEdit: boolean): UsableEngine | undefined {
  const chosen = engines.find((it) => it.name === name);
  if (chosen) return chosen;
  const byDefault = engines.find((it) => (isEdit ? it.edits_by_default : it.generates_by_default));
  return byDefault ?? engines.find((it) => it.generates_by_default) ?? engines[0];
}

/** The options without those that the engine cannot use, and without the choices that are the default. */
export function usableOptions(options: ImageOptions, engine: UsableEngine | undefined, abilities: Abilities | undefined): ImageOptions {
  const usable: ImageOptions = {};
  if (options.engine) usable.engine = options.engine;
  if (options.model) usable.model = options.model;
  if (options.size) usable.size = options.size;
  const count = Math.min(options.n ?? 1, abilities?.max_count ?? 1);
  if (count > 1) usable.n = count;
  if (options.seed !== undefined && abilities?.seed) usable.seed = options.seed;
  if (options.negative_prompt?.trim() && abilities?.negative_prompt) usable.negative_prompt = options.negative_prompt.trim();
  if (options.steps !== undefined && abilities?.steps) usable.steps = options.steps;
  if (options.strength !== undefined && abilities?.strength && options.sources?.length) usable.strength = options.strength;
  const known = new Set(engine?.parameters.map((it) => it.name));
  const parameters = Object.entries(options.parameters ?? {}).filter(([name, value]) => (known.has(name) || engine?.other_parameters === true) && value !== "" && value !== undefined);
  if (parameters.length > 0) usable.parameters = Object.fromEntries(parameters);
  if (options.sources?.length) {
    usable.sources = options.sources;
    if (options.mask && abilities?.mask) usable.mask = options.mask;
  } else if (options.edit === false) {
    usable.edit = false;
  }
  return usable;
}

/** How many of the rarely used options are set. */
export function countDetails(options: ImageOptions): number {
  const { seed, negative_prompt, steps, strength, model, parameters } = options;
  const values = [seed, negative_prompt?.trim() || undefined, steps, strength, model || undefined, ...Object.values(parameters ?? {})];
  return values.filter((it) => it !== undefined && it !== "").length;
}

/** The options that a browser stored. Fields of the wrong type are dropped. */
export function parseOptions(text: string | null): ImageOptions {
  const stored = parseObject(text ?? "") ?? {};
  const options: ImageOptions = {};
  for (const name of ["engine", "model", "size", "negative_prompt"] as const) {
    const it = stored[name];
    if (typeof it === "string") options[name] = it;
  }
  for (const name of ["n", "seed", "steps", "strength"] as const) {
    const it = stored[name];
    if (typeof it === "number" && Number.isFinite(it)) options[name] = it;
  }
  const { parameters } = stored;
  if (typeof parameters === "object" && parameters !== null) options.parameters = parameters as Record<string, unknown>;
  if (stored.edit === false) options.edit = false;
  return options;
}
