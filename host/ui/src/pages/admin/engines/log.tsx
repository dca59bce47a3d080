import { useEffect, useRef, useState } from "preact/hooks";
import { Empty } from "../../../components/notice.tsx";
import { language } from "../../../preferences.ts";
import { IconArrowDown, IconDownload, IconPause, IconPlay } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { Status } from "../../../components/status.tsx";
import { isAtLeast, LOG_LEVELS, logText, type LogLevel, type ShownLine } from "./log_lines.ts";
import { useLogStream } from "./log_stream.ts";

const time = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
/** Distance from the end at which new lines are still followed, in pixels. */
const END_PX = 40;

/** The log of an engine as it is written: filtered, paused, downloaded. */
export function Log({ name }: { name: string }) {
  const stream = useLogStream(name);
  const [least, setLeast] = useState<LogLevel>("debug");
  const [paused, setPaused] = useState<readonly ShownLine[] | undefined>();
  const lines = (paused ?? stream.lines).filter((it) => isAtLeast(it.level, least));
  return (
    <>
      <div class="row log-bar">
        <div class="segmented" role="group" aria-label={t.engines.log.level}>
          {LOG_LEVELS.map((it) => (
            <button key={it} type="button" aria-pressed={it === least} onClick={() => setLeast(it)}>
              {t.engines.log.levels[it]}
            </button>
          ))}
        </div>
        <button type="button" class="small" aria-pressed={paused !== undefined} onClick={() => setPaused(paused ? undefined : stream.lines)}>
          {paused ? <IconPlay aria-hidden="true" /> : <IconPause aria-hidden="true" />}
          {paused ? t.engines.log.resume : t.engines.log.pause}
        </button>
        <button type="button" class="quiet small" disabled={lines.length === 0} onClick={() => download(name, lines)}>
          <IconDownload aria-hidden="true" />
          {t.engines.log.download}
        </button>
        <span class="muted log-state" role="status">
          <StreamState isConnected={stream.isConnected} wasConnected={stream.wasConnected} behind={paused ? stream.lines.length - paused.length : undefined} />
        </span>
      </div>
      {stream.lines.length === 0 ? (
        <Empty title={t.engines.log.empty}>{t.engines.log.emptyHint}</Empty>
      ) : (
        <Lines lines={lines} />
      )}
    </>
  );
}

interface StreamStateProps {
  isConnected: boolean;
  wasConnected: boolean;
  /** Lines that arrived since the pause. */
  behind: number | undefined;
}

function StreamState({ isConnected, wasConnected, behind }: StreamStateProps) {
  if (behind !== undefined) return <Status tone="off">{t.engines.log.paused(behind)}</Status>;
  if (isConnected) return <Status tone="">{t.engines.log.following}</Status>;
  return wasConnected ? <Status tone="warn">{t.engines.log.reconnecting}</Status> : null;
}

function Lines({ lines }: { lines: readonly ShownLine[] }) {
  const list = useRef<HTMLDivElement>(null);
  const [isAtEnd, setIsAtEnd] = useState(true);
  const toEnd = () => {
    const element = list.current;
    if (element) element.scrollTop = element.scrollHeight;
  };
  useEffect(() => {
    if (isAtEnd) toEnd();
  }, [lines]);
  const onScroll = () => {
    const element = list.current;
    if (element) setIsAtEnd(element.scrollHeight - element.scrollTop - element.clientHeight < END_PX);
  };
  return (
    <div class="log-frame">
      <div ref={list} class="engine-log" role="log" aria-label={t.engines.log.label} tabIndex={0} onScroll={onScroll}>
        {lines.length === 0 && <p class="muted">{t.engines.log.filtered}</p>}
        {lines.map((line) => (
          <Line key={`${line.digest}-${line.number}`} line={line} />
        ))}
      </div>
      {!isAtEnd && (
        <button type="button" class="small to-end" onClick={toEnd}>
          <IconArrowDown aria-hidden="true" />
          {t.engines.log.toEnd}
        </button>
      )}
    </div>
  );
}

function Line({ line }: { line: ShownLine }) {
  return (
    <>
      {line.lost > 0 && <p class="log-gap">{t.engines.log.gap(line.lost)}</p>}
      <p class={`log-line ${line.level}`}>
        <time dateTime={new Date(line.at_ms).toISOString()}>{time.format(line.at_ms)}</time>
        <span class="log-level">{line.level}</span>
        <span class="wrap" dir="auto">
          {line.text}
        </span>
      </p>
    </>
  );
}

/** Saves the lines that are shown as a file. */
function download(name: string, lines: readonly ShownLine[]): void {
  const url = URL.createObjectURL(new Blob([logText(lines)], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${name}.log`;
  link.click();
  URL.revokeObjectURL(url);
}
