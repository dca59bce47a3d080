import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { language, theme } from "../../../preferences.ts";
import { t } from "../../../text/index.ts";

export interface Line {
  title: string;
  /** A custom property. */
  color: string;
  values: (number | null)[];
  isBar?: boolean;
}

interface ChartProps {
  title: string;
  /** Seconds since 1970. */
  times: number[];
  /** The first and the last time that the chart shows. */
  range: [number, number];
  lines: Line[];
  format: (value: number) => string;
  /** The values are counts. */
  isWhole?: boolean;
}

const HEIGHT_PX = 168;
const AXIS_PX = 62;
const TIME_AXIS_PX = 26;
/** Space between two marks of an axis. */
const MARK_SPACE_PX = 34;
const TIME_SPACE_PX = 84;
/** Room for half a mark of the time axis. */
const END_PX = 24;
const FONT = "12px ui-sans-serif, system-ui, sans-serif";

const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });

/** A chart over time with its legend, which shows the values at the pointer. */
export function Chart({ title, times, range, lines, format, isWhole = false }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const shownRange = useRef(range);
  shownRange.current = range;
  const [pointed, setPointed] = useState<number | undefined>();
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const made = new uPlot(options(element, { lines, format, isWhole, range: shownRange, onPoint: setPointed }), dataOf(times, lines), element);
    plot.current = made;
    const resize = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT_PX }));
    resize.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => made.redraw();
    scheme.addEventListener("change", redraw);
    const stop = theme.subscribe(redraw);
    return () => {
      stop();
      scheme.removeEventListener("change", redraw);
      resize.disconnect();
      made.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(dataOf(times, lines)), [times, lines]);
  const shown = pointed ?? lastIndex(lines);
  const valueOf = (line: Line) => {
    const value = line.values[shown];
    return value === null || value === undefined ? t.admin.none : format(value);
  };
  const newest = lines.map((it) => `${it.title} ${valueOf(it)}`).join(", ");
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong>
        <span class="chart-legend">
          {pointed !== undefined && <span class="muted">{clock.format((times[pointed] ?? 0) * 1_000)}</span>}
          {lines.map((line) => (
            <span key={line.title} class={`chart-key key${line.color}`}>
              {line.title} <b>{valueOf(line)}</b>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={place} class="chart-plot" role="img" aria-label={t.engines.overview.chartLabel(title, newest)} />
    </figure>
  );
}

function lastIndex(lines: readonly Line[]): number {
  return Math.max(0, ...lines.map((line) => line.values.findLastIndex((it) => it !== null)));
}

/** Times, then the values of each line. */
function dataOf(times: number[], lines: readonly Line[]): uPlot.AlignedData {
  return [times, ...lines.map((it) => it.values)];
}

interface PlotOptions {
  lines: readonly Line[];
  format: (value: number) => string;
  isWhole: boolean;
  /** Changes with time. */
  range: { current: [number, number] };
  onPoint: (index: number | undefined) => void;
}

function options(element: HTMLElement, { lines, format, isWhole, range, onPoint }: PlotOptions): uPlot.Options {
  const color = (name: string) => colorOf(element, name);
  const bars = uPlot.paths.bars?.({ size: [0.75, 12], radius: 0.15 });
  const axis = { font: FONT, stroke: () => color("--muted"), ticks: { show: false }, gap: 6 };
  return {
    width: element.clientWidth,
    height: HEIGHT_PX,
    padding: [8, END_PX, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: !lines.some((it) => it.isBar) }, drag: { x: false, y: false } },
    scales: { x: { time: true, range: () => range.current }, y: { range: (_plot, _min, max) => [0, Math.max(isWhole ? 4 : 0, max * 1.1) || 1] } },
    axes: [
      { ...axis, size: TIME_AXIS_PX, space: TIME_SPACE_PX, grid: { show: false }, values: (_plot, marks) => marks.map((it) => clock.format(it * 1_000)) },
      {
        ...axis,
        size: AXIS_PX,
        space: MARK_SPACE_PX,
        grid: { stroke: () => color("--hairline"), width: 1 },
        ...(isWhole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000] } : {}),
        values: (_plot, marks) => marks.map((it) => (it === 0 ? "0" : format(it))),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        label: line.title,
        stroke: () => color(line.color),
        width: line.isBar ? 0 : 1.5,
        spanGaps: true,
        points: { show: false },
        ...(line.isBar && bars ? { paths: bars, fill: () => color(line.color) } : {}),
      })),
    ],
    hooks: { setCursor: [(plot) => onPoint(plot.cursor.idx ?? undefined)] },
  };
}

/** The value of a custom property in the current scheme, in a form that a canvas takes. */
function colorOf(element: HTMLElement, name: string): string {
  element.style.color = `var(${name})`;
  const { color } = getComputedStyle(element);
  element.style.color = "";
  return color;
}
