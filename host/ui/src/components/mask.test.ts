import assert from "node:assert/strict";
import { test } from "node:test";
import { MaskBitmap, rectangleOutline, union } from "./mask_bitmap.ts";
import { MaskHistory } from "./mask_history.ts";
import { fit, panBy, reveal, toImage, toWindow, zoomAt } from "./mask_view.ts";

const at = (mask: MaskBitmap, x: number, y: number) => mask.values[y * mask.width + x];

test("a stroke is full in its middle and absent beyond its radius", () => {
  const mask = new MaskBitmap(100, 40);
  const rect = mask.stroke({ x: 20, y: 20, radius: 5 }, { x: 80, y: 20, radius: 5 }, 0, "add");
  assert.equal(at(mask, 50, 20), 255);
  assert.equal(at(mask, 50, 23), 255);
  assert.equal(at(mask, 50, 27), 0);
  assert.equal(at(mask, 10, 20), 0);
  assert.deepEqual(rect, { x: 14, y: 14, width: 72, height: 12 });
});

test("a soft stroke fades out, and strokes above each other do not add up", () => {
  const mask = new MaskBitmap(60, 60);
  const point = { x: 30, y: 30, radius: 20 };
  mask.stroke(point, point, 1, "add");
  const before = at(mask, 40, 30) ?? 0;
  assert.ok(before > 40 && before < 215, String(before));
  mask.stroke(point, point, 1, "add");
  assert.equal(at(mask, 40, 30), before);
});

test("the radius of a stroke follows the pressure", () => {
  const mask = new MaskBitmap(100, 60);
  mask.stroke({ x: 10, y: 30, radius: 2 }, { x: 90, y: 30, radius: 20 }, 0, "add");
  assert.equal(at(mask, 12, 38), 0);
  assert.equal(at(mask, 85, 42), 255);
});

test("an eraser removes what a brush added", () => {
  const mask = new MaskBitmap(40, 40);
  const point = { x: 20, y: 20, radius: 10 };
  mask.stroke(point, point, 0, "add");
  mask.stroke(point, point, 0, "remove");
  assert.ok(mask.values.every((value) => value <= 128), "only the edge may remain");
  assert.equal(at(mask, 20, 20), 0);
});

test("a stroke outside the image changes nothing", () => {
  const mask = new MaskBitmap(10, 10);
  mask.stroke({ x: -50, y: -50, radius: 4 }, { x: -40, y: -50, radius: 4 }, 0.5, "add");
  assert.ok(mask.isEmpty());
});

test("a rectangle fills exactly its pixels", () => {
  const mask = new MaskBitmap(20, 20);
  mask.fill(rectangleOutline({ x: 3, y: 4 }, { x: 8, y: 9 }), 0, "add");
  assert.equal(mask.coverage(), 25 / 400);
  assert.equal(at(mask, 3, 4), 255);
  assert.equal(at(mask, 8, 9), 0);
});

test("a rectangle may be drawn from any corner", () => {
  const mask = new MaskBitmap(20, 20);
  mask.fill(rectangleOutline({ x: 8, y: 9 }, { x: 3, y: 4 }), 0, "add");
  assert.equal(mask.coverage(), 25 / 400);
});

test("a lasso that crosses itself is filled as a whole", () => {
  const mask = new MaskBitmap(30, 30);
  const twice = [...rectangleOutline({ x: 5, y: 5 }, { x: 25, y: 25 }), ...rectangleOutline({ x: 10, y: 10 }, { x: 20, y: 20 })];
  mask.fill(twice, 0, "add");
  assert.equal(at(mask, 15, 15), 255);
  assert.equal(at(mask, 22, 12), 255);
});

test("a feathered edge fades on both sides", () => {
  const mask = new MaskBitmap(60, 60);
  mask.fill(rectangleOutline({ x: 20, y: 20 }, { x: 40, y: 40 }), 9, "add");
  assert.ok((at(mask, 20, 30) ?? 0) > 80 && (at(mask, 20, 30) ?? 0) < 180);
  assert.ok((at(mask, 17, 30) ?? 0) > 0);
  assert.equal(at(mask, 5, 30), 0);
});

test("a feathered mask of the whole image stays full at its edge", () => {
  const mask = new MaskBitmap(40, 40);
  mask.fill(rectangleOutline({ x: 0, y: 0 }, { x: 40, y: 40 }), 9, "add");
  assert.equal(at(mask, 0, 0), 255);
});

test("invert twice is the same mask", () => {
  const mask = new MaskBitmap(10, 10);
  mask.fill(rectangleOutline({ x: 0, y: 0 }, { x: 5, y: 10 }), 0, "add");
  mask.invert();
  assert.equal(at(mask, 0, 0), 0);
  assert.equal(at(mask, 7, 0), 255);
  mask.invert();
  assert.equal(at(mask, 0, 0), 255);
});

test("undo and redo restore the pixels of a step", () => {
  const mask = new MaskBitmap(20, 20);
  const history = new MaskHistory();
  const before = mask.copy(mask.bounds);
  const rect = mask.fill(rectangleOutline({ x: 2, y: 2 }, { x: 6, y: 6 }), 0, "add");
  history.note(rect, new MaskBitmap(20, 20, before).copy(rect));
  assert.deepEqual(history.undo(mask), rect);
  assert.ok(mask.isEmpty());
  assert.deepEqual(history.redo(mask), rect);
  assert.equal(mask.coverage(), 16 / 400);
  assert.equal(history.redo(mask), undefined);
});

test("a new step forgets what was undone, and old steps are dropped at the limit", () => {
  const mask = new MaskBitmap(10, 10);
  const history = new MaskHistory(150);
  for (let step = 0; step < 3; step++) history.note(mask.bounds, mask.copy(mask.bounds));
  assert.ok(history.undo(mask));
  assert.equal(history.canUndo, false);
  assert.equal(history.canRedo, true);
  history.note({ x: 0, y: 0, width: 1, height: 1 }, new Uint8Array(1));
  assert.equal(history.canRedo, false);
});

test("union of rectangles", () => {
  assert.deepEqual(union(undefined, { x: 1, y: 1, width: 2, height: 2 }), { x: 1, y: 1, width: 2, height: 2 });
  assert.deepEqual(union({ x: 1, y: 1, width: 2, height: 2 }, { x: 5, y: 0, width: 1, height: 1 }), { x: 1, y: 0, width: 5, height: 3 });
});

test("fit shows the whole image in the middle", () => {
  const view = fit({ width: 1000, height: 500 }, { width: 532, height: 532 });
  assert.equal(view.scale, 0.5);
  assert.deepEqual(toWindow(view, { x: 500, y: 250 }), { x: 266, y: 266 });
});

test("zoom keeps the point below the pointer", () => {
  const image = { width: 1000, height: 500 };
  const window = { width: 532, height: 532 };
  const view = fit(image, window);
  const pointer = { x: 300, y: 280 };
  const before = toImage(view, pointer);
  const after = toImage(zoomAt(view, 2, pointer, image, window), pointer);
  assert.ok(Math.abs(before.x - after.x) < 1e-9 && Math.abs(before.y - after.y) < 1e-9);
});

test("the image cannot be moved out of the window", () => {
  const image = { width: 100, height: 100 };
  const window = { width: 200, height: 200 };
  const view = panBy({ scale: 1, x: 0, y: 0 }, { x: 9_999, y: -9_999 }, image, window);
  assert.deepEqual({ x: view.x, y: view.y }, { x: 152, y: -52 });
});

test("a point that keys move is brought into the window", () => {
  const view = reveal({ scale: 2, x: 0, y: 0 }, { x: 500, y: 10 }, { width: 300, height: 200 });
  const shown = toWindow(view, { x: 500, y: 10 });
  assert.ok(shown.x <= 300 - 48 && shown.x >= 48 && shown.y >= 20);
});
