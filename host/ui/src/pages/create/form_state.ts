// What is entered on the page: its defaults, its stored form, and the request that it becomes. No DOM.
import type { ImageModel, JobRequest, NewJob, UsableEngine } from "../../api/types.ts";
import { parseObject } from "../../json.ts";
import { abilitiesOf } from "../../usable_engine.ts";

export interface FormSource {
  /** Names the image and its mask in this browser's storage. */
  key: string;
  name: string;
  /** Once the server has the image. */
  fileId?: string;
  /** When its mask was drawn last. */
  maskedAt?: number;
  /** Once the server has that mask. */
  maskId?: string;
}

export interface CreateForm {
  prompt: string;
  negativePrompt: string;
  /** Empty: the server chooses. */
  engine: string;
  /** Empty: the engine's own. */
  model: string;
  /** `1024x768`; empty: the engine's own. */
  size: string;
  count: number;
  /** Digits; empty: random. */
  seed: string;
  steps: string;
  /** How far an edit may differ from its source; `null`: the engine's own. */
  strength: number | null;
  /** Declared parameters, by engine. */
  parameters: Record<string, Record<string, unknown>>;
  /** Other engines that get the same prompt. */
  alsoOn: string[];
  sources: FormSource[];
}

export const EMPTY_FORM: CreateForm = {
  prompt: "",
  negativePrompt: "",
  engine: "",
  model: "",
  size: "",
  count: 1,
  seed: "",
  steps: "",
  strength: null,
  parameters: {},
  alsoOn: [],
  sources: [],
};

/** The form that was stored; values of a wrong type are dropped. */
export function parseForm(text: string | null): CreateForm {
  const stored = parseObject(text ?? "") ?? {};
  const form: Record<string, unknown> = { ...EMPTY_FORM };
  for (const [name, initial] of Object.entries(EMPTY_FORM)) {
    const value = stored[name];
    const isSameType = Array.isArray(initial) ? Array.isArray(value) : typeof value === typeof initial && value !== null;
    const isStrength = name === "strength" && typeof value === "number";
    if (isSameType || isStrength) form[name] = value;
  }
  return form as unknown as CreateForm;
}

/** The engine that runs a job of the form. Without a choice it is the server's default for generating or editing. */
export function engineOf(form: CreateForm, engines: readonly UsableEngine[]): UsableEngine | undefined {
  if (form.engine !== "") return engines.find((it) => it.name === form.engine);
  return form.sources.length > 0 ? engines.find((it) => it.edits_by_default) : engines.find((it) => it.generates_by_default);
}

/** The engines on which a job of the form is created: the chosen one first. */
export function targetsOf(form: CreateForm, engines: readonly UsableEngine[]): UsableEngine[] {
  const first = engineOf(form, engines);
  if (!first) return [];
  const isEdit = form.sources.length > 0;
  const others = engines.filter((it) => it !== first && form.alsoOn.includes(it.name) && it.is_ready && (!isEdit || it.abilities.edit));
  return [first, ...others];
}

interface Target {
  engine: UsableEngine;
  /** The chosen model, if the engine lists it. */
  model?: ImageModel | undefined;
  /** False for an engine that was chosen in addition, which uses its own model. */
  isFirst: boolean;
}

/** The request for one engine: only what it is able to use. */
export function toRequest(form: CreateForm, { engine, model, isFirst }: Target, sources: readonly string[], mask?: string): NewJob {
  const able = abilitiesOf(engine, isFirst ? model : undefined) ?? engine.abilities;
  const request: NewJob = { prompt: form.prompt.trim() };
  if (form.engine !== "" || !isFirst) request.engine = engine.name;
  if (isFirst && form.model.trim() !== "") request.model = form.model.trim();
  if (form.size !== "") request.size = form.size;
  const count = Math.min(form.count, Math.max(1, able.max_count));
  if (count > 1) request.n = count;
  if (able.negative_prompt && form.negativePrompt.trim() !== "") request.negative_prompt = form.negativePrompt.trim();
  if (able.seed && form.seed !== "") request.seed = Number(form.seed);
  if (able.steps && form.steps !== "") request.steps = Number(form.steps);
  const parameters = form.parameters[engine.name] ?? {};
  if (Object.keys(parameters).length > 0) request.parameters = parameters;
  if (sources.length > 0) {
    request.sources = sources.slice(0, Math.max(1, able.max_sources));
    if (able.strength && form.strength !== null) request.strength = form.strength;
    if (able.mask && mask !== undefined) request.mask = mask;
  }
  return request;
}

/** The same request again; `undefined` if it had an image that the server has not stored. */
export function repeat({ sources, mask, ...request }: JobRequest): NewJob | undefined {
  const stored = sources.filter((it) => it !== null);
  if (stored.length < sources.length) return undefined;
  return { ...request, ...(stored.length > 0 ? { sources: stored } : {}), ...(mask === null ? {} : { mask }) };
}

export type ReuseChoice = "prompt" | "seed" | "all";

/** What made an image, from a job or from the gallery. */
export interface Recipe {
  prompt: string;
  negativePrompt?: string | undefined;
  engine?: string | undefined;
  model?: string | undefined;
  size?: string | undefined;
  count?: number | undefined;
  seed?: number | undefined;
  steps?: number | undefined;
  strength?: number | undefined;
  parameters?: Record<string, unknown> | undefined;
  sources?: string[] | undefined;
}

/** Takes the part of a recipe that was asked for; all else stays. */
export function reuse(form: CreateForm, recipe: Recipe, what: ReuseChoice): CreateForm {
  const seed = recipe.seed === undefined ? form.seed : String(recipe.seed);
  if (what === "seed") return { ...form, seed };
  const negativePrompt = recipe.negativePrompt ?? "";
  // An uploaded image has none.
  const prompt = recipe.prompt || form.prompt;
  if (what === "prompt") return { ...form, prompt, negativePrompt: negativePrompt || form.negativePrompt };
  const engine = recipe.engine ?? "";
  return {
    ...form,
    prompt,
    negativePrompt,
    engine,
    model: recipe.model ?? "",
    size: recipe.size ?? "",
    count: recipe.count ?? 1,
    seed,
    steps: recipe.steps === undefined ? "" : String(recipe.steps),
    strength: recipe.strength ?? null,
    parameters: engine === "" ? form.parameters : { ...form.parameters, [engine]: recipe.parameters ?? {} },
    sources: (recipe.sources ?? []).map((id) => ({ key: id, name: "", fileId: id })),
  };
}
