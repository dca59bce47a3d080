// Server-sent events. One connection serves all parts of the page; the browser reconnects and catches up by itself.
import { url } from "./url.ts";

export interface ServerEvent {
  chat_id: string | null;
  message_id: string | null;
  data: { type: string; data: unknown };
}

type Listener = (event: ServerEvent) => void;

/** Events were lost: what is shown must be read again. */
const GAP = "pinhole:gap";
/** Time until a closed stream is opened again, in milliseconds. */
const REOPEN_MS = 5_000;

const listeners = new Map<string, Set<Listener>>();
let source: EventSource | undefined;
/** The stream was closed, and events may be missing. */
let isLost = false;

/** Time for which stored events are read: the server sends them at once, and then new ones. In milliseconds. */
const STORED_MS = 2_000;

/** The newest events of a chat that the server still has. */
export async function* storedEvents(chatId: string): AsyncGenerator<ServerEvent> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), STORED_MS);
  try {
    // After an id that is not known, the server sends all that it has.
    const response = await fetch(url("/api/events", {}, { chat_id: chatId }), { headers: { "last-event-id": "" }, signal: controller.signal });
    const reader = response.ok ? response.body?.pipeThrough(new TextDecoderStream()).getReader() : undefined;
    let rest = "";
    for (let read = await reader?.read(); read && !read.done; read = await reader?.read()) {
      const lines = (rest + read.value).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice("data: ".length)) as ServerEvent;
    }
  } catch {
    // It is over, or the server cannot be reached. The stream of the page has the next events.
  } finally {
    clearTimeout(timer);
    controller.abort();
  }
}

/** Calls the listener for each event of this type. Returns the function that stops it. */
export function onEvent(type: string, listener: Listener): () => void {
  const of = listeners.get(type) ?? new Set();
  listeners.set(type, of.add(listener));
  connect();
  return () => of.delete(listener);
}

/** Calls the listener when events were lost, also after the connection was interrupted for long. */
export function onGap(listener: () => void): () => void {
  return onEvent(GAP, listener);
}

export function disconnect(): void {
  source?.close();
  source = undefined;
}

function connect(): void {
  if (source) return;
  const opened = new EventSource("/api/events");
  source = opened;
  opened.onmessage = ({ data }) => dispatch(JSON.parse(String(data)) as ServerEvent);
  opened.onopen = () => {
    if (!isLost) return;
    isLost = false;
    dispatch({ chat_id: null, message_id: null, data: { type: GAP, data: null } });
  };
  opened.onerror = () => {
    // After a response that is not a stream, such as 401, the browser does not try again.
    if (opened.readyState !== EventSource.CLOSED || source !== opened) return;
    source = undefined;
    isLost = true;
    setTimeout(connect, REOPEN_MS);
  };
}

function dispatch(event: ServerEvent): void {
  for (const listener of listeners.get(event.data.type) ?? []) listener(event);
}
