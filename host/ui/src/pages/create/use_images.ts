import { useCallback, useEffect, useState } from "preact/hooks";
import { get, post } from "../../api/client.ts";

export interface ImageStates {
  isStarred: (id: string) => boolean;
  star: (id: string, starred: boolean) => Promise<void>;
  /** `undoable` for some seconds after the image was deleted. */
  deletion: (id: string) => "undoable" | "gone" | undefined;
  remove: (id: string) => Promise<void>;
  restore: (id: string) => Promise<void>;
  /** The server does not have the image any more. */
  noteMissing: (id: string) => void;
  /** Of the last change. */
  error: unknown;
  clearError: () => void;
}

const STARRED_LIMIT = 200;

/** Which images are starred and which were deleted. */
export function useImages(): ImageStates {
  const [starred, setStarred] = useState<ReadonlySet<string>>(new Set());
  const [deleted, setDeleted] = useState<ReadonlyMap<string, "undoable" | "gone">>(new Map());
  const mark = useCallback((id: string, state: "undoable" | "gone" | undefined) => {
    setDeleted((before) => {
      const next = new Map(before);
      if (state) next.set(id, state);
      else next.delete(id);
      return next;
    });
  }, []);
  const setStar = useCallback((id: string, isStarred: boolean) => {
    setStarred((before) => {
      const next = new Set(before);
      if (isStarred) next.add(id);
      else next.delete(id);
      return next;
    });
  }, []);
  const [error, setError] = useState<unknown>();
  const attempt = (change: Promise<unknown>) => {
    setError(undefined);
    return change.then(() => undefined, setError);
  };
  useEffect(() => {
    const query = { starred: true, limit: STARRED_LIMIT };
    // Without them stars are shown as they are set here.
    get("/api/v1/gallery", { query }).then(({ images }) => images.forEach((it) => setStar(it.id, true)), () => undefined);
  }, []);
  const star = async (id: string, isStarred: boolean) => {
    setStar(id, isStarred);
    try {
      await post("/api/v1/gallery/star", { body: { ids: [id], starred: isStarred } });
    } catch (failure) {
      setStar(id, !isStarred);
      throw failure;
    }
  };
  const remove = async (id: string) => {
    const { undo_until } = await post("/api/v1/gallery/delete", { body: { ids: [id] } });
    mark(id, "undoable");
    const remaining = Math.max(1_000, undo_until * 1_000 - Date.now());
    setTimeout(() => setDeleted((before) => (before.get(id) === "undoable" ? new Map(before).set(id, "gone") : before)), remaining);
  };
  const restore = async (id: string) => {
    const { restored } = await post("/api/v1/gallery/restore", { body: { ids: [id] } });
    mark(id, restored > 0 ? undefined : "gone");
  };
  return {
    isStarred: (id) => starred.has(id),
    star: (id, isStarred) => attempt(star(id, isStarred)),
    deletion: (id) => deleted.get(id),
    remove: (id) => attempt(remove(id)),
    restore: (id) => attempt(restore(id)),
    noteMissing: (id) => mark(id, "gone"),
    error,
    clearError: () => setError(undefined),
  };
}
