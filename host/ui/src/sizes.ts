// Sizes and aspect ratios of images. No DOM.
import type { ImageModel, UsableEngine } from "./api/types.ts";

/** In pixels. */
export interface Size {
  width: number;
  height: number;
}

export interface SizeChoice {
  /** As a request has it: `1024x768`. */
  size: string;
  /** What a button shows: `4:3`, or the size itself if its ratio is unusual. */
  label: string;
  ratio: number;
}

/** Offered if the model lists neither sizes nor ratios. */
const USUAL_RATIOS = ["1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16"];
/** Sizes of models have these too. */
const OTHER_RATIOS = ["4:5", "5:4", "21:9", "7:4", "4:7"];
/** How far a size may differ from a ratio that names it. */
const RATIO_TOLERANCE = 0.02;
const USUAL_AREA = 1024 * 1024;
/** Larger numbers of a ratio make steps between sizes too large. */
const MAX_EXACT = 16;
/** Upstreams need multiples of this. */
const GRID_PX = 16;
const SMALLER_GRID_PX = 64;
/** Smaller sides are not worth a retry. */
const SMALLER_MIN_SIDE_PX = 256;
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

/** As a request has it: `1024x768`. */
export function formatSize({ width, height }: Size): string {
  return `${width}x${height}`;
}

/** For a person: `1024 × 768`. A text that is no size stays. */
export function showSize(text: string): string {
  const size = parseSize(text);
  return size ? `${size.width} × ${size.height}` : text;
}

/** The sizes to choose from: the model's, or usual ratios with as many pixels as the engine's own size. */
export function sizeChoices(engine: UsableEngine | undefined, model: ImageModel | undefined): SizeChoice[] {
  const sizes = (model?.abilities?.sizes ?? []).flatMap((text) => parseSize(text) ?? []);
  if (sizes.length > 0) return sizes.map((size) => ({ size: formatSize(size), label: ratioLabel(size) ?? showSize(formatSize(size)), ratio: size.width / size.height }));
  const own = parseSize(engine?.default_size);
  const area = own ? own.width * own.height : USUAL_AREA;
  const listed = model?.abilities?.aspect_ratios ?? [];
  return (listed.length > 0 ? listed : USUAL_RATIOS).flatMap((label) => {
    const size = sizeOf(label, area);
    return size ? { size: formatSize(size), label, ratio: size.width / size.height } : [];
  });
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

/** The usual ratio that the size has, such as `3:2`. */
export function ratioLabel({ width, height }: Size): string | undefined {
  return [...USUAL_RATIOS, ...OTHER_RATIOS].find((label) => {
    const [a = 0, b = 1] = label.split(":").map(Number);
    return Math.abs(a / b - width / height) < RATIO_TOLERANCE;
  });
}

/** Whether a smaller image may avoid this failure. Upstreams say so in many ways. */
export function isAboutSize(reason: string): boolean {
  return /memory|\boom\b|too large|resolution|pixels|\bsize\b|dimension/i.test(reason);
}

/** A size with about half of the pixels, for an upstream that has too little memory for this one. */
export function smallerSize(text: string | null | undefined): string | undefined {
  const size = parseSize(text);
  if (!size) return undefined;
  const scale = (side: number) => Math.max(SMALLER_MIN_SIDE_PX, Math.round((side * 0.72) / SMALLER_GRID_PX) * SMALLER_GRID_PX);
  const smaller = { width: scale(size.width), height: scale(size.height) };
  return smaller.width * smaller.height < size.width * size.height ? formatSize(smaller) : undefined;
}
