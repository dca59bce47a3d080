// What is known about the images of a chat: size, seed, engine, cost.
import { signal } from "@preact/signals";
import { get } from "../../api/client.ts";
import type { GalleryImage } from "../../api/types.ts";

/** By the id of the file. */
export const records = signal<ReadonlyMap<string, GalleryImage>>(new Map());

/** Images of a chat that are asked for in one request. */
const PAGE_IMAGES = 200;
const asked = new Set<string>();

function add(images: readonly GalleryImage[]): void {
  if (images.length === 0) return;
  const next = new Map(records.peek());
  for (const image of images) next.set(image.id, image);
  records.value = next;
}

/** Reads the newest images of a chat. Without them a page still works, with less to say about each. */
export async function loadRecords(chatId: string): Promise<void> {
  const query = { chat_id: chatId, limit: PAGE_IMAGES };
  const { images } = await get("/api/v1/gallery", { query });
  add(images);
}

/** Reads the record of one image, unless it is there. */
export async function loadRecord(id: string): Promise<GalleryImage | undefined> {
  const known = records.peek().get(id);
  if (known) return known;
  const image = await get("/api/v1/gallery/{id}", { path: { id } });
  add([image]);
  return image;
}

/** Reads the records of images that have just been made, each once. */
export function requestRecords(ids: readonly string[]): void {
  for (const id of ids) {
    if (asked.has(id) || records.peek().has(id)) continue;
    asked.add(id);
    loadRecord(id).catch(() => undefined);
  }
}
