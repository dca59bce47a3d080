// The command that makes an image again.
import type { GalleryImage, Schemas } from "../../api/types.ts";

/** A command for a POSIX shell. The key is a variable of the person's. */
export function curlCommand(image: GalleryImage, origin: string): string {
  const isEdit = image.operation === "edit";
  const fields: Schemas["GenerationRequest"] & { image?: Schemas["ImageNames"] } = {
    prompt: image.prompt ?? "",
    negative_prompt: image.negative_prompt,
    engine: image.binding,
    model: image.model,
    size: image.requested_size,
    n: image.count,
    steps: image.steps,
    seed: image.seed,
    strength: image.strength,
    parameters: image.parameters,
    ...(isEdit && image.sources ? { image: image.sources } : {}),
  };
  const given = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  const path = isEdit ? "/api/v1/images/edit" : "/api/v1/images/generations";
  return [
    `curl ${quote(origin + path)}`,
    `-H "authorization: Bearer $PINHOLE_KEY"`,
    `-H 'content-type: application/json'`,
    `-d ${quote(JSON.stringify(Object.fromEntries(given)))}`,
  ].join(" \\\n  ");
}

/** A word of a shell, whatever it contains. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
