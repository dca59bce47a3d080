import { formatDuration, formatNumber } from "../../../format.ts";

/** Below this, whole milliseconds would hide differences. */
const SHORT_MS = 10;

/** A time of milliseconds, also of less than one. */
export function formatJobTime(milliseconds: number): string {
  return milliseconds < SHORT_MS ? `${formatNumber(milliseconds, 1)} ms` : formatDuration(milliseconds);
}
