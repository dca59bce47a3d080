// The canvas of the mask editor: draws the image, its mask and the tool, and turns pointers and keys into changes.
import { clamp, rectangleOutline, type BrushPoint, type Point } from "./mask_bitmap.ts";
import { contextOf, type MaskDocument } from "./mask_document.ts";
import { fit, panBy, reveal, toImage, toWindow, zoomAt, type Size, type View } from "./mask_view.ts";

export type MaskTool = "brush" | "eraser" | "rectangle" | "lasso" | "hand";

export interface MaskSettings {
  tool: MaskTool;
  /** Diameter of the brush in pixels of the image. */
  size: number;
  /** The part of the radius that fades out, 0 to 1. */
  softness: number;
  /** Of the mask above the image, 0 to 1. */
  opacity: number;
}

/** What a pointer that is down does. */
type Action =
  | { kind: "stroke"; last: BrushPoint }
  | { kind: "rectangle"; from: Point; to: Point }
  | { kind: "lasso"; outline: Point[] }
  | { kind: "pan"; last: Point };

/** The smallest part of the brush that a light touch of a pen paints. */
const MIN_PRESSURE = 0.15;
const ZOOM_STEP = 1.25;
/** Pixels of the image that an arrow key moves the crosshair; with Shift one pixel. */
const KEY_STEP_FRACTION = 0.5;

export class MaskCanvas {
  settings: MaskSettings;
  private readonly canvas: HTMLCanvasElement;
  private readonly document: MaskDocument;
  private view: View = { scale: 1, x: 0, y: 0 };
  private window: Size = { width: 1, height: 1 };
  private isFitted = true;
  private readonly pointers = new Map<number, Point>();
  private action: Action | undefined;
  private pointer: Point | undefined;
  private crosshair: Point | undefined;
  private frame = 0;
  private readonly observer: ResizeObserver;

  constructor(canvas: HTMLCanvasElement, document: MaskDocument, settings: MaskSettings) {
    this.canvas = canvas;
    this.document = document;
    this.settings = settings;
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(canvas);
    // Preact's listener would be passive, and the page would scroll.
    canvas.addEventListener("wheel", this.onWheel, { passive: false });
  }

  dispose(): void {
    this.observer.disconnect();
    this.canvas.removeEventListener("wheel", this.onWheel);
    cancelAnimationFrame(this.frame);
  }

  /** Draws with the next frame. */
  redraw(): void {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  fit(): void {
    this.isFitted = true;
    this.view = fit(this.image, this.window);
    this.redraw();
  }

  zoom(steps: number): void {
    const middle = { x: this.window.width / 2, y: this.window.height / 2 };
    this.zoomAt(ZOOM_STEP ** steps, this.crosshair ? toWindow(this.view, this.crosshair) : middle);
  }

  /** Arrow keys move the crosshair, Space and Enter paint at it. Returns whether the key was for the canvas. */
  key(event: KeyboardEvent): boolean {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const paints = event.key === " " || event.key === "Enter";
    if (!direction && !paints) return false;
    const from = this.crosshair ?? { x: this.image.width / 2, y: this.image.height / 2 };
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(this.settings.size * KEY_STEP_FRACTION));
    const [dx = 0, dy = 0] = direction ?? [];
    this.crosshair = { x: clamp(from.x + dx * step, 0, this.image.width), y: clamp(from.y + dy * step, 0, this.image.height) };
    this.view = reveal(this.view, this.crosshair, this.window);
    // With Ctrl the brush stays down, so that a line is painted.
    if (paints || event.ctrlKey) this.paintLine(event.ctrlKey ? from : this.crosshair, this.crosshair);
    this.redraw();
    return true;
  }

  hideCrosshair(): void {
    this.crosshair = undefined;
    this.redraw();
  }

  down(event: PointerEvent): void {
    this.canvas.setPointerCapture(event.pointerId);
    const point = this.pointOf(event);
    this.pointers.set(event.pointerId, point);
    this.crosshair = undefined;
    this.pointer = point;
    if (this.pointers.size > 1) {
      // The second finger zooms: what the first began was not meant.
      this.document.abandon();
      this.action = undefined;
    } else {
      this.begin(event, point);
    }
    this.redraw();
  }

  move(event: PointerEvent): void {
    const point = this.pointOf(event);
    this.pointer = event.pointerType === "touch" ? undefined : point;
    if (this.pointers.size === 2 && this.pointers.has(event.pointerId)) this.pinch(event.pointerId, point);
    else if (this.pointers.has(event.pointerId)) {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length > 0 ? steps : [event]) this.continue(step, this.pointOf(step));
    }
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, point);
    this.redraw();
  }

  up(event: PointerEvent): void {
    if (!this.pointers.delete(event.pointerId)) return;
    const { action } = this;
    this.action = undefined;
    if (action?.kind === "stroke") this.document.end();
    if (action?.kind === "rectangle") this.fill(rectangleOutline(action.from, action.to));
    if (action?.kind === "lasso") this.fill(action.outline);
    this.redraw();
  }

  leave(): void {
    this.pointer = undefined;
    this.redraw();
  }

  private get image(): Size {
    return this.document.mask;
  }

  private begin(event: PointerEvent, point: Point): void {
    const { tool } = this.settings;
    const at = toImage(this.view, point);
    if (tool === "hand" || event.button === 1) this.action = { kind: "pan", last: point };
    else if (event.button !== 0) return;
    else if (tool === "rectangle") this.action = { kind: "rectangle", from: this.inside(at), to: this.inside(at) };
    else if (tool === "lasso") this.action = { kind: "lasso", outline: [at] };
    else {
      const last = this.brushAt(at, event);
      this.document.begin();
      this.strokeTo(last, last);
      this.action = { kind: "stroke", last };
    }
  }

  private continue(event: PointerEvent, point: Point): void {
    const { action } = this;
    const at = toImage(this.view, point);
    if (action?.kind === "stroke") {
      const next = this.brushAt(at, event);
      this.strokeTo(action.last, next);
      action.last = next;
    } else if (action?.kind === "rectangle") action.to = this.inside(at);
    else if (action?.kind === "lasso") action.outline.push(at);
    else if (action?.kind === "pan") {
      this.isFitted = false;
      this.view = panBy(this.view, { x: point.x - action.last.x, y: point.y - action.last.y }, this.image, this.window);
      action.last = point;
    }
  }

  /** Two fingers: the distance between them zooms, their middle pans. */
  private pinch(id: number, point: Point): void {
    const before = this.pointers.get(id);
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    if (!before || !other) return;
    const middle = (a: Point) => ({ x: (a.x + other.x) / 2, y: (a.y + other.y) / 2 });
    const distance = (a: Point) => Math.max(1, Math.hypot(a.x - other.x, a.y - other.y));
    const from = middle(before);
    const to = middle(point);
    this.view = panBy(this.view, { x: to.x - from.x, y: to.y - from.y }, this.image, this.window);
    this.zoomAt(distance(point) / distance(before), to);
  }

  private readonly onWheel = (event: WheelEvent): void => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 24 : 1;
    if (event.shiftKey) {
      this.isFitted = false;
      this.view = panBy(this.view, { x: -(event.deltaX || event.deltaY) * lines, y: 0 }, this.image, this.window);
      this.redraw();
    } else {
      this.zoomAt(Math.exp(-event.deltaY * lines * 0.0015), this.pointOf(event));
    }
  };

  private zoomAt(factor: number, at: Point): void {
    this.isFitted = false;
    this.view = zoomAt(this.view, factor, at, this.image, this.window);
    this.redraw();
  }

  private strokeTo(from: BrushPoint, to: BrushPoint): void {
    const { softness, tool } = this.settings;
    this.document.extend((mask) => mask.stroke(from, to, softness, tool === "eraser" ? "remove" : "add"));
  }

  private paintLine(from: Point, to: Point): void {
    const radius = this.settings.size / 2;
    this.document.begin();
    this.strokeTo({ ...from, radius }, { ...to, radius });
    this.document.end();
  }

  private fill(outline: readonly Point[]): void {
    const { softness, size } = this.settings;
    this.document.change((mask) => mask.fill(outline, (softness * size) / 2, "add"));
  }

  private brushAt(at: Point, { pointerType, pressure }: PointerEvent): BrushPoint {
    const part = pointerType === "pen" ? Math.max(MIN_PRESSURE, pressure) : 1;
    return { ...at, radius: (this.settings.size / 2) * part };
  }

  private inside(at: Point): Point {
    return { x: clamp(Math.round(at.x), 0, this.image.width), y: clamp(Math.round(at.y), 0, this.image.height) };
  }

  private pointOf({ clientX, clientY }: MouseEvent): Point {
    const { left, top } = this.canvas.getBoundingClientRect();
    return { x: clientX - left, y: clientY - top };
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.window = { width: Math.max(1, width), height: Math.max(1, height) };
    this.canvas.width = Math.round(this.window.width * devicePixelRatio);
    this.canvas.height = Math.round(this.window.height * devicePixelRatio);
    if (this.isFitted) this.view = fit(this.image, this.window);
    this.draw();
  }

  private draw(): void {
    const context = contextOf(this.canvas);
    const { scale, x, y } = this.view;
    const { width, height } = this.image;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.window.width, this.window.height);
    context.imageSmoothingEnabled = scale < 3;
    context.drawImage(this.document.image, x, y, width * scale, height * scale);
    context.globalAlpha = this.settings.opacity;
    context.drawImage(this.document.overlay, x, y, width * scale, height * scale);
    context.globalAlpha = 1;
    this.drawTool(context);
  }

  private drawTool(context: CanvasRenderingContext2D): void {
    const { action, settings, view } = this;
    const outline = action?.kind === "lasso" ? action.outline : action?.kind === "rectangle" ? rectangleOutline(action.from, action.to) : undefined;
    if (outline) {
      const path = new Path2D();
      for (const point of outline) {
        const { x, y } = toWindow(view, point);
        path.lineTo(x, y);
      }
      path.closePath();
      drawTwice(context, path);
    }
    const at = this.crosshair ? toWindow(view, this.crosshair) : this.pointer;
    const isBrush = settings.tool === "brush" || settings.tool === "eraser";
    if (!at || (!isBrush && !this.crosshair)) return;
    const path = new Path2D();
    path.arc(at.x, at.y, Math.max(1.5, (settings.size / 2) * view.scale), 0, 2 * Math.PI);
    if (this.crosshair) {
      path.moveTo(at.x - 12, at.y);
      path.lineTo(at.x + 12, at.y);
      path.moveTo(at.x, at.y - 12);
      path.lineTo(at.x, at.y + 12);
    }
    drawTwice(context, path);
  }
}

/** A dark line with a light one in it, visible on each image. */
function drawTwice(context: CanvasRenderingContext2D, path: Path2D): void {
  context.strokeStyle = "rgb(0 0 0 / 0.65)";
  context.lineWidth = 3;
  context.stroke(path);
  context.strokeStyle = "white";
  context.lineWidth = 1.25;
  context.stroke(path);
}
