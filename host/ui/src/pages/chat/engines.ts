// The engines and models that the caller may use.
import { signal } from "@preact/signals";
import { get } from "../../api/client.ts";
import type { ChatModel, ImageModel, UsableEngine } from "../../api/types.ts";

export const engines = signal<UsableEngine[] | undefined>(undefined);
export const enginesError = signal<unknown>(undefined);
/** The language models. Without one, messages are prompts. */
export const chatModels = signal<ChatModel[] | undefined>(undefined);
/** What a request names if there is no language model. */
export const fallbackModel = signal("");
/** By engine, once they were asked for. Empty while they are loaded and after a failure. */
export const imageModels = signal<ReadonlyMap<string, ImageModel[]>>(new Map());

export async function loadEngines(): Promise<void> {
  try {
    const [{ bindings }, { data }] = await Promise.all([
      get("/api/v1/engines"),
      get("/api/models"),
    ]);
    engines.value = bindings;
    // Without a language model, the list has the engine that generates.
    chatModels.value = data.filter((it) => it.owned_by !== "pinhole");
    fallbackModel.value = data[0]?.id ?? "";
    enginesError.value = undefined;
  } catch (error) {
    enginesError.value = error;
  }
}

/** Asks an engine once for its models. An engine that cannot list them takes any name. */
export async function loadImageModels(engine: string): Promise<void> {
  if (imageModels.peek().has(engine)) return;
  imageModels.value = new Map(imageModels.peek()).set(engine, []);
  try {
    const models = await get("/api/v1/engines/{name}/models", { path: { name: engine } });
    imageModels.value = new Map(imageModels.peek()).set(engine, models);
  } catch {
    // The field for the model is then a text.
  }
}
