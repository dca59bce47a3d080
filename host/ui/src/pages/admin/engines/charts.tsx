// Charts of an engine's figures. The only module that loads the chart library.
import { formatBytes, formatNumber } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { Chart, type Line } from "./chart.tsx";
import { formatJobTime } from "./job_time.ts";
import { bucketsOf, type Bucket } from "./series.ts";
import type { VersionFigures } from "./types.ts";

/** Parts of the time that are shown. */
const BUCKETS = 96;

interface ChartsProps {
  figures: readonly VersionFigures[];
  fromMs: number;
}

/** One chart for each kind of figure that the server has. */
export function Charts({ figures, fromMs }: ChartsProps) {
  const now = Date.now();
  const buckets = bucketsOf(figures, fromMs, now, BUCKETS);
  const { overview } = t.engines;
  const has = (value: (it: Bucket) => number | null) => buckets.some((it) => value(it) !== null);
  const jobs: Line[] = [
    { title: overview.chartOk, color: "--chart-bar", values: buckets.map((it) => it.jobs), isBar: true },
    { title: overview.chartFailed, color: "--bad", values: buckets.map((it) => it.failed), isBar: true },
  ];
  const latency: Line[] = [
    { title: t.engines.columns.p50, color: "--accent", values: buckets.map((it) => it.p50_ms) },
    { title: t.engines.columns.p99, color: "--muted", values: buckets.map((it) => it.p99_ms) },
  ];
  const halfMs = (now - fromMs) / buckets.length / 2;
  // A value stands in the middle of its part.
  const times = buckets.map((it) => (it.at_ms + halfMs) / 1_000);
  const range: [number, number] = [fromMs / 1_000, now / 1_000];
  return (
    <div class="charts">
      <Chart title={overview.chartJobs} times={times} range={range} lines={jobs} format={(it) => formatNumber(it)} isWhole />
      {has((it) => it.p50_ms) && <Chart title={overview.chartLatency} times={times} range={range} lines={latency} format={formatJobTime} />}
      {has((it) => it.cpu_ms) && (
        <Chart title={overview.chartCpu} times={times} range={range} lines={[{ title: overview.cpu, color: "--accent", values: buckets.map((it) => it.cpu_ms) }]} format={formatJobTime} />
      )}
      {has((it) => it.memory_bytes) && (
        <Chart title={overview.chartMemory} times={times} range={range} lines={[{ title: overview.memory, color: "--accent", values: buckets.map((it) => it.memory_bytes) }]} format={formatBytes} />
      )}
    </div>
  );
}
