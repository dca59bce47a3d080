// Sends what is entered: uploads sources, and creates a job on each engine.
import { ApiError, post, postForm } from "../../api/client.ts";
import type { ImageModel, Job, JobRequest, StoredFile, UsableEngine } from "../../api/types.ts";
import { maskName, readLocalImage, removeLocalImage } from "../../components/local_images.ts";
import { t } from "../../text/index.ts";
import { toRequest, type CreateForm, type FormSource } from "./form_state.ts";

/** The key of a request that got no response, so that sending it again does not create a second job. */
const unanswered = new Map<string, string>();

/** The masks that jobs were sent with, by the id of the job: the server does not return them. */
const masks = new Map<string, string>();
/** A mask of many megapixels is large. */
const MAX_MASKS = 12;

export function maskOf(jobId: string): string | undefined {
  return masks.get(jobId);
}

function rememberMask(jobId: string, mask: string): void {
  masks.set(jobId, mask);
  const [oldest] = masks.keys();
  if (oldest !== undefined && masks.size > MAX_MASKS) masks.delete(oldest);
}

export async function createJob(request: JobRequest): Promise<Job> {
  const body = JSON.stringify(request);
  const key = unanswered.get(body) ?? randomKey();
  unanswered.set(body, key);
  try {
    const job = await post<Job>("/api/v1/jobs", request, { headers: { "idempotency-key": key } });
    unanswered.delete(body);
    if (request.mask) rememberMask(job.id, request.mask);
    return job;
  } catch (error) {
    // After a refusal there is no job that could be created twice.
    if (error instanceof ApiError && error.status >= 400 && error.status < 500) unanswered.delete(body);
    throw error;
  }
}

export interface Submission {
  jobs: Job[];
  /** What some of the engines refused. */
  errors: Error[];
}

/** Creates the jobs. Those that are refused do not stop the others. */
export async function submit(form: CreateForm, targets: readonly UsableEngine[], model: ImageModel | undefined): Promise<Submission> {
  const sources = form.sources.flatMap((it) => it.fileId ?? []);
  const [first] = form.sources;
  const mask = first?.maskedAt ? await readLocalImage(maskName(first.key)) : undefined;
  const maskUrl = mask && (await toDataUrl(mask));
  const jobs: Job[] = [];
  const errors: Error[] = [];
  for (const [index, engine] of targets.entries()) {
    try {
      jobs.push(await createJob(toRequest(form, { engine, model, isFirst: index === 0 }, sources, maskUrl)));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      errors.push(new Error(targets.length > 1 ? `${engine.title}: ${message}` : message));
    }
  }
  return { jobs, errors };
}

/** The sources with their ids at the server. Those that only this browser has are uploaded. */
export async function uploadSources(sources: readonly FormSource[]): Promise<FormSource[]> {
  return Promise.all(
    sources.map(async (source) => {
      if (source.fileId !== undefined) return source;
      const image = await readLocalImage(source.key);
      if (!image) throw new Error(t.create.sourceLost(source.name));
      const form = new FormData();
      form.append("file", image, source.name || "image.png");
      const stored = await postForm<StoredFile>("/api/v1/files/", form);
      void removeLocalImage(source.key);
      return { ...source, fileId: stored.id };
    }),
  );
}

/** A seed of 32 bits, as all upstreams take it. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** `crypto.randomUUID` does not exist without TLS. */
export function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function toDataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error());
    reader.readAsDataURL(blob);
  });
}
