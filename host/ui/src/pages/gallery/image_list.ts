// The images of the gallery: pages of the server's list, as far as they were scrolled to.
import { signal, type Signal } from "@preact/signals";
import { get, post } from "../../api/client.ts";
import type { GalleryImage, ImageSource } from "../../api/types.ts";

export interface GalleryFilter {
  q?: string;
  engine?: string;
  model?: string;
  kind?: ImageSource;
  starred?: boolean;
  from?: number;
  to?: number;
  chat_id?: string;
}

/** Images that one request reads. */
const PAGE_SIZE = 120;
/** Ids in one request of a change. */
const MAX_IDS = 200;

export class ImageList {
  readonly images: Signal<readonly GalleryImage[]> = signal([]);
  readonly isLoading = signal(false);
  readonly error = signal<unknown>(undefined);
  /** True after the last page. */
  readonly isComplete = signal(false);
  private next: string | null = null;
  private controller: AbortController | undefined;

  constructor(private readonly filter: GalleryFilter) {}

  /** Reads the next page, unless one is read already. */
  async loadMore(): Promise<void> {
    if (this.isLoading.peek() || this.isComplete.peek()) return;
    this.isLoading.value = true;
    this.error.value = undefined;
    this.controller = new AbortController();
    const { signal: stop } = this.controller;
    try {
      const query = { ...this.filter, cursor: this.next, limit: PAGE_SIZE };
      const page = await get("/api/v1/gallery", { query, signal: stop });
      this.next = page.next;
      this.images.value = [...this.images.peek(), ...this.unknown(page.images)];
      this.isComplete.value = page.next === null;
    } catch (error) {
      if (!stop.aborted) this.error.value = error;
    } finally {
      this.isLoading.value = false;
    }
  }

  /** Puts images at the front that were made meanwhile. */
  async loadNewest(): Promise<void> {
    const query = { ...this.filter, limit: PAGE_SIZE };
    const page = await get("/api/v1/gallery", { query });
    const added = this.unknown(page.images);
    if (added.length > 0) this.images.value = [...added, ...this.images.peek()];
  }

  /** The images that the list does not have. Pages overlap when images were added meanwhile. */
  private unknown(images: readonly GalleryImage[]): GalleryImage[] {
    const known = new Set(this.images.peek().map((it) => it.id));
    return images.filter((it) => !known.has(it.id));
  }

  stop(): void {
    this.controller?.abort();
  }

  /** Removes images at once, and puts them back where they were if the server refuses. Returns the end of the time to undo. */
  async delete(ids: ReadonlySet<string>): Promise<number> {
    const before = this.images.peek();
    this.images.value = before.filter((it) => !ids.has(it.id));
    try {
      let until = 0;
      for (const part of parts([...ids])) {
        const { undo_until } = await post("/api/v1/gallery/delete", { body: { ids: part } });
        until = undo_until;
      }
      return until;
    } catch (error) {
      this.images.value = before;
      throw error;
    }
  }

  /** Takes a deletion back. `before` is the list that it had changed. */
  async restore(ids: ReadonlySet<string>, before: readonly GalleryImage[]): Promise<void> {
    for (const part of parts([...ids])) await post("/api/v1/gallery/restore", { body: { ids: part } });
    const present = new Set(this.images.peek().map((it) => it.id));
    const known = new Set(before.map((it) => it.id));
    const newer = this.images.peek().filter((it) => !known.has(it.id));
    this.images.value = [...newer, ...before.filter((it) => present.has(it.id) || ids.has(it.id))];
  }

  async star(ids: ReadonlySet<string>, starred: boolean): Promise<void> {
    for (const part of parts([...ids])) await post("/api/v1/gallery/star", { body: { ids: part, starred } });
    this.images.value = this.images.peek().map((it) => (ids.has(it.id) ? { ...it, starred } : it));
  }
}

function parts(ids: string[]): string[][] {
  const count = Math.ceil(ids.length / MAX_IDS);
  return Array.from({ length: count }, (_, index) => ids.slice(index * MAX_IDS, (index + 1) * MAX_IDS));
}
