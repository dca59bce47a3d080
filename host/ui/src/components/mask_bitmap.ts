// The pixels of a mask, and what changes them: strokes of a brush, filled outlines, inversion. No DOM.

export interface Point {
  x: number;
  y: number;
}

/** In whole pixels. */
export interface Rect extends Point {
  width: number;
  height: number;
}

export interface BrushPoint extends Point {
  radius: number;
}

/** Whether pixels are added to the mask or removed from it. */
export type MaskChange = "add" | "remove";

/** For each pixel of an image how far it may change: 0 not at all, 255 fully. */
export class MaskBitmap {
  readonly width: number;
  readonly height: number;
  readonly values: Uint8Array;

  constructor(width: number, height: number, values: Uint8Array = new Uint8Array(width * height)) {
    this.width = width;
    this.height = height;
    this.values = values;
  }

  get bounds(): Rect {
    return { x: 0, y: 0, width: this.width, height: this.height };
  }

  isEmpty(): boolean {
    const { values } = this;
    let at = 0;
    while (at < values.length && values[at] === 0) at++;
    return at === values.length;
  }

  /** The fraction of the image that may change. */
  coverage(): number {
    const { values } = this;
    let sum = 0;
    // An iterator would take ten times as long.
    for (let at = 0; at < values.length; at++) sum += values[at] ?? 0;
    return values.length === 0 ? 0 : sum / (255 * values.length);
  }

  copy(rect: Rect): Uint8Array {
    const part = new Uint8Array(rect.width * rect.height);
    for (let row = 0; row < rect.height; row++) {
      const start = (rect.y + row) * this.width + rect.x;
      part.set(this.values.subarray(start, start + rect.width), row * rect.width);
    }
    return part;
  }

  paste(rect: Rect, part: Uint8Array): void {
    for (let row = 0; row < rect.height; row++) {
      const line = part.subarray(row * rect.width, (row + 1) * rect.width);
      this.values.set(line, (rect.y + row) * this.width + rect.x);
    }
  }

  invert(): Rect {
    const { values } = this;
    for (let at = 0; at < values.length; at++) values[at] = 255 - (values[at] ?? 0);
    return this.bounds;
  }

  clear(): Rect {
    this.values.fill(0);
    return this.bounds;
  }

  /**
   * Draws one piece of a stroke, whose radius may change on the way. `softness` is the part of the radius that fades
   * out. Returns the pixels that may have changed.
   */
  stroke(from: BrushPoint, to: BrushPoint, softness: number, change: MaskChange): Rect {
    const reach = Math.max(from.radius, to.radius) + 1;
    const rect = this.clip(
      Math.min(from.x, to.x) - reach,
      Math.min(from.y, to.y) - reach,
      Math.max(from.x, to.x) + reach,
      Math.max(from.y, to.y) + reach,
    );
    const dx = to.x - from.x;
    const dy = to.y - from.y;
    const lengthSquared = dx * dx + dy * dy;
    for (let y = rect.y; y < rect.y + rect.height; y++) {
      for (let x = rect.x; x < rect.x + rect.width; x++) {
        const px = x + 0.5 - from.x;
        const py = y + 0.5 - from.y;
        const along = lengthSquared === 0 ? 0 : clamp((px * dx + py * dy) / lengthSquared, 0, 1);
        const offX = px - along * dx;
        const offY = py - along * dy;
        const distance = Math.sqrt(offX * offX + offY * offY);
        const radius = from.radius + along * (to.radius - from.radius);
        this.blend(y * this.width + x, 255 * brushStrength(distance, radius, softness), change);
      }
    }
    return rect;
  }

  /** Fills an outline, whose edge fades over `feather` pixels. Returns the pixels that may have changed. */
  fill(outline: readonly Point[], feather: number, change: MaskChange): Rect {
    const xs = outline.map((it) => it.x);
    const ys = outline.map((it) => it.y);
    const rect = this.clip(
      Math.min(...xs) - feather,
      Math.min(...ys) - feather,
      Math.max(...xs) + feather,
      Math.max(...ys) + feather,
    );
    if (outline.length < 3 || rect.width === 0 || rect.height === 0) return { x: 0, y: 0, width: 0, height: 0 };
    const inside = outlineStrength(outline, rect);
    if (feather >= 1) blur(inside, rect, Math.max(1, Math.round(feather / 3)));
    for (let row = 0; row < rect.height; row++) {
      for (let column = 0; column < rect.width; column++) {
        const at = (rect.y + row) * this.width + rect.x + column;
        this.blend(at, 255 * (inside[row * rect.width + column] ?? 0), change);
      }
    }
    return rect;
  }

  private blend(at: number, strength: number, change: MaskChange): void {
    const before = this.values[at] ?? 0;
    this.values[at] = change === "add" ? Math.max(before, Math.round(strength)) : Math.min(before, Math.round(255 - strength));
  }

  /** The whole pixels between two corners that are in the image. */
  private clip(left: number, top: number, right: number, bottom: number): Rect {
    const x = clamp(Math.floor(left), 0, this.width);
    const y = clamp(Math.floor(top), 0, this.height);
    return { x, y, width: clamp(Math.ceil(right), x, this.width) - x, height: clamp(Math.ceil(bottom), y, this.height) - y };
  }
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

/** The outline of a rectangle between two corners. */
export function rectangleOutline(a: Point, b: Point): Point[] {
  return [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }];
}

/** The smallest rectangle around both. */
export function union(a: Rect | undefined, b: Rect): Rect {
  if (!a || a.width === 0 || a.height === 0) return b;
  if (b.width === 0 || b.height === 0) return a;
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return {
    x,
    y,
    width: Math.max(a.x + a.width, b.x + b.width) - x,
    height: Math.max(a.y + a.height, b.y + b.height) - y,
  };
}

/** How much of a pixel at this distance from the middle of the brush is painted. */
function brushStrength(distance: number, radius: number, softness: number): number {
  const edge = radius * softness + 1;
  const strength = clamp((radius + 0.5 - distance) / edge, 0, 1);
  return softness === 0 ? strength : strength * strength * (3 - 2 * strength);
}

/** Lines that are sampled in each row of pixels. */
const SAMPLES = 4;

/** For each pixel of the rectangle how much of it lies in the outline, which may cross itself. */
function outlineStrength(outline: readonly Point[], rect: Rect): Float32Array {
  const inside = new Float32Array(rect.width * rect.height);
  for (let sample = 0; sample < rect.height * SAMPLES; sample++) {
    const y = rect.y + (sample + 0.5) / SAMPLES;
    const row = Math.floor(sample / SAMPLES) * rect.width;
    let winding = 0;
    let start = 0;
    for (const crossing of crossings(outline, y)) {
      const x = clamp(crossing.x - rect.x, 0, rect.width);
      if (winding !== 0) addSpan(inside, row, start, x);
      winding += crossing.direction;
      start = x;
    }
  }
  return inside;
}

function crossings(outline: readonly Point[], y: number): { x: number; direction: number }[] {
  const found: { x: number; direction: number }[] = [];
  let from = outline.at(-1);
  for (const to of outline) {
    if (from && from.y <= y !== to.y <= y) {
      found.push({ x: from.x + ((y - from.y) * (to.x - from.x)) / (to.y - from.y), direction: from.y < to.y ? 1 : -1 });
    }
    from = to;
  }
  return found.sort((a, b) => a.x - b.x);
}

/** Adds one sample between two places of a row, also to the parts of pixels at its ends. */
function addSpan(inside: Float32Array, row: number, start: number, end: number): void {
  for (let x = Math.floor(start); x < end; x++) {
    const part = Math.min(end, x + 1) - Math.max(start, x);
    inside[row + x] = (inside[row + x] ?? 0) + part / SAMPLES;
  }
}

/** Three box blurs, which are close to a Gaussian one. */
function blur(values: Float32Array, { width, height }: Rect, radius: number): void {
  for (let pass = 0; pass < 3; pass++) {
    for (let y = 0; y < height; y++) blurLine(values, y * width, 1, width, radius);
    for (let x = 0; x < width; x++) blurLine(values, x, width, height, radius);
  }
}

function blurLine(values: Float32Array, start: number, step: number, length: number, radius: number): void {
  const line = new Float32Array(length);
  for (let at = 0; at < length; at++) line[at] = values[start + at * step] ?? 0;
  // Beyond the ends the line continues with its last values, so that a mask at the edge of the image stays full.
  const value = (at: number) => line[clamp(at, 0, length - 1)] ?? 0;
  let sum = 0;
  for (let at = -radius; at <= radius; at++) sum += value(at);
  for (let at = 0; at < length; at++) {
    values[start + at * step] = sum / (2 * radius + 1);
    sum += value(at + radius + 1) - value(at - radius);
  }
}
