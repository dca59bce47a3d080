import assert from "node:assert/strict";
import { test } from "node:test";
import { bucketsOf, jobsOverTime, totalsOf, trafficOf } from "./series.ts";
import type { VersionFigures } from "./types.ts";

const HOUR_MS = 3_600_000;
const NOW = 100 * HOUR_MS;

function figures(changes: Partial<VersionFigures>): VersionFigures {
  return { engine: "sketch", digest: "a", since_ms: NOW - HOUR_MS, running: 0, jobs: 0, ok: 0, failed: 0, failures: {}, cpu_ms: 0, mean_cpu_ms: 0, peak_memory_bytes: 0, traffic: [], minutes: [], ...changes };
}

test("totals are those of all versions, times those of the one with most jobs", () => {
  const totals = totalsOf(
    [
      figures({ jobs: 30, failed: 1, p50_ms: 10, p99_ms: 20, cpu_ms: 60, failures: { upstream: 1 }, peak_memory_bytes: 5, running: 1 }),
      figures({ jobs: 10, failed: 2, p50_ms: 99, cpu_ms: 20, failures: { crash: 4, upstream: 1 }, peak_memory_bytes: 7 }),
    ],
    NOW,
  );
  assert.deepEqual(
    [totals.jobs, totals.failed, totals.p50_ms, totals.p99_ms, totals.mean_cpu_ms, totals.peak_memory_bytes, totals.running],
    [40, 3, 10, 20, 2, 7, 1],
  );
  assert.deepEqual(totals.failures, [["crash", 4], ["upstream", 2]]);
});

test("the range is between an hour and a day", () => {
  assert.equal(totalsOf([], NOW).from_ms, NOW - HOUR_MS);
  assert.equal(totalsOf([figures({ since_ms: NOW - 5 * HOUR_MS })], NOW).from_ms, NOW - 5 * HOUR_MS);
  assert.equal(totalsOf([figures({ since_ms: NOW - 50 * HOUR_MS })], NOW).from_ms, NOW - 24 * HOUR_MS);
});

test("minutes of several versions meet in one part of the time", () => {
  const minute = { at_ms: NOW - HOUR_MS / 2, jobs: 2, failed: 1 };
  assert.deepEqual(jobsOverTime([figures({ minutes: [minute] }), figures({ minutes: [minute] })], NOW - HOUR_MS, NOW, 4), [0, 0, 4, 0]);
});

test("no part is shorter than a minute, and the minute before the range is in its first part", () => {
  const early = { at_ms: NOW - HOUR_MS - 20_000, jobs: 1, failed: 0 };
  const jobs = jobsOverTime([figures({ minutes: [early] })], NOW - HOUR_MS, NOW, 500);
  assert.equal(jobs.length, 60);
  assert.equal(jobs[0], 1);
});

test("a series has each interval up to now, also those without a job", () => {
  const point = { at_ms: NOW - 10 * 60_000 + 7_000, jobs: 4, failed: 1, p50_ms: 5, p99_ms: 9, cpu_ms: 20, peak_memory_bytes: 7 };
  const buckets = bucketsOf({ range: "1h", interval_secs: 60, since_ms: NOW - HOUR_MS + 7_000, points: [point], versions: [] }, NOW + 30_000);
  assert.equal(buckets.length, 60);
  assert.deepEqual(buckets[49], { at: point.at_ms / 1_000 + 30, jobs: 4, failed: 1, p50_ms: 5, p99_ms: 9, cpu_ms: 5, memory_bytes: 7 });
  assert.equal(buckets[59]?.at, NOW / 1_000 + 37);
  assert.equal(buckets[59]?.p50_ms, null);
  assert.equal(bucketsOf({ range: "24h", interval_secs: 600, since_ms: 0, points: [], versions: [] }, NOW).length, 144);
});

test("traffic of versions is added by upstream", () => {
  const api = { upstream: "api", requests: 2, failed_requests: 1, sent_bytes: 10, received_bytes: 20 };
  const rows = trafficOf([figures({ traffic: [api, { ...api, upstream: null, requests: 1 }] }), figures({ traffic: [api] })]);
  assert.deepEqual(rows.map((it) => [it.upstream, it.requests, it.received_bytes]), [["api", 4, 40], [null, 1, 20]]);
});
