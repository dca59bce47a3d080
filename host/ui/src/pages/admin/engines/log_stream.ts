import { useEffect, useRef, useState } from "preact/hooks";
import { addLines, type ShownLine } from "./log_lines.ts";
import { logUrl } from "./requests.ts";
import type { LogLine } from "./types.ts";

/** Lines that arrive together are shown together. */
const COLLECT_MS = 100;
/** Time until a closed stream is opened again. */
const REOPEN_MS = 3_000;

interface LogStream {
  lines: readonly ShownLine[];
  isConnected: boolean;
  /** True if at least one connection was open. */
  wasConnected: boolean;
}

/** Follows the log of an engine. A hidden page closes its connection, and catches up when it is shown again. */
export function useLogStream(engine: string): LogStream {
  const [lines, setLines] = useState<readonly ShownLine[]>([]);
  const [isConnected, setIsConnected] = useState(false);
  const wasConnected = useRef(false);
  useEffect(() => {
    let source: EventSource | undefined;
    let collected: LogLine[] = [];
    let timer = 0;
    let reopening = 0;
    const show = () => {
      timer = 0;
      const added = collected;
      collected = [];
      setLines((before) => addLines(before, added));
    };
    const close = () => {
      clearTimeout(reopening);
      source?.close();
      source = undefined;
      setIsConnected(false);
    };
    const open = () => {
      close();
      const opened = new EventSource(logUrl(engine));
      source = opened;
      opened.onopen = () => {
        wasConnected.current = true;
        setIsConnected(true);
      };
      opened.onmessage = ({ data }) => {
        collected.push(JSON.parse(String(data)) as LogLine);
        timer ||= window.setTimeout(show, COLLECT_MS);
      };
      opened.onerror = () => {
        setIsConnected(false);
        // After a response that is not a stream the browser does not try again.
        if (opened.readyState === EventSource.CLOSED && source === opened) reopening = window.setTimeout(open, REOPEN_MS);
      };
    };
    const onVisibility = () => (document.hidden ? close() : open());
    document.addEventListener("visibilitychange", onVisibility);
    if (!document.hidden) open();
    return () => {
      document.removeEventListener("visibilitychange", onVisibility);
      clearTimeout(timer);
      close();
    };
  }, [engine]);
  return { lines, isConnected, wasConnected: wasConnected.current };
}
