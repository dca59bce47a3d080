import assert from "node:assert/strict";
import { test } from "node:test";
import { justify, neighborInRow, ratioOf, visibleRows, type Size } from "./justified.ts";

const OPTIONS = { width: 1000, rowHeight: 200, gap: 10 };

function sizes(count: number): Size[] {
  const all = [{ width: 512, height: 512 }, { width: 768, height: 512 }, { width: null, height: null }, { width: 1024, height: 576 }];
  return Array.from({ length: count }, (_, index) => all[index % all.length] ?? { width: 1, height: 1 });
}

test("justify fills each row but the last, and places each image once", () => {
  const grid = justify(sizes(103), OPTIONS);
  const placed = grid.rows.flatMap((row) => row.tiles.map((tile) => tile.index));
  assert.deepEqual(placed, Array.from({ length: 103 }, (_, index) => index));
  for (const row of grid.rows.slice(0, -1)) {
    const end = row.tiles.at(-1);
    assert.ok(Math.abs((end?.left ?? 0) + (end?.width ?? 0) - 1000) < 0.001);
    assert.ok(row.height <= 200 && row.height > 80, String(row.height));
  }
});

test("justify of more images equals justify of all", () => {
  const all = sizes(250);
  const first = justify(all.slice(0, 100), OPTIONS);
  const second = justify(all.slice(0, 101), OPTIONS, first);
  assert.deepEqual(justify(all, OPTIONS, second), justify(all, OPTIONS));
});

test("justify of no images has no height", () => {
  assert.deepEqual(justify([], OPTIONS), { rows: [], height: 0 });
});

test("ratio of an extreme image is limited", () => {
  assert.equal(ratioOf({ width: 10_000, height: 10 }), 3);
  assert.equal(ratioOf({ width: 10, height: 10_000 }), 0.4);
});

test("visible rows are those that touch the window", () => {
  const grid = justify(sizes(200), OPTIONS);
  const rows = visibleRows(grid, 500, 900);
  for (const row of grid.rows) {
    const isVisible = row.top + row.height >= 500 && row.top <= 900;
    assert.equal(rows.includes(row), isVisible);
  }
});

test("neighbor is in the next row, and the image itself at the edge", () => {
  const grid = justify(sizes(40), OPTIONS);
  const below = neighborInRow(grid, 0, 1);
  assert.ok(grid.rows[1]?.tiles.some((tile) => tile.index === below));
  assert.equal(neighborInRow(grid, 0, -1), 0);
});
