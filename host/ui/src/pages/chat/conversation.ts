// The chat that is shown: its messages, what runs in it, and what its events change.
import { batch, computed, signal } from "@preact/signals";
import { get } from "../../api/client.ts";
import { onEvent, onGap, storedEvents, type ServerEvent } from "../../api/events.ts";
import type { Chat, Job, JobProgress } from "../../api/types.ts";
import { activeJobs, onJob } from "../../jobs.ts";
import { readBranch, writeBranch } from "./branches.ts";
import { loadRecords, requestRecords } from "./image_records.ts";
import { applyEvent, branchTo, imagesOf, newestLeaf, readMessages, textOf, type Message, type Messages } from "./message.ts";
import { nextProgress, type LiveProgress } from "./progress.ts";

export interface Conversation {
  /** Undefined for a chat that is not stored yet. */
  id: string | undefined;
  title: string;
  messages: Messages;
  /** The last message of the branch that is shown. */
  leafId: string | null;
  isArchived: boolean;
  isPinned: boolean;
}

const EMPTY: Conversation = { id: undefined, title: "", messages: new Map(), leafId: null, isArchived: false, isPinned: false };

export const conversation = signal<Conversation>(EMPTY);
export const isLoading = signal(false);
export const loadError = signal<unknown>(undefined);
/** Whether the server runs a turn of this chat. */
export const isActive = signal(false);
/** By the id of the message. */
export const progressOf = signal<ReadonlyMap<string, LiveProgress>>(new Map());
/** The image jobs of messages that events named, also those that have ended. */
export const jobOf = signal<ReadonlyMap<string, Job>>(new Map());
export const branch = computed(() => branchTo(conversation.value.messages, conversation.value.leafId));

const TURN_EVENTS = ["status", "files", "chat:message", "chat:completion", "chat:message:error", "chat:tasks:cancel"];

/** Events that arrive while the chat is read: they are applied to what was read. */
let waiting: ServerEvent[] | undefined;
let newestLoad = 0;
/** The turn was stopped, and the chat was not read since. */
let wasStopped = false;

/** Shows a chat, or an empty one. */
export async function openChat(id: string | undefined): Promise<void> {
  if (id !== undefined && conversation.peek().id === id && loadError.peek() === undefined) return;
  newestLoad += 1;
  batch(() => {
    conversation.value = { ...EMPTY, id };
    loadError.value = undefined;
    isActive.value = false;
    isLoading.value = id !== undefined;
    progressOf.value = new Map();
    jobOf.value = new Map();
  });
  if (id !== undefined) await reloadChat();
}

/** Reads the shown chat from the server. */
export async function reloadChat(): Promise<void> {
  const { id } = conversation.peek();
  if (id === undefined) return;
  const load = ++newestLoad;
  waiting = [];
  wasStopped = false;
  try {
    const [stored, tasks] = await Promise.all([
      get("/api/v1/chats/{id}", { path: { id } }),
      get("/api/tasks/chat/{chat_id}", { path: { chat_id: id } }),
      // What is known about the images may be missing.
      loadRecords(id).catch(() => undefined),
    ]);
    if (load === newestLoad) show(stored, tasks.task_ids.length > 0);
  } catch (error) {
    if (load !== newestLoad) return;
    batch(() => {
      loadError.value = error;
      isLoading.value = false;
    });
  }
}

function show(stored: Chat, hasTasks: boolean): void {
  const messages = readMessages(stored.chat.history.messages);
  const currentId = stored.chat.history.currentId ?? null;
  const chosen = readBranch(stored.id, currentId);
  const leafId = chosen !== undefined && messages.has(chosen) ? chosen : currentId;
  batch(() => {
    conversation.value = {
      id: stored.id,
      title: stored.title,
      messages,
      leafId: leafId !== null && messages.has(leafId) ? leafId : ([...messages.keys()].at(-1) ?? null),
      isArchived: stored.archived,
      isPinned: stored.pinned,
    };
    isActive.value = hasTasks;
    isLoading.value = false;
    loadError.value = undefined;
    const events = waiting ?? [];
    waiting = undefined;
    for (const event of events) receive(event);
    for (const job of activeJobs.peek().values()) noteJob(job);
  });
  if (hasTasks && hasHiddenText()) void loadTexts(stored.id);
}

/** Whether a response is written whose text so far is not here. */
function hasHiddenText(): boolean {
  return [...conversation.peek().messages.values()].some(isWithoutText);
}

function isWithoutText(message: Message): boolean {
  return message.done === false && textOf(message.content) === "";
}

/** Shows texts that are being written. The server stores a text at its end; until then the events have it. */
async function loadTexts(chatId: string): Promise<void> {
  for await (const { message_id, data } of storedEvents(chatId)) {
    if (conversation.peek().id !== chatId || !hasHiddenText()) return;
    const message = conversation.peek().messages.get(message_id ?? "");
    if (message && data.type === "chat:completion" && isWithoutText(message)) noteTurnEvent(message, data.type, data.data);
  }
}

/** Shows another version of a message, and what follows it. */
export function selectVersion(id: string): void {
  const { messages, id: chatId } = conversation.peek();
  const leafId = newestLeaf(messages, id);
  conversation.value = { ...conversation.peek(), leafId };
  if (chatId !== undefined) writeBranch(chatId, leafId, [...messages.keys()].at(-1) ?? null);
}

export function putMessages(added: readonly Message[], leafId: string | null): void {
  const messages = new Map(conversation.peek().messages);
  for (const message of added) messages.set(message.id, message);
  conversation.value = { ...conversation.peek(), messages, leafId };
}

export function dropMessages(ids: readonly string[], leafId: string | null): void {
  const messages = new Map(conversation.peek().messages);
  for (const id of ids) messages.delete(id);
  conversation.value = { ...conversation.peek(), messages, leafId };
}

export function updateConversation(fields: Partial<Conversation>): void {
  conversation.value = { ...conversation.peek(), ...fields };
}

function receive(event: ServerEvent): void {
  const { chat_id, message_id, data } = event;
  const { id, messages } = conversation.peek();
  if (id === undefined || chat_id !== id) return;
  if (waiting) {
    waiting.push(event);
    return;
  }
  if (data.type === "chat:title" && typeof data.data === "string") updateConversation({ title: data.data });
  if (data.type === "chat:active") isActive.value = (data.data as { active?: boolean } | null)?.active === true;
  if (data.type === "chat:tasks:cancel") wasStopped = true;
  // What was written before this page was opened only the server knows.
  if (wasStopped && !isActive.peek()) void reloadChat();
  if (message_id === null) return;
  const message = messages.get(message_id);
  if (data.type === "pinhole:progress") {
    const next = nextProgress(progressOf.peek().get(message_id), data.data as JobProgress, Date.now());
    progressOf.value = new Map(progressOf.peek()).set(message_id, next);
  } else if (message && TURN_EVENTS.includes(data.type)) {
    noteTurnEvent(message, data.type, data.data);
  } else if (!message && TURN_EVENTS.includes(data.type)) {
    // Another client has sent a message.
    void reloadChat();
  }
}

function noteTurnEvent(message: Message, type: string, data: unknown): void {
  const changed = applyEvent(message, type, data);
  const messages = new Map(conversation.peek().messages).set(message.id, changed);
  conversation.value = { ...conversation.peek(), messages };
  if (progressOf.peek().has(message.id)) {
    const progress = new Map(progressOf.peek());
    progress.delete(message.id);
    progressOf.value = progress;
  }
  if (type === "files") requestRecords(imagesOf(changed).map((it) => it.id));
}

function noteJob(job: Job): void {
  if (job.message_id === null || job.chat_id !== conversation.peek().id) return;
  jobOf.value = new Map(jobOf.peek()).set(job.message_id, job);
  const known = progressOf.peek().get(job.message_id);
  if (job.progress && !known) {
    progressOf.value = new Map(progressOf.peek()).set(job.message_id, nextProgress(undefined, job.progress, Date.now()));
  }
}

/** Follows the events of the shown chat, which is read again unless it is read already. Returns the function that stops it. */
export function followConversation(): () => void {
  const types = [...TURN_EVENTS, "pinhole:progress", "chat:title", "chat:active"];
  const stops = [...types.map((type) => onEvent(type, receive)), onJob(noteJob), onGap(() => void reloadChat())];
  if (!isLoading.peek()) void reloadChat();
  return () => stops.forEach((stop) => stop());
}
