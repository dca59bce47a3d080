// Charts of an engine's figures. The only module that loads the chart library.
import { useState } from "preact/hooks";
import { Failure } from "../../../components/notice.tsx";
import { useResource } from "../../../components/resource.ts";
import { formatBytes, formatNumber } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { Chart, type Line } from "./chart.tsx";
import { formatJobTime } from "./job_time.ts";
import { engineStats } from "./requests.ts";
import { bucketsOf, type Bucket } from "./series.ts";
import type { EngineStats, StatsRange } from "./types.ts";

const RANGES: readonly StatsRange[] = ["1h", "24h"];

interface ChartsProps {
  name: string;
  /** Changes when there are new figures. */
  jobs: number;
}

/** The figures of the last hour or day. */
export function Charts({ name, jobs }: ChartsProps) {
  const [range, setRange] = useState<StatsRange>("1h");
  const stats = useResource((signal) => engineStats(name, range, signal), [name, range, jobs]);
  return (
    <div class="stack">
      <div class="segmented charts-range" role="group" aria-label={t.engines.overview.range}>
        {RANGES.map((it) => (
          <button key={it} type="button" aria-pressed={it === range} onClick={() => setRange(it)}>
            {t.engines.overview.ranges[it]}
          </button>
        ))}
      </div>
      {stats.error !== undefined && <Failure error={stats.error} onRetry={stats.reload} />}
      {stats.value ? <ChartGrid stats={stats.value} /> : stats.error === undefined && <div class="chart-skeleton" aria-hidden="true" />}
    </div>
  );
}

function ChartGrid({ stats }: { stats: EngineStats }) {
  const { overview } = t.engines;
  const buckets = bucketsOf(stats, Date.now());
  const times = buckets.map((it) => it.at);
  const line = (title: string, color: string, value: (it: Bucket) => number | null): Line => ({ title, color, values: buckets.map(value) });
  const jobs = [line(overview.chartOk, "--chart-bar", (it) => it.jobs), line(overview.chartFailed, "--bad", (it) => it.failed)];
  const half = stats.interval_secs / 2;
  const range: [number, number] = [(times[0] ?? 0) - half, (times.at(-1) ?? 0) + half];
  const shared = { times, range };
  return (
    <div class="charts">
      <Chart {...shared} title={overview.chartJobs} lines={jobs.map((it) => ({ ...it, isBar: true }))} format={(it) => formatNumber(it)} isWhole />
      <Chart {...shared} title={overview.chartLatency} lines={[line(t.engines.columns.p50, "--accent", (it) => it.p50_ms), line(t.engines.columns.p99, "--muted", (it) => it.p99_ms)]} format={formatJobTime} />
      <Chart {...shared} title={overview.chartCpu} lines={[line(overview.mean, "--accent", (it) => it.cpu_ms)]} format={formatJobTime} />
      <Chart {...shared} title={overview.chartMemory} lines={[line(overview.largest, "--accent", (it) => it.memory_bytes)]} format={formatBytes} />
    </div>
  );
}
