import type { Size } from "../../sizes.ts";

/** The style of an image's frame: it has its place before the image is loaded. */
export function frameOf({ width, height }: Size): Record<string, string> {
  return { aspectRatio: `${width} / ${height}`, "--ratio": String(Math.min(3, Math.max(0.3, width / height))) };
}
