// Figures of an engine's versions as one series over time, for charts.
import type { EngineStats, SeriesPoint, StatsRange, UpstreamFigures, VersionFigures } from "./types.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** A shorter time is shown as this one, so that the first job does not fill the whole chart. */
const MIN_RANGE_MS = HOUR_MS;

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

/** The number of jobs of all versions in at most this number of equal parts of the time. */
export function jobsOverTime(figures: readonly VersionFigures[], fromMs: number, toMs: number, count: number): number[] {
  // A part shorter than a minute would stay empty between its neighbors.
  const parts = Math.max(1, Math.min(count, Math.floor((toMs - fromMs) / MINUTE_MS)));
  const width = (toMs - fromMs) / parts;
  const jobs = Array.from({ length: parts }, () => 0);
  for (const minute of figures.flatMap((it) => it.minutes)) {
    // The minute in which the range begins belongs to its first part.
    const index = Math.max(0, Math.min(parts - 1, Math.floor((minute.at_ms - fromMs) / width)));
    jobs[index] = (jobs[index] ?? 0) + minute.jobs;
  }
  return jobs;
}

/** One interval of a chart. Values are `null` where no job ended. */
export interface Bucket {
  /** Its middle, in seconds since 1970. */
  at: number;
  jobs: number;
  failed: number;
  p50_ms: number | null;
  p99_ms: number | null;
  /** Of a job on average. */
  cpu_ms: number | null;
  memory_bytes: number | null;
}

const RANGES_MS: Record<StatsRange, number> = { "1h": HOUR_MS, "24h": DAY_MS };

/** All intervals of a range up to now, also those without a job. */
export function bucketsOf(stats: EngineStats, nowMs: number): Bucket[] {
  const width = stats.interval_secs * 1_000;
  // Intervals begin with the start of the server.
  const phase = stats.since_ms % width;
  const startOf = (ms: number) => Math.floor((ms - phase) / width) * width + phase;
  const last = startOf(nowMs);
  const points = new Map(stats.points.map((it) => [startOf(it.at_ms), it]));
  const count = RANGES_MS[stats.range] / width;
  return Array.from({ length: count }, (_, index) => {
    const at = last - (count - 1 - index) * width;
    return bucketOf((at + width / 2) / 1_000, points.get(at));
  });
}

function bucketOf(at: number, point: SeriesPoint | undefined): Bucket {
  if (!point || point.jobs === 0) return { at, jobs: 0, failed: 0, p50_ms: null, p99_ms: null, cpu_ms: null, memory_bytes: null };
  const { jobs, failed, p50_ms, p99_ms } = point;
  return { at, jobs, failed, p50_ms, p99_ms, cpu_ms: point.cpu_ms / jobs, memory_bytes: point.peak_memory_bytes };
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
