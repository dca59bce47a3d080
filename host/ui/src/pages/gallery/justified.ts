// Justified rows: each row has one height and fills the width, and the images have their own proportions.

export interface Size {
  width: number | null;
  height: number | null;
}

export interface Tile {
  /** Index of the image. */
  index: number;
  left: number;
  width: number;
}

export interface Row {
  top: number;
  height: number;
  tiles: Tile[];
}

export interface Grid {
  rows: Row[];
  /** Of all rows, in pixels. */
  height: number;
}

interface GridOptions {
  /** Of the whole grid, in pixels. */
  width: number;
  /** That rows should have, in pixels. */
  rowHeight: number;
  /** Between tiles and between rows, in pixels. */
  gap: number;
}

/** Proportions beyond these are cropped, so that one panorama does not make a row of its own height. */
const MIN_RATIO = 0.4;
const MAX_RATIO = 3;

/** Width by height, as the grid shows it. An image of unknown size is a square. */
export function ratioOf({ width, height }: Size): number {
  if (!width || !height) return 1;
  return Math.min(MAX_RATIO, Math.max(MIN_RATIO, width / height));
}

/**
 * The rows of all images. `before` are the rows of the first images with the same options: those that are full stay, so
 * that more images cost only their own rows.
 */
export function justify(images: readonly Size[], options: GridOptions, before?: Grid): Grid {
  const { width, rowHeight, gap } = options;
  const rows = before ? before.rows.slice(0, -1) : [];
  const last = rows.at(-1);
  let top = last ? last.top + last.height + gap : 0;
  let first = last ? (last.tiles.at(-1)?.index ?? -1) + 1 : 0;
  let ratios = 0;
  for (let index = first; index < images.length; index += 1) {
    ratios += ratioOf(images[index] ?? { width: 1, height: 1 });
    const inner = width - gap * (index - first);
    const isLast = index === images.length - 1;
    if (inner / ratios > rowHeight && !isLast) continue;
    // The last row is not stretched.
    const height = Math.min(inner / ratios, rowHeight);
    rows.push({ top, height, tiles: placeTiles(images, first, index, { ...options, rowHeight: height }, inner / ratios <= rowHeight) });
    top += height + gap;
    first = index + 1;
    ratios = 0;
  }
  return { rows, height: Math.max(0, top - gap) };
}

function placeTiles(images: readonly Size[], first: number, last: number, options: GridOptions, isFull: boolean): Tile[] {
  const tiles: Tile[] = [];
  let left = 0;
  for (let index = first; index <= last; index += 1) {
    let width = ratioOf(images[index] ?? { width: 1, height: 1 }) * options.rowHeight;
    // The end of a full row is the end of the grid, whatever was rounded.
    if (isFull && index === last) width = options.width - left;
    tiles.push({ index, left, width });
    left += width + options.gap;
  }
  return tiles;
}

/** The rows between two heights, by binary search. */
export function visibleRows({ rows }: Grid, top: number, bottom: number): Row[] {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rows[middle];
    if (row && row.top + row.height < top) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < rows.length && (rows[end]?.top ?? 0) <= bottom) end += 1;
  return rows.slice(low, end);
}

/** The image above or below another one: the nearest in the row before or after. */
export function neighborInRow({ rows }: Grid, index: number, step: -1 | 1): number {
  const at = rows.findIndex((row) => row.tiles.some((tile) => tile.index === index));
  const tile = rows[at]?.tiles.find((it) => it.index === index);
  const target = rows[at + step];
  if (!tile || !target) return index;
  const center = tile.left + tile.width / 2;
  const distance = (it: Tile) => Math.abs(it.left + it.width / 2 - center);
  return target.tiles.reduce((best, it) => (distance(it) < distance(best) ? it : best)).index;
}
