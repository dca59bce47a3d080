import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { GalleryImage } from "../../api/types.ts";
import { thumbnailUrl } from "../../api/url.ts";
import { IconCheck, IconStarFilled } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { justify, neighborInRow, visibleRows, type Grid, type Row } from "./justified.ts";

interface GridProps {
  images: readonly GalleryImage[];
  selected: ReadonlySet<string>;
  /** A click selects. Otherwise it opens the image. */
  isSelecting: boolean;
  /** The image that the keyboard is at. */
  current: number;
  onCurrent: (index: number) => void;
  onSelect: (index: number, isRange: boolean) => void;
  onOpen: (index: number) => void;
  /** A key that is not for moving. */
  onKey: (event: KeyboardEvent, index: number) => void;
  /** The end of the list comes near. */
  onNearEnd: () => void;
}

const GAP_PX = 8;
/** Rows that are rendered above and below the window, in pixels. */
const OVERSCAN_PX = 700;
/** The next page is read when so much is left, in pixels. */
const NEAR_END_PX = 2_400;

/** A justified grid that renders only what is near the window. */
export function ImageGrid(props: GridProps) {
  const { images, current, onCurrent, onNearEnd } = props;
  const element = useRef<HTMLDivElement>(null);
  const width = useWidth(element);
  const grid = useGrid(images, width);
  const rows = useVisibleRows(element, grid, onNearEnd);
  const hasFocus = useRef(false);

  useEffect(() => {
    if (!hasFocus.current) return;
    const row = grid.rows.find((it) => it.tiles.some((tile) => tile.index === current));
    if (row && element.current) showRow(element.current, row);
    requestAnimationFrame(() => element.current?.querySelector<HTMLElement>(`[data-index="${current}"]`)?.focus({ preventScroll: true }));
  }, [current, grid]);

  const onKeyDown = (event: KeyboardEvent) => {
    const target = nextIndex(event.key, current, grid, images.length);
    if (target === undefined) return props.onKey(event, current);
    event.preventDefault();
    onCurrent(target);
  };
  return (
    <div
      ref={element}
      class={props.isSelecting ? "gallery-grid selecting" : "gallery-grid"}
      role="group"
      aria-label={t.gallery.images}
      style={{ height: `${grid.height}px` }}
      onKeyDown={onKeyDown}
      onFocusIn={() => (hasFocus.current = true)}
      onFocusOut={() => (hasFocus.current = false)}
    >
      {rows.flatMap((row) =>
        row.tiles.map((tile) => {
          const image = images[tile.index];
          if (!image) return [];
          const style = { width: `${tile.width}px`, height: `${row.height}px`, transform: `translate(${tile.left}px, ${row.top}px)` };
          return <GalleryTile key={image.id} {...props} image={image} index={tile.index} style={style} isLarge={row.height * devicePixelRatio > 256} />;
        }),
      )}
    </div>
  );
}

interface TileProps extends GridProps {
  image: GalleryImage;
  index: number;
  style: Record<string, string>;
  isLarge: boolean;
}

function GalleryTile({ image, index, style, isLarge, selected, isSelecting, current, ...props }: TileProps) {
  const isSelected = selected.has(image.id);
  const name = image.prompt ?? image.name;
  return (
    <div class={isSelected ? "tile selected" : "tile"} style={style}>
      <a
        href={`?image=${image.id}`}
        data-index={index}
        tabIndex={index === current ? 0 : -1}
        aria-label={name}
        onFocus={() => props.onCurrent(index)}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey) return;
          event.preventDefault();
          if (isSelecting || event.shiftKey) props.onSelect(index, event.shiftKey);
          else props.onOpen(index);
        }}
      >
        <img src={thumbnailUrl(image.id, isLarge ? 512 : 256)} alt="" loading="lazy" decoding="async" draggable={false} />
      </a>
      <button type="button" class="tile-check" tabIndex={-1} aria-pressed={isSelected} aria-label={t.gallery.select(name)} onClick={(event) => props.onSelect(index, event.shiftKey)}>
        <IconCheck aria-hidden="true" />
      </button>
      {image.starred && <IconStarFilled class="tile-star" title={t.gallery.starred} />}
    </div>
  );
}

function nextIndex(key: string, current: number, grid: Grid, count: number): number | undefined {
  switch (key) {
    case "ArrowRight":
      return Math.min(count - 1, current + 1);
    case "ArrowLeft":
      return Math.max(0, current - 1);
    case "ArrowDown":
      return neighborInRow(grid, current, 1);
    case "ArrowUp":
      return neighborInRow(grid, current, -1);
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return undefined;
  }
}

/** Scrolls as little as possible. */
function showRow(grid: HTMLElement, row: Row): void {
  const bar = 72;
  const top = grid.getBoundingClientRect().top + row.top;
  if (top < bar) scrollBy({ top: top - bar });
  else if (top + row.height > innerHeight - bar) scrollBy({ top: top + row.height - innerHeight + bar });
}

function useWidth(element: { current: HTMLDivElement | null }): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    if (!element.current) return;
    setWidth(element.current.clientWidth);
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** The grid of the images. If only the end of the list is new, the other rows stay. */
function useGrid(images: readonly GalleryImage[], width: number): Grid {
  const before = useRef<{ images: readonly GalleryImage[]; width: number; grid: Grid } | undefined>(undefined);
  return useMemo(() => {
    if (width === 0) return { rows: [], height: 0 };
    const options = { width, gap: GAP_PX, rowHeight: width < 600 ? 150 : width < 1_000 ? 200 : 232 };
    const last = before.current;
    const isLonger = last?.width === width && last.images.length <= images.length && last.images.at(-1) === images[last.images.length - 1] && last.images[0] === images[0];
    const grid = justify(images, options, isLonger ? last?.grid : undefined);
    before.current = { images, width, grid };
    return grid;
  }, [images, width]);
}

function useVisibleRows(element: { current: HTMLDivElement | null }, grid: Grid, onNearEnd: () => void): Row[] {
  const [range, setRange] = useState<readonly [number, number]>([0, 2_000]);
  const nearEnd = useRef(onNearEnd);
  nearEnd.current = onNearEnd;
  useEffect(() => {
    let frame = 0;
    const update = () => {
      frame = 0;
      const top = -(element.current?.getBoundingClientRect().top ?? 0);
      if (grid.height - top - innerHeight < NEAR_END_PX) nearEnd.current();
      // A step of a row or so, so that not each frame renders.
      const start = Math.floor((top - OVERSCAN_PX) / 200) * 200;
      setRange((before) => (before[0] === start ? before : [start, start + innerHeight + 2 * OVERSCAN_PX + 200]));
    };
    const schedule = () => {
      if (frame === 0) frame = requestAnimationFrame(update);
    };
    update();
    addEventListener("scroll", schedule, { passive: true });
    addEventListener("resize", schedule, { passive: true });
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", schedule);
      removeEventListener("resize", schedule);
    };
  }, [grid]);
  return visibleRows(grid, range[0], range[1]);
}
