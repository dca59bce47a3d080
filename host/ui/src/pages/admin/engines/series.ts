// Figures of an engine's versions as one series over time, for charts.
import type { MinuteFigures, UpstreamFigures, VersionFigures } from "./types.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;
/** A shorter time is shown as this one, so that the first job does not fill the whole chart. */
const MIN_RANGE_MS = 60 * MINUTE_MS;

export interface Totals {
  running: number;
  jobs: number;
  failed: number;
  /** Of the version with the most jobs. */
  p50_ms: number | undefined;
  p99_ms: number | undefined;
  mean_cpu_ms: number | undefined;
  peak_memory_bytes: number;
  failures: [reason: string, count: number][];
  /** Time in which there can be figures. */
  from_ms: number;
}

/** The figures of all versions together. Times are those of the version with the most jobs. */
export function totalsOf(figures: readonly VersionFigures[], nowMs: number): Totals {
  const main = [...figures].sort((a, b) => b.jobs - a.jobs)[0];
  const failures = new Map<string, number>();
  for (const it of figures) {
    for (const [reason, count] of Object.entries(it.failures)) failures.set(reason, (failures.get(reason) ?? 0) + count);
  }
  const jobs = sum(figures, (it) => it.jobs);
  const since = Math.min(nowMs, ...figures.map((it) => it.since_ms));
  return {
    running: sum(figures, (it) => it.running),
    jobs,
    failed: sum(figures, (it) => it.failed),
    p50_ms: main?.p50_ms ?? undefined,
    p99_ms: main?.p99_ms ?? undefined,
    mean_cpu_ms: jobs > 0 ? sum(figures, (it) => it.cpu_ms) / jobs : undefined,
    peak_memory_bytes: Math.max(0, ...figures.map((it) => it.peak_memory_bytes)),
    failures: [...failures].sort((a, b) => b[1] - a[1]),
    from_ms: Math.max(nowMs - DAY_MS, Math.min(since, nowMs - MIN_RANGE_MS)),
  };
}

export interface Bucket {
  at_ms: number;
  jobs: number;
  failed: number;
  p50_ms: number | null;
  p99_ms: number | null;
  cpu_ms: number | null;
  memory_bytes: number | null;
}

/** Puts the minutes of all versions into at most this number of equal parts of the time. */
export function bucketsOf(figures: readonly VersionFigures[], fromMs: number, toMs: number, count: number): Bucket[] {
  // A part shorter than a minute would stay empty beside its neighbors.
  const parts = Math.max(1, Math.min(count, Math.floor((toMs - fromMs) / MINUTE_MS)));
  const width = (toMs - fromMs) / parts;
  const minutes: MinuteFigures[][] = Array.from({ length: parts }, () => []);
  for (const minute of figures.flatMap((it) => it.minutes)) {
    const index = Math.floor((minute.at_ms - fromMs) / width);
    // The minute in which the range begins belongs to its first part.
    minutes[Math.max(0, Math.min(parts - 1, index))]?.push(minute);
  }
  return minutes.map((its, index) => bucketOf(its, fromMs + index * width));
}

function bucketOf(minutes: readonly MinuteFigures[], atMs: number): Bucket {
  const jobs = sum(minutes, (it) => it.jobs);
  const cpu = minutes.filter((it) => it.cpu_ms !== undefined);
  const cpuJobs = sum(cpu, (it) => it.jobs);
  return {
    at_ms: atMs,
    jobs,
    failed: sum(minutes, (it) => it.failed),
    p50_ms: weighted(minutes, (it) => it.p50_ms),
    p99_ms: largest(minutes, (it) => it.p99_ms),
    cpu_ms: cpuJobs > 0 ? sum(cpu, (it) => it.cpu_ms ?? 0) / cpuJobs : null,
    memory_bytes: largest(minutes, (it) => it.peak_memory_bytes),
  };
}

/** The mean of medians, by jobs: near enough for a line. */
function weighted(minutes: readonly MinuteFigures[], value: (it: MinuteFigures) => number | null | undefined): number | null {
  let jobs = 0;
  let total = 0;
  for (const it of minutes) {
    const its = value(it);
    if (its === null || its === undefined || it.jobs === 0) continue;
    jobs += it.jobs;
    total += its * it.jobs;
  }
  return jobs > 0 ? total / jobs : null;
}

function largest(minutes: readonly MinuteFigures[], value: (it: MinuteFigures) => number | null | undefined): number | null {
  const values = minutes.map(value).filter((it): it is number => typeof it === "number");
  return values.length > 0 ? Math.max(...values) : null;
}

/** The traffic of all versions by upstream. */
export function trafficOf(figures: readonly VersionFigures[]): UpstreamFigures[] {
  const byName = new Map<string | null, UpstreamFigures>();
  for (const it of figures.flatMap((its) => its.traffic)) {
    const name = it.upstream ?? null;
    const before = byName.get(name);
    byName.set(name, {
      upstream: name,
      requests: it.requests + (before?.requests ?? 0),
      failed_requests: it.failed_requests + (before?.failed_requests ?? 0),
      sent_bytes: it.sent_bytes + (before?.sent_bytes ?? 0),
      received_bytes: it.received_bytes + (before?.received_bytes ?? 0),
    });
  }
  return [...byName.values()].sort((a, b) => b.requests - a.requests);
}

function sum<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}
