import assert from "node:assert/strict";
import { test } from "node:test";
import { bucketsOf, totalsOf, trafficOf } from "./series.ts";
import type { VersionFigures } from "./types.ts";

const HOUR_MS = 3_600_000;
const NOW = 100 * HOUR_MS;

function figures(changes: Partial<VersionFigures>): VersionFigures {
  return { digest: "a", since_ms: NOW - HOUR_MS, running: 0, jobs: 0, ok: 0, failed: 0, failures: {}, cpu_ms: 0, mean_cpu_ms: 0, peak_memory_bytes: 0, traffic: [], minutes: [], ...changes };
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
  const minute = { at_ms: NOW - HOUR_MS / 2, jobs: 2, failed: 1, p50_ms: 10, peak_memory_bytes: 3 };
  const buckets = bucketsOf([figures({ minutes: [minute] }), figures({ minutes: [{ ...minute, p50_ms: 20, peak_memory_bytes: 9 }] })], NOW - HOUR_MS, NOW, 4);
  assert.deepEqual(buckets.map((it) => it.jobs), [0, 0, 4, 0]);
  const [, , full] = buckets;
  assert.deepEqual([full?.failed, full?.p50_ms, full?.p99_ms, full?.memory_bytes], [2, 15, null, 9]);
});

test("no part is shorter than a minute, and the minute before the range is in its first part", () => {
  const early = { at_ms: NOW - HOUR_MS - 20_000, jobs: 1, failed: 0 };
  const buckets = bucketsOf([figures({ minutes: [early] })], NOW - HOUR_MS, NOW, 500);
  assert.equal(buckets.length, 60);
  assert.equal(buckets[0]?.jobs, 1);
});

test("traffic of versions is added by upstream", () => {
  const api = { upstream: "api", requests: 2, failed_requests: 1, sent_bytes: 10, received_bytes: 20 };
  const rows = trafficOf([figures({ traffic: [api, { ...api, upstream: null, requests: 1 }] }), figures({ traffic: [api] })]);
  assert.deepEqual(rows.map((it) => [it.upstream, it.requests, it.received_bytes]), [["api", 4, 40], [null, 1, 20]]);
});
