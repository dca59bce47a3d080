// The progress of an image. No DOM.
import type { JobProgress } from "../../api/types.ts";

/** The progress of a message's image, and when its first event arrived. */
export interface LiveProgress extends JobProgress {
  /** Milliseconds since 1970. */
  since: number;
  /** The fraction at that time. */
  sinceFraction: number;
}

/** The next state: an event replaces all but the preview. */
export function nextProgress(before: LiveProgress | undefined, progress: JobProgress, now: number): LiveProgress {
  const preview = progress.preview ?? before?.preview;
  // A later image of the same job starts again.
  const restarts = before === undefined || (progress.fraction ?? 0) < (before.fraction ?? 0);
  return {
    ...progress,
    ...(preview === undefined ? {} : { preview }),
    since: restarts ? now : before.since,
    sinceFraction: restarts ? (progress.fraction ?? 0) : before.sinceFraction,
  };
}

/** Least share of the work that has to be seen for an estimate, and least time. */
const MIN_SHARE = 0.15;
const MIN_TIME_MS = 1_500;

/** The seconds that are left, if that can be said. */
export function secondsLeft(progress: LiveProgress, now: number): number | undefined {
  const { fraction, since, sinceFraction } = progress;
  if (fraction === undefined || fraction >= 1) return undefined;
  const share = fraction - sinceFraction;
  const elapsed = now - since;
  if (share < MIN_SHARE || elapsed < MIN_TIME_MS) return undefined;
  return Math.max(1, Math.round(((1 - fraction) / share) * (elapsed / 1_000)));
}

/** The quarter to announce: only these are read out. */
export function quarterOf(fraction: number | undefined): number {
  return Math.floor(Math.min(1, Math.max(0, fraction ?? 0)) * 4) * 25;
}
