// The messages of a stored chat, in Open WebUI's format, and the tree that they form. No DOM and no requests.
import { contentUrl } from "../../api/url.ts";
import type { ImageOptions } from "./image_options.ts";

export interface FileEntry {
  type: string;
  id?: string;
  url?: string;
  name?: string;
  content_type?: string;
}

/** A line of a turn's report on its image. */
export interface Status {
  description?: string;
  done?: boolean;
  error?: boolean;
  reason?: string;
  prompt?: string;
  revised_prompt?: string;
  warnings?: string[];
}

export interface Message {
  id: string;
  parentId: string | null;
  role: string;
  content: unknown;
  files?: FileEntry[];
  statusHistory?: Status[];
  /** False while the response is written. */
  done?: boolean;
  error?: unknown;
  model?: string;
  timestamp?: number;
  /** What the user chose for the image of the response. Only these pages store it. */
  image_generation?: ImageOptions;
}

/** By id, in the order of the chat. */
export type Messages = ReadonlyMap<string, Message>;

/** Longest chain of parents that is followed: a chat can be malformed. */
const MAX_CHAIN = 10_000;

/** The messages of a chat in a response. Entries that are not messages are dropped. */
export function readMessages(raw: unknown): Map<string, Message> {
  const messages = new Map<string, Message>();
  if (typeof raw !== "object" || raw === null) return messages;
  for (const [id, value] of Object.entries(raw)) {
    if (typeof value !== "object" || value === null) continue;
    const message = value as Partial<Message>;
    if (typeof message.role !== "string") continue;
    const parentId = typeof message.parentId === "string" ? message.parentId : null;
    messages.set(id, { ...message, id, parentId, role: message.role, content: message.content ?? "" });
  }
  return messages;
}

/** The messages from the first one to this one. */
export function branchTo(messages: Messages, leafId: string | null): Message[] {
  const branch: Message[] = [];
  const seen = new Set<string>();
  let id = leafId;
  while (id !== null && !seen.has(id) && branch.length < MAX_CHAIN) {
    const message = messages.get(id);
    if (!message) break;
    seen.add(id);
    branch.push(message);
    id = message.parentId;
  }
  return branch.reverse();
}

/** The messages with the same parent and role, oldest first: the versions of a message. */
export function versionsOf(messages: Messages, message: Message): Message[] {
  return [...messages.values()].filter((it) => it.parentId === message.parentId && it.role === message.role);
}

/** The last message of the newest branch through this one. */
export function newestLeaf(messages: Messages, id: string): string {
  const newestChild = new Map<string, string>();
  for (const message of messages.values()) if (message.parentId !== null) newestChild.set(message.parentId, message.id);
  const seen = new Set<string>();
  let leaf = id;
  for (let next: string | undefined = id; next !== undefined && !seen.has(next); next = newestChild.get(next)) {
    seen.add(next);
    leaf = next;
  }
  return leaf;
}

/** The text of a content, which is a string or a list of parts. */
export function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  const texts = (content as { type?: unknown; text?: unknown }[]).map((part) => (typeof part?.text === "string" ? part.text : ""));
  return texts.filter((text) => text !== "").join("\n");
}

/** The images among the files of a message. */
export function imagesOf(message: Message): { id: string; url: string; name: string }[] {
  const entries = Array.isArray(message.files) ? message.files : [];
  const images: { id: string; url: string; name: string }[] = [];
  for (const entry of entries) {
    const isImage = entry?.type === "image" || (entry?.type === "file" && entry.content_type?.startsWith("image/") === true);
    const id = fileIdOf(entry);
    if (!isImage || id === undefined || images.some((it) => it.id === id)) continue;
    images.push({ id, url: contentUrl(id), name: typeof entry.name === "string" ? entry.name : "image" });
  }
  return images;
}

/** The id of a stored file. Images of other places are not shown. */
function fileIdOf(entry: FileEntry): string | undefined {
  const inUrl = typeof entry.url === "string" ? /^\/api\/v1\/files\/([^/?#]+)/.exec(entry.url)?.[1] : undefined;
  const id = inUrl ?? (typeof entry.id === "string" ? entry.id : undefined);
  return id !== undefined && /^[\w.:-]+$/.test(id) ? id : undefined;
}

/** The message after an event of its turn. Unknown events change nothing. */
export function applyEvent(message: Message, type: string, data: unknown): Message {
  const fields = (typeof data === "object" && data !== null ? data : {}) as Record<string, unknown>;
  switch (type) {
    case "status":
      return { ...message, statusHistory: [...(message.statusHistory ?? []), fields as Status] };
    case "files":
      return { ...message, files: mergeFiles(message.files ?? [], Array.isArray(fields.files) ? (fields.files as FileEntry[]) : []) };
    case "chat:message":
      return { ...message, content: fields.content ?? message.content };
    case "chat:completion": {
      const content = typeof fields.content === "string" ? fields.content : message.content;
      return { ...message, content, done: fields.done === true || message.done === true };
    }
    case "chat:message:error":
      return { ...message, error: fields.error ?? true, done: true };
    case "chat:tasks:cancel":
      return { ...message, done: true };
    default:
      return message;
  }
}

function mergeFiles(before: FileEntry[], added: FileEntry[]): FileEntry[] {
  const isNew = (entry: FileEntry) => !before.some((it) => it.id !== undefined && it.id === entry.id);
  return [...added.filter(isNew), ...before];
}
