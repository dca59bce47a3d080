// What a button of an image does with the composer.
import type { GalleryImage } from "../../api/types.ts";
import { setOptions } from "./choices.ts";
import { attachStored, setText } from "./draft.ts";
import { focusComposer } from "./composer_focus.ts";
import { loadRecord } from "./image_records.ts";

/** Attaches an image: the next message describes the change. */
export function editImage(id: string, name: string): void {
  attachStored(id, name);
  focusComposer();
}

export type Reuse = "prompt" | "seed" | "all";

/** Puts what made an image into the composer. */
export async function reuse(id: string, what: Reuse, prompt: string): Promise<void> {
  const record = await loadRecord(id).catch(() => undefined);
  if (what !== "seed") setText(record?.prompt ?? prompt);
  if (what !== "prompt" && record?.seed !== undefined) setOptions({ seed: record.seed });
  if (what === "all" && record) setOptions(optionsOf(record));
  focusComposer();
}

function optionsOf(record: GalleryImage): Record<string, unknown> {
  const { binding, model, requested_size, width, height, seed, negative_prompt, steps, strength, parameters } = record;
  const size = requested_size ?? (width && height ? `${width}x${height}` : undefined);
  return { engine: binding, model: model === binding ? undefined : model, size, seed, negative_prompt, steps, strength, parameters };
}

/** The extension of a media type or a file name, with the dot. */
export function extensionOf(type: string): string {
  const subtype = /^image\/(\w+)/.exec(type)?.[1] ?? /\.(\w{2,5})$/.exec(type)?.[1] ?? "png";
  return subtype === "jpeg" ? ".jpg" : `.${subtype}`;
}
