// The caller's chats, as the aside lists them.
import { signal } from "@preact/signals";
import { get, post, remove } from "../../api/client.ts";
import { onEvent, onGap, type ServerEvent } from "../../api/events.ts";
import type { ChatSummary } from "../../api/types.ts";

/** Chats of a page of the server's lists. */
const PAGE_CHATS = 60;

export const chats = signal<ChatSummary[] | undefined>(undefined);
export const pinnedChats = signal<ChatSummary[]>([]);
export const hasMoreChats = signal(false);
export const listError = signal<unknown>(undefined);
/** Ids of the chats with a running turn. */
export const activeChats = signal<ReadonlySet<string>>(new Set());

let pages = 1;
let newestLoad = 0;

export async function loadChats(): Promise<void> {
  const load = ++newestLoad;
  try {
    const numbers = Array.from({ length: pages }, (_, index) => index + 1);
    const [pinned, ...lists] = await Promise.all([
      get("/api/v1/chats/pinned"),
      ...numbers.map((page) => get("/api/v1/chats/", { query: { page } })),
    ]);
    if (load !== newestLoad) return;
    pinnedChats.value = pinned;
    chats.value = unique(lists.flat());
    hasMoreChats.value = lists.at(-1)?.length === PAGE_CHATS;
    listError.value = undefined;
  } catch (error) {
    if (load === newestLoad) listError.value = error;
  }
}

export async function loadMoreChats(): Promise<void> {
  pages += 1;
  await loadChats();
}

function unique(list: ChatSummary[]): ChatSummary[] {
  return [...new Map(list.map((it) => [it.id, it])).values()];
}

/** Follows what other tabs and running turns change. Returns the function that stops it. */
export function followChats(): () => void {
  void loadChats();
  const setActive = ({ chat_id, data }: ServerEvent) => {
    if (chat_id === null) return;
    const { active } = (data.data ?? {}) as { active?: boolean };
    const next = new Set(activeChats.peek());
    if (active === true) next.add(chat_id);
    else next.delete(chat_id);
    activeChats.value = next;
    if (active === true) void loadChats();
  };
  const setTitle = ({ chat_id, data }: ServerEvent) => {
    if (chat_id !== null && typeof data.data === "string") noteTitle(chat_id, data.data);
  };
  const stops = [onEvent("chat:active", setActive), onEvent("chat:title", setTitle), onGap(() => void loadChats())];
  return () => stops.forEach((stop) => stop());
}

function noteTitle(id: string, title: string): void {
  const rename = (list: ChatSummary[]) => list.map((it) => (it.id === id ? { ...it, title } : it));
  if (chats.value) chats.value = rename(chats.value);
  pinnedChats.value = rename(pinnedChats.value);
}

export async function renameChat(id: string, title: string): Promise<void> {
  await post("/api/v1/chats/{id}", { path: { id }, body: { chat: { title } } });
  noteTitle(id, title);
}

export async function togglePin(id: string): Promise<void> {
  await post("/api/v1/chats/{id}/pin", { path: { id } });
  await loadChats();
}

export async function toggleArchive(id: string): Promise<void> {
  await post("/api/v1/chats/{id}/archive", { path: { id } });
  await loadChats();
}

export async function deleteChat(id: string): Promise<void> {
  await remove("/api/v1/chats/{id}", { path: { id } });
  if (chats.value) chats.value = chats.value.filter((it) => it.id !== id);
  pinnedChats.value = pinnedChats.value.filter((it) => it.id !== id);
}

export function searchChats(text: string, signal: AbortSignal): Promise<ChatSummary[]> {
  return get("/api/v1/chats/search", { query: { text }, signal });
}

export function archivedChats(text: string, signal: AbortSignal): Promise<ChatSummary[]> {
  return get("/api/v1/chats/archived", { query: { query: text, page: 1 }, signal });
}
