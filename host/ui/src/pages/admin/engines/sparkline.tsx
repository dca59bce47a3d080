/** Size in the units of the drawing. */
const WIDTH = 96;
const HEIGHT = 24;
/** Room for the line's own width. */
const INSET = 1.5;

/** A small line of values over time. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  const top = Math.max(1, ...values);
  const step = WIDTH / Math.max(1, values.length - 1);
  const y = (value: number) => HEIGHT - INSET - (value / top) * (HEIGHT - 2 * INSET);
  const points = values.map((value, index) => `${round(index * step)},${round(y(value))}`);
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}>
      <path class="area" d={`M0,${HEIGHT} L${points.join(" L")} L${WIDTH},${HEIGHT} Z`} />
      <polyline points={points.join(" ")} />
    </svg>
  );
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
