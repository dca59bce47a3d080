// Lines of an engine's log: joined from several connections without gaps or repetitions.
import type { LogLine } from "./types.ts";

/** Lines that are shown. Older ones are dropped. */
export const MAX_LINES = 2_000;

export type LogLevel = "debug" | "info" | "warn" | "error";
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** A line, and how many before it were lost. */
export interface ShownLine extends LogLine {
  lost: number;
}

/** Adds new lines to those that are there. A line that came before, as after a new connection, is not added again. */
export function addLines(before: readonly ShownLine[], added: readonly LogLine[]): ShownLine[] {
  const newest = new Map<string, number>();
  for (const { digest, number } of before) newest.set(digest, Math.max(number, newest.get(digest) ?? -1));
  const lines = [...before];
  for (const line of added) {
    const last = newest.get(line.digest);
    if (last !== undefined && line.number <= last) continue;
    lines.push({ ...line, lost: last === undefined ? 0 : line.number - last - 1 });
    newest.set(line.digest, line.number);
  }
  return lines.length > MAX_LINES ? lines.slice(-MAX_LINES) : lines;
}

export function isAtLeast(level: string, least: LogLevel): boolean {
  const at = LOG_LEVELS.findIndex((it) => it === level);
  // A level that is not known is shown rather than hidden.
  return at < 0 || at >= LOG_LEVELS.indexOf(least);
}

/** The lines as a file. */
export function logText(lines: readonly LogLine[]): string {
  return lines.map((it) => `${new Date(it.at_ms).toISOString()} ${it.level.padEnd(5)} ${it.digest.slice(0, 12)} ${it.job} ${it.text}\n`).join("");
}
