// All that the page knows and does: the form, the engines, the jobs, and the actions of the buttons.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { get } from "../../api/client.ts";
import type { GalleryImage, Job, JobFile, NewJob } from "../../api/types.ts";
import { maskName, removeLocalImage, storeLocalImage } from "../../components/local_images.ts";
import { useAction, useResource } from "../../components/resource.ts";
import { noteJob } from "../../jobs.ts";
import { read } from "../../preferences.ts";
import { randomId, randomSeed } from "../../random.ts";
import { location, setQuery } from "../../router.ts";
import { t } from "../../text/index.ts";
import { abilitiesOf } from "../../usable_engine.ts";
import type { Actions, NamedImage } from "./actions.ts";
import { groupJobs } from "./batches.ts";
import { engineOf, repeat, reuse, targetsOf, type FormSource, type Recipe, type ReuseChoice } from "./form_state.ts";
import { stopJob } from "./queue.tsx";
import { createJob, submit, uploadSources } from "./submit.ts";
import { useForm } from "./use_form.ts";
import { useImages } from "./use_images.ts";
import { useRecentJobs } from "./use_recent_jobs.ts";

/** More than any engine takes. */
const MAX_SOURCES = 16;
/** How names of images begin that this browser has. */
const LOCAL = "local-";

export type CreatePageState = ReturnType<typeof useCreate>;

export function useCreate() {
  const { form, set, replace, undo } = useForm();
  const prompt = useRef<HTMLTextAreaElement>(null);
  const [promptError, setPromptError] = useState<string | undefined>();
  const [isMasking, setIsMasking] = useState(false);
  const [shownId, setShownId] = useState<string | undefined>();
  const recent = useRecentJobs();
  const images = useImages();
  const engineList = useResource((signal) => get("/api/v1/engines", { signal }), []);
  const engines = engineList.value?.bindings ?? [];
  const engine = engineOf(form, engines);
  const models = useResource(async (signal) => (engine ? get("/api/v1/engines/{name}/models", { path: { name: engine.name }, signal }) : []), [engine?.name]);
  const model = models.value?.find((it) => it.id === form.model);
  const abilities = abilitiesOf(engine, model);
  const batches = useMemo(() => groupJobs(recent.jobs ?? []), [recent.jobs]);

  const focusPrompt = () => {
    prompt.current?.focus();
    prompt.current?.select();
  };
  const note = (job: Job) => {
    noteJob(job);
    recent.note(job);
  };
  const send = useAction(async () => {
    if (form.prompt.trim() === "") {
      setPromptError(t.create.promptMissing);
      prompt.current?.focus();
      return;
    }
    const targets = targetsOf(form, engines);
    if (targets.length === 0) throw new Error(form.engine === "" ? t.create.noEngine : t.create.engineGone(form.engine));
    const sources = await uploadSources(form.sources);
    if (sources.length > 0) set({ sources });
    const { jobs, errors } = await submit({ ...form, sources }, targets, model);
    jobs.forEach(note);
    setShownId(undefined);
    window.scrollTo({ top: 0 });
    if (errors.length > 0) throw new Error(errors.map((it) => it.message).join("\n"));
  });
  const again = useAction(async (job: Job, changes: Partial<NewJob>) => {
    if (!job.request) return;
    const request = repeat(job.request);
    if (!request) throw new Error(t.create.sourcesNotStored);
    note(await createJob({ engine: job.binding, ...request, ...changes }));
    setShownId(undefined);
  });
  const stop = useAction(stopJob);

  const sourceOf = (file: NamedImage): FormSource => {
    const known = form.sources.find((it) => it.fileId === file.id);
    return known ?? { key: file.id, name: file.name, fileId: file.id };
  };
  const actions: Actions = {
    edit: (file) => {
      set({ sources: [sourceOf(file)] });
      focusPrompt();
    },
    mask: (file) => {
      set({ sources: [sourceOf(file)] });
      setIsMasking(true);
    },
    vary: async (job) => {
      const canSeed = engines.find((it) => it.name === job.binding)?.abilities.seed !== false;
      await again.run(job, canSeed ? { seed: randomSeed() } : {});
    },
    retry: async (job, changes = {}) => void (await again.run(job, changes)),
    reuse: (recipe, what) => replace((before) => reuse(before, recipe, what)),
    stop: async (job) => void (await stop.run(job)),
  };

  const addSources = async (files: readonly File[]) => {
    const added: FormSource[] = [];
    for (const file of files) {
      if (!file.type.startsWith("image/")) continue;
      const key = `${LOCAL}${randomId()}`;
      await storeLocalImage(key, file);
      added.push({ key, name: file.name });
    }
    if (added.length > 0) set({ sources: [...form.sources, ...added].slice(0, MAX_SOURCES) });
  };
  const removeSource = (key: string) => {
    set({ sources: form.sources.filter((it) => it.key !== key) });
    void removeLocalImage(key);
    // The mask of an image of the server stays for the case that the image is added again.
    if (key.startsWith(LOCAL)) void removeLocalImage(maskName(key));
  };

  useQuery({
    edit: (image) => actions.edit(image),
    mask: (image) => actions.mask(image),
    reuse: (recipe, what) => actions.reuse(recipe, what),
  });

  return {
    form, set, undo, prompt, promptError, isMasking, setIsMasking, shownId, setShownId, recent, images, engineList, engines, engine,
    models, model, abilities, batches, send, actions, addSources, removeSource,
    ratioOfImage: (id: string) => {
      const file = recent.jobs?.flatMap((job) => job.files).find((it) => it.id === id);
      return file?.width && file.height ? file.width / file.height : undefined;
    },
    input: (text: string) => {
      setPromptError(undefined);
      set({ prompt: text });
    },
    actionError: again.error ?? stop.error ?? images.error,
    clearActionError: () => {
      images.clearError();
      again.clear();
      stop.clear();
    },
  };
}

interface QueryActions {
  edit: (image: NamedImage) => void;
  mask: (image: NamedImage) => void;
  reuse: (recipe: Recipe, what: ReuseChoice) => void;
}

/** `?source=ID`, `?mask=ID` and `?reuse=ID&what=prompt|seed|all`: how other pages hand an image over. */
function useQuery(use: QueryActions): void {
  const { query } = location.value;
  const mask = query.get("mask");
  const source = mask ?? query.get("source");
  const reused = query.get("reuse");
  const what = asReuseChoice(query.get("what")) ?? asReuseChoice(read("create.reuse")) ?? "all";
  useEffect(() => {
    const id = source ?? reused;
    if (id === null) return;
    setQuery({ mask: undefined, source: undefined, reuse: undefined, what: undefined });
    const hand = (image: NamedImage) => (mask === null ? use.edit(image) : use.mask(image));
    get("/api/v1/gallery/{id}", { path: { id } }).then(
      (image) => (source === null ? use.reuse(recipeOfImage(image), what) : hand(image)),
      // An image without a record can still be a source.
      () => source !== null && hand({ id, name: "" }),
    );
  }, [source, reused]);
}

function asReuseChoice(text: string | null): ReuseChoice | undefined {
  return text === "prompt" || text === "seed" || text === "all" ? text : undefined;
}

function recipeOfImage(image: GalleryImage): Recipe {
  return {
    prompt: image.prompt ?? "",
    negativePrompt: image.negative_prompt,
    engine: image.binding,
    model: image.model,
    size: image.requested_size,
    seed: image.seed,
    steps: image.steps,
    strength: image.strength,
    parameters: image.parameters,
    sources: image.sources,
  };
}

/** The seed of the newest image, which the lock of the field keeps. */
export function lastSeedOf(jobs: readonly Job[] | undefined): number | undefined {
  for (const job of jobs ?? []) {
    const seed = job.files.find((it: JobFile) => it.seed !== undefined)?.seed ?? job.request?.seed;
    if (seed !== undefined) return seed;
  }
  return undefined;
}
