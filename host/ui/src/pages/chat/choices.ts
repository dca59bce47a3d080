// What is chosen for the image and the text of the next response, in all chats.
import { computed, signal } from "@preact/signals";
import { read, write } from "../../preferences.ts";
import { user } from "../../session.ts";
import { abilitiesOf } from "../../usable_engine.ts";
import { sources } from "./draft.ts";
import { chatModels, engines, imageModels } from "./engines.ts";
import { engineFor, parseOptions, usableOptions, type ImageOptions } from "./image_options.ts";

export const options = signal<ImageOptions>(parseOptions(read(optionsName())));
const isImageOn = signal(read("chat.image") !== "off");
const chosenModel = signal(read("chat.model") ?? "");

function optionsName(): string {
  return `chat.options.${user.peek()?.id ?? ""}`;
}

export const wantsImage = computed(() => isImageOn.value || chatModels.value?.length === 0);
export const engine = computed(() => engineFor(engines.value ?? [], options.value.engine, sources.value.length > 0));
export const imageModel = computed(() => {
  const name = engine.value?.name ?? "";
  const id = options.value.model || engine.value?.default_model;
  return imageModels.value.get(name)?.find((it) => it.id === id);
});
export const abilities = computed(() => abilitiesOf(engine.value, imageModel.value));
export const languageModel = computed(() => {
  const models = chatModels.value ?? [];
  return models.find((it) => it.id === chosenModel.value) ?? models[0];
});

/** The options of the next message, with its sources. */
export function requestOptions(): ImageOptions {
  const attached = sources.value.filter((it) => it.id !== undefined);
  const ids = attached.flatMap((it) => (it.id === undefined ? [] : [it.id]));
  const mask = attached[0]?.mask;
  const all: ImageOptions = { ...options.value, sources: ids, ...(mask ? { mask } : {}) };
  return usableOptions(all, engine.value, abilities.value);
}

export function setOptions(fields: Partial<Record<keyof ImageOptions, unknown>>): void {
  const next = Object.fromEntries(Object.entries({ ...options.value, ...fields }).filter(([, value]) => value !== undefined && value !== ""));
  options.value = next as ImageOptions;
  write(optionsName(), JSON.stringify(next));
}

export function setImageOn(value: boolean): void {
  isImageOn.value = value;
  write("chat.image", value ? "on" : "off");
}

export function setModel(id: string): void {
  chosenModel.value = id;
  write("chat.model", id);
}
