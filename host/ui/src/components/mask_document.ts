// A source image with its mask: what the editor shows, changes, stores and returns.
import { signal } from "@preact/signals";
import { maskName, readLocalImage, removeLocalImage, storeLocalImage } from "./local_images.ts";
import { MaskBitmap, union, type Rect } from "./mask_bitmap.ts";
import { MaskHistory } from "./mask_history.ts";

/** The color of the mask above the image. */
const OVERLAY_RGB = [255, 92, 40] as const;
/** Time without a change after which the mask is stored. */
const STORE_DELAY_MS = 500;

export class MaskDocument {
  readonly image: HTMLImageElement;
  readonly mask: MaskBitmap;
  /** The mask in its color, of the size of the image. */
  readonly overlay: HTMLCanvasElement;
  /** Counts the changes. */
  readonly revision = signal(0);
  private readonly sourceId: string;
  private readonly history = new MaskHistory();
  private before: Uint8Array | undefined;
  private changed: Rect | undefined;
  private storing: ReturnType<typeof setTimeout> | undefined;

  private constructor(image: HTMLImageElement, sourceId: string) {
    this.image = image;
    this.sourceId = sourceId;
    this.mask = new MaskBitmap(image.naturalWidth, image.naturalHeight);
    this.overlay = canvasOf(this.mask.width, this.mask.height);
  }

  /** Loads the image and the mask that was drawn on it last. */
  static async open(source: string, sourceId: string): Promise<MaskDocument> {
    const document = new MaskDocument(await loadImage(source), sourceId);
    const stored = await readLocalImage(maskName(sourceId));
    if (stored) {
      await document.read(stored).catch(() => undefined);
      document.draw(document.mask.bounds);
    }
    return document;
  }

  get canUndo(): boolean {
    return this.history.canUndo;
  }

  get canRedo(): boolean {
    return this.history.canRedo;
  }

  /** Begins a change that consists of several pieces, such as a stroke. */
  begin(): void {
    this.before = this.mask.copy(this.mask.bounds);
    this.changed = undefined;
  }

  /** Draws a piece of the change. */
  extend(piece: (mask: MaskBitmap) => Rect): void {
    const rect = piece(this.mask);
    this.changed = union(this.changed, rect);
    this.draw(rect);
  }

  /** Ends the change, which becomes one step of the history. */
  end(): void {
    if (this.before && this.changed) {
      const { width, height } = this.mask;
      this.history.note(this.changed, new MaskBitmap(width, height, this.before).copy(this.changed));
      this.noteChange();
    }
    this.before = undefined;
  }

  /** Takes back what was drawn since the change began. */
  abandon(): void {
    if (this.before && this.changed) {
      this.mask.values.set(this.before);
      this.draw(this.changed);
    }
    this.before = undefined;
  }

  /** Makes a change of one piece. */
  change(piece: (mask: MaskBitmap) => Rect): void {
    this.begin();
    this.extend(piece);
    this.end();
  }

  undo(): void {
    this.afterStep(this.history.undo(this.mask));
  }

  redo(): void {
    this.afterStep(this.history.redo(this.mask));
  }

  /** Replaces the mask by an image: transparent pixels may change; of an opaque image, the light ones. */
  async load(file: Blob): Promise<void> {
    this.begin();
    try {
      await this.read(file);
    } catch (error) {
      this.abandon();
      throw error;
    }
    this.extend((mask) => mask.bounds);
    this.end();
  }

  /** The mask as PNG of the size of the image: transparent where it may change. */
  async toPng(): Promise<Blob> {
    const { width, height, values } = this.mask;
    const canvas = canvasOf(width, height);
    const pixels = new ImageData(width, height);
    for (let at = 0; at < values.length; at++) pixels.data[at * 4 + 3] = 255 - (values[at] ?? 0);
    contextOf(canvas).putImageData(pixels, 0, 0);
    return new Promise((resolve, reject) => {
      canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no memory for the mask"))), "image/png");
    });
  }

  /** Stores the mask in this browser at once. */
  async store(): Promise<void> {
    clearTimeout(this.storing);
    if (this.mask.isEmpty()) await removeLocalImage(maskName(this.sourceId));
    else await storeLocalImage(maskName(this.sourceId), await this.toPng());
  }

  private async read(file: Blob): Promise<void> {
    const url = URL.createObjectURL(file);
    try {
      const image = await loadImage(url);
      const { width, height, values } = this.mask;
      const context = contextOf(canvasOf(width, height));
      context.drawImage(image, 0, 0, width, height);
      const { data } = context.getImageData(0, 0, width, height);
      const byte = (at: number) => data[at] ?? 0;
      let isOpaque = true;
      for (let at = 3; at < data.length && isOpaque; at += 4) isOpaque = byte(at) === 255;
      for (let at = 0; at < values.length; at++) {
        const pixel = at * 4;
        const light = 0.299 * byte(pixel) + 0.587 * byte(pixel + 1) + 0.114 * byte(pixel + 2);
        values[at] = isOpaque ? light : 255 - byte(pixel + 3);
      }
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  private afterStep(rect: Rect | undefined): void {
    if (!rect) return;
    this.draw(rect);
    this.noteChange();
  }

  private noteChange(): void {
    this.revision.value++;
    clearTimeout(this.storing);
    this.storing = setTimeout(() => void this.store(), STORE_DELAY_MS);
  }

  /** Draws the pixels of the mask into the overlay. */
  private draw(rect: Rect): void {
    if (rect.width === 0 || rect.height === 0) return;
    const pixels = new ImageData(rect.width, rect.height);
    const values = this.mask.copy(rect);
    const [red, green, blue] = OVERLAY_RGB;
    for (let at = 0; at < values.length; at++) {
      pixels.data[at * 4] = red;
      pixels.data[at * 4 + 1] = green;
      pixels.data[at * 4 + 2] = blue;
      pixels.data[at * 4 + 3] = values[at] ?? 0;
    }
    contextOf(this.overlay).putImageData(pixels, rect.x, rect.y);
  }
}

async function loadImage(url: string): Promise<HTMLImageElement> {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

function canvasOf(width: number, height: number): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

export function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser cannot draw");
  return context;
}
