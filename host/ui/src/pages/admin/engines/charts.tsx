// Charts of an engine's figures. The only module that loads the chart library.
import { formatBytes, formatDuration, formatNumber } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { Chart, type Line } from "./chart.tsx";
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
  const buckets = bucketsOf(figures, fromMs, Date.now(), BUCKETS);
  const { overview } = t.engines;
  const has = (value: (it: Bucket) => number | null) => buckets.some((it) => value(it) !== null);
  const jobs: Line[] = [
    { title: overview.chartOk, color: "--accent", values: buckets.map((it) => it.jobs), isBar: true },
    { title: overview.chartFailed, color: "--bad", values: buckets.map((it) => it.failed), isBar: true },
  ];
  const latency: Line[] = [
    { title: t.engines.columns.p50, color: "--accent", values: buckets.map((it) => it.p50_ms) },
    { title: t.engines.columns.p99, color: "--muted", values: buckets.map((it) => it.p99_ms) },
  ];
  const times = buckets.map((it) => it.at_ms / 1_000);
  return (
    <div class="charts">
      <Chart title={overview.chartJobs} times={times} lines={jobs} format={(it) => formatNumber(it)} isWhole />
      {has((it) => it.p50_ms) && <Chart title={overview.chartLatency} times={times} lines={latency} format={formatDuration} />}
      {has((it) => it.cpu_ms) && (
        <Chart title={overview.chartCpu} times={times} lines={[{ title: overview.cpu, color: "--accent", values: buckets.map((it) => it.cpu_ms) }]} format={formatDuration} />
      )}
      {has((it) => it.memory_bytes) && (
        <Chart title={overview.chartMemory} times={times} lines={[{ title: overview.memory, color: "--accent", values: buckets.map((it) => it.memory_bytes) }]} format={formatBytes} />
      )}
    </div>
  );
}
