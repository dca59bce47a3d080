// Sizes of images as width × height. No DOM.

export interface Size {
  width: number;
  height: number;
}

/** Ratios that the composer offers for engines with free sizes. */
const RATIOS: readonly [number, number][] = [
  [1, 1],
  [4, 3],
  [3, 2],
  [16, 9],
  [3, 4],
  [2, 3],
  [9, 16],
];
/** Widths and heights are multiples of this, as most models need it. */
const STEP = 64;
const DEFAULT_SIDE = 1024;
/** Below this side a smaller image is no longer useful. */
const MIN_SIDE = 256;

export function parseSize(text: string | null | undefined): Size | undefined {
  const match = /^(\d{1,5})\s*[x×]\s*(\d{1,5})$/i.exec(text?.trim() ?? "");
  const width = Number(match?.[1]);
  const height = Number(match?.[2]);
  return width > 0 && height > 0 ? { width, height } : undefined;
}

export function formatSize({ width, height }: Size): string {
  return `${width}x${height}`;
}

/** For a person: `768 × 512`. */
export function showSize(text: string): string {
  const size = parseSize(text);
  return size ? `${size.width} × ${size.height}` : text;
}

/** Such as `3 : 2`; undefined if it is not a common ratio. */
export function ratioOf({ width, height }: Size): string | undefined {
  const found = RATIOS.find(([w, h]) => Math.abs(width / height / (w / h) - 1) < 0.035);
  return found && `${found[0]} : ${found[1]}`;
}

/** The sizes to offer: those of the model, or the usual ratios with about as many pixels as the default has. */
export function offeredSizes(sizes: readonly string[] | undefined, defaultSize: string | null | undefined): string[] {
  const fixed = sizes?.filter((it) => parseSize(it));
  if (fixed && fixed.length > 0) return fixed;
  const base = parseSize(defaultSize) ?? { width: DEFAULT_SIDE, height: DEFAULT_SIDE };
  const pixels = base.width * base.height;
  return RATIOS.map(([w, h]) => {
    if (Math.abs(base.width / base.height / (w / h) - 1) < 0.001) return formatSize(base);
    const unit = Math.sqrt(pixels / (w * h));
    return formatSize({ width: round(w * unit), height: round(h * unit) });
  });
}

/** The next smaller size of the same ratio, to try after a failure. */
export function smallerSize(text: string | null | undefined): string | undefined {
  const size = parseSize(text);
  if (!size) return undefined;
  const smaller = { width: round(size.width * 0.75), height: round(size.height * 0.75) };
  const isUseful = Math.min(smaller.width, smaller.height) >= MIN_SIDE && smaller.width < size.width && smaller.height < size.height;
  return isUseful ? formatSize(smaller) : undefined;
}

function round(side: number): number {
  return Math.max(STEP, Math.round(side / STEP) * STEP);
}
