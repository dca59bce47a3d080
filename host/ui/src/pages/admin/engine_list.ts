// The engines of the server, shared by the pages of administration. They are read again when one changes.
import { computed, signal } from "@preact/signals";
import { get } from "../../api/client.ts";
import { onEvent, onGap } from "../../api/events.ts";
import { needsDecision } from "./engines/states.ts";
import type { EngineList } from "./engines/types.ts";

/** The event of a change of an engine. */
const ENGINE = "pinhole:engine";
/** One change sends several events: they cause one request. */
const SETTLE_MS = 150;

export const engineList = signal<EngineList | undefined>(undefined);
export const engineListError = signal<unknown>(undefined);
export const decisionCount = computed(() => engineList.value?.releases?.engines.filter(needsDecision).length ?? 0);

let followers = 0;
let stops: (() => void)[] = [];
let newest = 0;

export async function reloadEngines(): Promise<void> {
  newest += 1;
  const number = newest;
  try {
    const list = await get("/api/v1/engines");
    if (number !== newest) return;
    engineList.value = list;
    engineListError.value = undefined;
  } catch (error) {
    if (number === newest) engineListError.value = error;
  }
}

/** Reads the engines, and again at each change, until the returned function is called. */
export function followEngines(): () => void {
  followers += 1;
  if (followers === 1) {
    stops = [onEngineChange(() => void reloadEngines())];
    void reloadEngines();
  }
  return () => {
    followers -= 1;
    if (followers > 0) return;
    stops.forEach((stop) => stop());
    stops = [];
  };
}

/** Calls the listener after changes of this engine, or of any. */
export function onEngineChange(listener: () => void, engine?: string): () => void {
  let timer = 0;
  const settle = () => {
    clearTimeout(timer);
    timer = window.setTimeout(listener, SETTLE_MS);
  };
  const heard = [
    onEvent(ENGINE, ({ data }) => {
      const { engine: changed } = data.data as { engine?: string };
      if (engine === undefined || changed === engine) settle();
    }),
    onGap(settle),
  ];
  return () => {
    clearTimeout(timer);
    heard.forEach((stop) => stop());
  };
}
