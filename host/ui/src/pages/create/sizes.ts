// Sizes and aspect ratios of images, and how a batch of them is laid out. No DOM.
import type { ImageModel, UsableEngine } from "../../api/types.ts";

export interface Size {
  width: number;
  height: number;
}

export interface SizeChoice {
  /** As a request has it: `1024x768`. */
  size: string;
  /** What the button shows: `4:3`, or the size itself if its ratio is unusual. */
  label: string;
  ratio: number;
}

/** Offered if the model lists neither sizes nor ratios. */
const USUAL_RATIOS = ["1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16"];
const USUAL_AREA = 1024 * 1024;
/** Larger numbers of a ratio make steps between sizes too large. */
const MAX_EXACT = 16;
/** Upstreams need multiples of this. */
const GRID_PX = 16;
const SMALLER_GRID_PX = 64;
const MIN_SIDE_PX = 64;
const MAX_SIDE_PX = 8_192;

export function parseSize(text: string | null | undefined): Size | undefined {
  const match = /^(\d{1,5})\s*[x×]\s*(\d{1,5})$/i.exec(text?.trim() ?? "");
  const width = Number(match?.[1]);
  const height = Number(match?.[2]);
  return width > 0 && height > 0 ? { width, height } : undefined;
}

export function isUsableSize({ width, height }: Size): boolean {
  return [width, height].every((side) => Number.isInteger(side) && side >= MIN_SIDE_PX && side <= MAX_SIDE_PX);
}

/** The sizes to choose from: the model's, or usual ratios with as many pixels as the engine's own size. */
export function sizeChoices(engine: UsableEngine | undefined, model: ImageModel | undefined): SizeChoice[] {
  const sizes = (model?.abilities?.sizes ?? []).flatMap((text) => parseSize(text) ?? []);
  if (sizes.length > 0) return sizes.map((size) => ({ size: sizeText(size), label: ratioLabel(size), ratio: size.width / size.height }));
  const own = parseSize(engine?.default_size);
  const area = own ? own.width * own.height : USUAL_AREA;
  const listed = model?.abilities?.aspect_ratios ?? [];
  return (listed.length > 0 ? listed : USUAL_RATIOS).flatMap((label) => {
    const size = sizeOf(label, area);
    return size ? { size: sizeText(size), label, ratio: size.width / size.height } : [];
  });
}

export function parseRatio(text: string): number | undefined {
  const [width, height] = text.split(":").map(Number);
  return width && height && width > 0 && height > 0 ? width / height : undefined;
}

/** The size of a ratio with about this many pixels: exactly of the ratio if its numbers are small. */
export function sizeOf(label: string, area: number): Size | undefined {
  const [a = 0, b = 0] = label.split(":").map(Number);
  if (!(a > 0 && b > 0)) return undefined;
  const divisor = greatestDivisor(a, b);
  const [width, height] = [a / divisor, b / divisor];
  const isSmall = Number.isInteger(width) && Number.isInteger(height) && width <= MAX_EXACT && height <= MAX_EXACT;
  if (isSmall) {
    const times = GRID_PX * Math.max(1, Math.round(Math.sqrt(area / (width * height)) / GRID_PX));
    return { width: width * times, height: height * times };
  }
  const round = (side: number) => Math.max(GRID_PX, Math.round(side / GRID_PX) * GRID_PX);
  return { width: round(Math.sqrt((area * a) / b)), height: round(Math.sqrt((area * b) / a)) };
}

function greatestDivisor(a: number, b: number): number {
  return b < 1e-9 ? a : greatestDivisor(b, a % b);
}

export function sizeText({ width, height }: Size): string {
  return `${width}x${height}`;
}

/** The usual ratio that the size has, or else the size. */
function ratioLabel({ width, height }: Size): string {
  const usual = [...USUAL_RATIOS, "4:5", "5:4", "21:9", "7:4", "4:7"];
  return usual.find((label) => Math.abs((parseRatio(label) ?? 0) - width / height) < 0.02) ?? `${width}×${height}`;
}

/** A size with about half of the pixels, for an upstream that has too little memory for this one. */
export function smallerSize(text: string | undefined): string | undefined {
  const size = parseSize(text);
  if (!size) return undefined;
  const scale = (side: number) => Math.max(256, Math.round((side * 0.72) / SMALLER_GRID_PX) * SMALLER_GRID_PX);
  const smaller = { width: scale(size.width), height: scale(size.height) };
  return smaller.width * smaller.height < size.width * size.height ? sizeText(smaller) : undefined;
}

/** The columns with which images of this ratio are largest in a place of the other ratio. */
export function columnsFor(count: number, imageRatio: number, placeRatio: number): number {
  let best = { columns: 1, width: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const width = Math.min(placeRatio / columns, imageRatio / rows);
    // Almost as large with fewer columns looks calmer.
    if (width > best.width * 1.001) best = { columns, width };
  }
  return best.columns;
}
