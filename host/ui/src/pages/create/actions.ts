import type { Job, JobFile, NewJob } from "../../api/types.ts";
import type { Recipe, ReuseChoice } from "./form_state.ts";

/** An image of the server. */
export interface NamedImage {
  id: string;
  name: string;
}

/** What the buttons of images and jobs do. */
export interface Actions {
  /** Makes the image a source. */
  edit: (image: NamedImage) => void;
  /** Makes it the only source, and opens the mask editor. */
  mask: (image: NamedImage) => void;
  /** The same request with another seed. */
  vary: (job: Job) => Promise<void>;
  /** The same request, with some changes. */
  retry: (job: Job, changes?: Partial<NewJob>) => Promise<void>;
  reuse: (recipe: Recipe, what: ReuseChoice) => void;
  stop: (job: Job) => Promise<void>;
}

/** What made the image of a job. */
export function recipeOf(job: Job, file?: JobFile): Recipe {
  const { request } = job;
  return {
    prompt: request?.prompt ?? "",
    negativePrompt: request?.negative_prompt,
    engine: request?.engine,
    model: request?.model,
    size: request?.size,
    count: request?.n,
    seed: file?.seed ?? request?.seed,
    steps: request?.steps,
    strength: request?.strength,
    parameters: request?.parameters,
    sources: request?.sources.filter((it) => it !== null),
  };
}
