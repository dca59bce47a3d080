// Where an image stands in a window that zooms and pans. No DOM.
import { clamp, type Point } from "./mask_bitmap.ts";

export interface Size {
  width: number;
  height: number;
}

/** A pixel of the image at `p` is shown at `p * scale + offset`. */
export interface View {
  scale: number;
  x: number;
  y: number;
}

/** Pixels of the screen for one of the image. */
const MAX_SCALE = 32;
/** How much of the image stays visible, in pixels of the screen. */
const MIN_VISIBLE_PX = 48;

/** The whole image in the middle, not larger than `maxScale`. */
export function fit(image: Size, window: Size, margin = 16, maxScale = 4): View {
  const width = Math.max(1, window.width - 2 * margin);
  const height = Math.max(1, window.height - 2 * margin);
  const scale = Math.min(width / image.width, height / image.height, maxScale);
  return { scale, x: (window.width - image.width * scale) / 2, y: (window.height - image.height * scale) / 2 };
}

export function toImage(view: View, point: Point): Point {
  return { x: (point.x - view.x) / view.scale, y: (point.y - view.y) / view.scale };
}

export function toWindow(view: View, point: Point): Point {
  return { x: point.x * view.scale + view.x, y: point.y * view.scale + view.y };
}

/** Zooms so that what is at this point of the window stays there. */
export function zoomAt(view: View, factor: number, at: Point, image: Size, window: Size): View {
  const smallest = Math.min(fit(image, window).scale, 1) / 2;
  const scale = clamp(view.scale * factor, smallest, MAX_SCALE);
  const under = toImage(view, at);
  return keepVisible({ scale, x: at.x - under.x * scale, y: at.y - under.y * scale }, image, window);
}

export function panBy(view: View, delta: Point, image: Size, window: Size): View {
  return keepVisible({ ...view, x: view.x + delta.x, y: view.y + delta.y }, image, window);
}

/** Pans so that a point of the image is in the window, such as a crosshair that is moved by keys. */
export function reveal(view: View, point: Point, window: Size): View {
  const at = toWindow(view, point);
  return {
    ...view,
    x: view.x + clamp(at.x, MIN_VISIBLE_PX, Math.max(MIN_VISIBLE_PX, window.width - MIN_VISIBLE_PX)) - at.x,
    y: view.y + clamp(at.y, MIN_VISIBLE_PX, Math.max(MIN_VISIBLE_PX, window.height - MIN_VISIBLE_PX)) - at.y,
  };
}

function keepVisible(view: View, image: Size, window: Size): View {
  return {
    ...view,
    x: clamp(view.x, MIN_VISIBLE_PX - image.width * view.scale, window.width - MIN_VISIBLE_PX),
    y: clamp(view.y, MIN_VISIBLE_PX - image.height * view.scale, window.height - MIN_VISIBLE_PX),
  };
}
