// What is typed and attached for the next message: a draft for each chat.
import { computed, signal } from "@preact/signals";
import { messageOf } from "../../api/client.ts";
import { uploadFile } from "../../api/files.ts";
import { readLocalImage, removeLocalImage, storeLocalImage } from "../../components/local_images.ts";
import { parseObject } from "../../json.ts";
import { read, remove, write } from "../../preferences.ts";
import { randomId } from "../../random.ts";
import { user } from "../../session.ts";

/** An image that is attached to the next message. */
export interface Source {
  key: string;
  name: string;
  /** Of the stored file, once it is there. */
  id: string | undefined;
  /** Shows it before it is stored. */
  previewUrl: string | undefined;
  file: File | undefined;
  error: string | undefined;
  mask: string | undefined;
}

interface StoredDraft {
  text?: unknown;
  sources?: { key?: unknown; id?: unknown; name?: unknown; mask?: unknown }[];
}

/** Names the draft of the chat that is not stored yet. */
const NEW_CHAT = "new";

export const text = signal("");
export const sources = signal<Source[]>([]);
let draftName = "";

export const isUploading = computed(() => sources.value.some((it) => it.id === undefined && it.error === undefined));

export function openDraft(chatId: string | undefined): void {
  const name = chatId ?? NEW_CHAT;
  if (name === draftName) return;
  draftName = name;
  const stored = readStored(name);
  text.value = typeof stored.text === "string" ? stored.text : "";
  sources.value.forEach(revokePreview);
  sources.value = [];
  for (const { key, id, name: fileName, mask } of stored.sources ?? []) {
    const fields = { name: typeof fileName === "string" ? fileName : "image", mask: typeof mask === "string" ? mask : undefined };
    if (typeof id === "string") sources.value = [...sources.value, newSource({ ...fields, id })];
    else if (typeof key === "string") void restoreFile(name, key, fields.name);
  }
}

function readStored(draft: string): StoredDraft {
  return parseObject(read(nameOf(draft)) ?? "") ?? {};
}

/** Each user has own drafts, also in a browser that several use. */
function nameOf(draft: string): string {
  return `chat.draft.${user.peek()?.id ?? ""}.${draft}`;
}

/** Attaches an image again whose upload was not complete. */
async function restoreFile(draft: string, key: string, name: string): Promise<void> {
  const image = await readLocalImage(localName(key));
  if (!image || draft !== draftName || sources.value.some((it) => it.key === key)) return;
  const file = new File([image], name, { type: image.type });
  sources.value = [...sources.value, newSource({ key, name, file, previewUrl: URL.createObjectURL(image) })];
  void upload(key, file);
}

function localName(key: string): string {
  return `attachment/${key}`;
}

/** The draft of the new chat belongs to the chat that was just stored. */
export function moveDraft(chatId: string): void {
  const before = draftName;
  draftName = chatId;
  store();
  clearStored(before);
}

function store(): void {
  const stored = sources.value.map(({ key, id, name, mask }) => ({ key, id, name, mask }));
  if (text.value === "" && stored.length === 0) clearStored(draftName);
  else write(nameOf(draftName), JSON.stringify({ text: text.value, sources: stored }));
}

function clearStored(name: string): void {
  remove(nameOf(name));
}

export function setText(value: string): void {
  text.value = value;
  store();
}

function newSource(fields: Partial<Source>): Source {
  return { key: randomId(), name: "", id: undefined, previewUrl: undefined, file: undefined, error: undefined, mask: undefined, ...fields };
}

function updateSource(key: string, fields: Partial<Source>): void {
  sources.value = sources.value.map((it) => (it.key === key ? { ...it, ...fields } : it));
  store();
}

/** Attaches an image that the server has. */
export function attachStored(id: string, name: string): void {
  if (!sources.value.some((it) => it.id === id)) sources.value = [...sources.value, newSource({ id, name })];
  store();
}

/** Attaches images of this device. Other files are left out; returns how many. */
export function attachFiles(files: Iterable<File>): number {
  let refused = 0;
  for (const file of files) {
    if (!file.type.startsWith("image/")) {
      refused += 1;
      continue;
    }
    const source = newSource({ name: file.name || "image", file, previewUrl: URL.createObjectURL(file) });
    sources.value = [...sources.value, source];
    void storeLocalImage(localName(source.key), file);
    void upload(source.key, file);
  }
  return refused;
}

/** By the key of the source. A chat that is left and shown again waits for the same upload. */
const uploads = new Map<string, Promise<string>>();

function startUpload(key: string, file: File): Promise<string> {
  const running = uploads.get(key) ?? uploadFile(file, file.name || "image.png").finally(() => uploads.delete(key));
  uploads.set(key, running);
  return running;
}

export async function upload(key: string, file: File): Promise<void> {
  const draft = draftName;
  updateSource(key, { error: undefined });
  try {
    const id = await startUpload(key, file);
    const source = sources.value.find((it) => it.key === key);
    if (source) {
      revokePreview(source);
      updateSource(key, { id, previewUrl: undefined, file: undefined });
    } else {
      // Another chat is shown, or the image was detached.
      storeUpload(draft, key, id);
    }
    void removeLocalImage(localName(key));
  } catch (error) {
    updateSource(key, { error: messageOf(error) });
  }
}

/** Notes in a draft that is not shown that the server has its image. */
function storeUpload(draft: string, key: string, id: string): void {
  const stored = readStored(draft);
  if (!stored.sources?.some((it) => it.key === key)) return;
  const changed = stored.sources.map((it) => (it.key === key ? { ...it, id } : it));
  write(nameOf(draft), JSON.stringify({ ...stored, sources: changed }));
}

function revokePreview({ previewUrl }: Source): void {
  if (previewUrl !== undefined) URL.revokeObjectURL(previewUrl);
}

export function detach(key: string): void {
  const source = sources.value.find((it) => it.key === key);
  if (!source) return;
  if (source.id === undefined) void removeLocalImage(localName(key));
  revokePreview(source);
  sources.value = sources.value.filter((it) => it.key !== key);
  store();
}

/** Stores a mask and gives it to a source. */
export async function setMask(key: string, mask: Blob): Promise<void> {
  updateSource(key, { mask: await uploadFile(mask, "mask.png") });
}

export function clearMask(key: string): void {
  updateSource(key, { mask: undefined });
}

/** A draft that is sent. */
interface TakenDraft {
  chat: string;
  text: string;
  sources: Source[];
}

/** Takes the draft for a message that is sent. It is stored until the server has the message. */
export function takeDraft(): TakenDraft {
  const taken = { chat: draftName, text: text.value, sources: sources.value };
  text.value = "";
  sources.value = [];
  return taken;
}

/** The server has the message. */
export function confirmDraft(taken: TakenDraft): void {
  if (taken.chat === draftName) store();
  else clearStored(taken.chat);
}

/** Puts a draft back that could not be sent, before what was typed meanwhile. That of another chat is still stored. */
export function restoreDraft(taken: TakenDraft): void {
  if (taken.chat !== draftName) return;
  text.value = [taken.text, text.value].filter((it) => it !== "").join("\n");
  sources.value = [...taken.sources, ...sources.value];
  store();
}
