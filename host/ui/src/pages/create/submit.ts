// Sends what is entered: uploads sources, and creates a job on each engine.
import { ApiError, post } from "../../api/client.ts";
import { uploadFile } from "../../api/files.ts";
import type { ImageModel, Job, NewJob, UsableEngine } from "../../api/types.ts";
import { maskName, readLocalImage, removeLocalImage } from "../../components/local_images.ts";
import { randomId } from "../../random.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { toRequest, type CreateForm, type FormSource } from "./form_state.ts";

/** The key of a request that got no response, so that sending it again does not create a second job. */
const unanswered = new Map<string, string>();

export async function createJob(request: NewJob): Promise<Job> {
  const body = JSON.stringify(request);
  const key = unanswered.get(body) ?? randomId();
  unanswered.set(body, key);
  try {
    const job = await post("/api/v1/jobs", { body: request, headers: { "idempotency-key": key } });
    unanswered.delete(body);
    return job;
  } catch (error) {
    // After a refusal there is no job that could be created twice.
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) unanswered.delete(body);
    throw error;
  }
}

interface Submission {
  jobs: Job[];
  /** What some of the engines refused. */
  errors: Error[];
}

/** Creates the jobs. Those that are refused do not stop the others. */
export async function submit(form: CreateForm, targets: readonly UsableEngine[], model: ImageModel | undefined): Promise<Submission> {
  const sources = form.sources.flatMap((it) => it.fileId ?? []);
  const mask = form.sources[0]?.maskId;
  const jobs: Job[] = [];
  const errors: Error[] = [];
  for (const [index, engine] of targets.entries()) {
    try {
      jobs.push(await createJob(toRequest(form, { engine, model, isFirst: index === 0 }, sources, mask)));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      errors.push(new Error(targets.length > 1 ? `${titleOf(engine)}: ${message}` : message));
    }
  }
  return { jobs, errors };
}

/** The sources with their ids at the server. Those and the mask that only this browser has are uploaded. */
export async function uploadSources(sources: readonly FormSource[]): Promise<FormSource[]> {
  return Promise.all(
    sources.map(async (source, index) => {
      // Only the first source has a mask. It is stored, so that the job can be repeated.
      const masked = index === 0 ? await uploadMask(source) : source;
      if (source.fileId !== undefined) return masked;
      const image = await readLocalImage(source.key);
      if (!image) throw new Error(t.create.sourceLost(source.name));
      const fileId = await uploadFile(image, source.name || "image.png");
      void removeLocalImage(source.key);
      return { ...masked, fileId };
    }),
  );
}

async function uploadMask(source: FormSource): Promise<FormSource> {
  if (source.maskedAt === undefined || source.maskId !== undefined) return source;
  const mask = await readLocalImage(maskName(source.key));
  return mask ? { ...source, maskId: await uploadFile(mask, "mask.png") } : source;
}

