import assert from "node:assert/strict";
import { test } from "node:test";
import type { Abilities, Job, UsableEngine } from "../../api/types.ts";
import { groupJobs, withJob } from "./batches.ts";
import { columnsFor } from "./columns.ts";
import { EMPTY_FORM, engineOf, parseForm, repeat, reuse, targetsOf, toRequest, type CreateForm } from "./form_state.ts";

const ALL: Abilities = { edit: true, mask: true, negative_prompt: true, seed: true, steps: true, strength: true, progress: true, max_count: 4, max_sources: 2 };
const NONE: Abilities = { edit: false, mask: false, negative_prompt: false, seed: false, steps: false, strength: false, progress: false, max_count: 1, max_sources: 0 };

function engine(name: string, abilities: Abilities, more: Partial<UsableEngine> = {}): UsableEngine {
  return {
    name,
    engine: name,
    title: name,
    version: "1.0.0",
    abilities,
    parameters: [],
    other_parameters: false,
    default_model: null,
    default_size: null,
    is_ready: true,
    generates_by_default: false,
    edits_by_default: false,
    ...more,
  };
}

const sketch = engine("sketch", NONE, { generates_by_default: true });
const comfy = engine("comfyui", ALL, { edits_by_default: true });
const FULL: CreateForm = { ...EMPTY_FORM, prompt: " a fox ", negativePrompt: "blur", count: 9, seed: "7", steps: "20", strength: 0.5, size: "512x512" };

test("a request has only what the engine is able to use", () => {
  assert.deepEqual(toRequest(FULL, { engine: sketch, isFirst: true }, []), { prompt: "a fox", size: "512x512" });
  assert.deepEqual(toRequest(FULL, { engine: comfy, isFirst: true }, []), { prompt: "a fox", size: "512x512", n: 4, negative_prompt: "blur", seed: 7, steps: 20 });
});

test("an edit has sources up to the engine's limit, strength and mask", () => {
  const request = toRequest(FULL, { engine: comfy, isFirst: false }, ["a", "b", "c"], "data:,");
  assert.deepEqual(request.sources, ["a", "b"]);
  assert.equal(request.strength, 0.5);
  assert.equal(request.mask, "data:,");
  assert.equal(request.engine, "comfyui");
});

test("abilities of the model come before those of the engine", () => {
  const model = { id: "m", name: "M", abilities: { ...ALL, seed: false, max_count: 1, sizes: [], aspect_ratios: [] } };
  const request = toRequest(FULL, { engine: comfy, model, isFirst: true }, []);
  assert.equal(request.seed, undefined);
  assert.equal(request.n, undefined);
});

test("without a choice the server's default engine runs, another one for edits", () => {
  assert.equal(engineOf(FULL, [comfy, sketch]), sketch);
  assert.equal(engineOf({ ...FULL, sources: [{ key: "k", name: "" }] }, [sketch, comfy]), comfy);
  assert.equal(engineOf({ ...FULL, engine: "gone" }, [sketch]), undefined);
});

test("the same prompt goes to each chosen engine once, and to none that cannot do it", () => {
  const form = { ...FULL, alsoOn: ["sketch", "comfyui"] };
  assert.deepEqual(targetsOf(form, [sketch, comfy]), [sketch, comfy]);
  assert.deepEqual(targetsOf({ ...form, sources: [{ key: "k", name: "" }] }, [sketch, comfy]), [comfy]);
});

test("a stored form survives; broken and foreign values do not", () => {
  assert.deepEqual(parseForm(JSON.stringify(FULL)), FULL);
  assert.deepEqual(parseForm("{"), EMPTY_FORM);
  assert.deepEqual(parseForm('{"prompt":7,"sources":{},"count":"2","other":1}'), EMPTY_FORM);
});

test("reuse takes only what was asked for", () => {
  const recipe = { prompt: "an owl", seed: 3, engine: "comfyui", parameters: { cfg: 7 }, sources: ["f1"] };
  assert.deepEqual(reuse(FULL, recipe, "seed"), { ...FULL, seed: "3" });
  assert.deepEqual(reuse(FULL, recipe, "prompt"), { ...FULL, prompt: "an owl" });
  const all = reuse(FULL, recipe, "all");
  assert.equal(all.engine, "comfyui");
  assert.equal(all.steps, "");
  assert.deepEqual(all.parameters, { comfyui: { cfg: 7 } });
  assert.deepEqual(all.sources, [{ key: "f1", name: "", fileId: "f1" }]);
});

test("a job is repeated with its images, unless the server has not stored one", () => {
  assert.deepEqual(repeat({ prompt: "a fox", sources: [], mask: null, seed: 7 }), { prompt: "a fox", seed: 7 });
  assert.deepEqual(repeat({ prompt: "a fox", sources: ["f1"], mask: "f2" }), { prompt: "a fox", sources: ["f1"], mask: "f2" });
  assert.equal(repeat({ prompt: "a fox", sources: ["f1", null], mask: null }), undefined);
});

test("columns make images as large as possible", () => {
  assert.equal(columnsFor(1, 1, 1.4), 1);
  assert.equal(columnsFor(4, 1, 1.4), 2);
  assert.equal(columnsFor(2, 1, 0.6), 1);
  assert.equal(columnsFor(2, 16 / 9, 0.8), 1);
  assert.equal(columnsFor(3, 0.56, 1.4), 3);
});

function job(id: string, binding: string, created_at: number, prompt = "a fox"): Job {
  return {
    id,
    binding,
    created_at,
    state: "done",
    operation: "generate",
    origin: "api",
    chat_id: null,
    message_id: null,
    user_id: "u",
    engine: binding,
    engine_version: "1.0.0",
    digest: "",
    request: { prompt, sources: [], mask: null },
    progress: null,
    files: [],
    warnings: [],
    error: null,
    started_at: null,
    ended_at: null,
    duration_ms: null,
  };
}

test("jobs of one click on several engines are a batch", () => {
  const jobs = [job("4", "a", 200), job("3", "b", 101), job("2", "a", 100), job("1", "a", 100, "an owl")];
  assert.deepEqual(
    groupJobs(jobs).map((it) => it.jobs.map((one) => one.id)),
    [["4"], ["2", "3"], ["1"]],
  );
});

test("a second job on the same engine is a batch of its own", () => {
  assert.equal(groupJobs([job("2", "a", 101), job("1", "a", 100)]).length, 2);
});

test("a newer state replaces a job, a new job comes first", () => {
  const jobs = [job("2", "a", 2), job("1", "a", 1)];
  assert.equal(withJob(jobs, { ...job("1", "a", 1), state: "failed" })[1]?.state, "failed");
  assert.equal(withJob(jobs, job("3", "a", 3))[0]?.id, "3");
});
