// Images that were attached and are not uploaded yet. They survive a reload.

/** A file of a draft. */
export interface PendingFile {
  key: string;
  draft: string;
  file: File;
}

const DATABASE = "pinhole";
const STORE = "pending-files";

/** Undefined if the browser has no such storage, as in private windows. */
function openDatabase(): Promise<IDBDatabase | undefined> {
  return new Promise((resolve) => {
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });
}

async function inStore<T>(mode: IDBTransactionMode, action: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  const database = await openDatabase();
  if (!database) return undefined;
  return new Promise((resolve) => {
    const request = action(database.transaction(STORE, mode).objectStore(STORE));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(undefined);
  }).finally(() => database.close()) as Promise<T | undefined>;
}

export async function keepFile(file: PendingFile): Promise<void> {
  await inStore("readwrite", (store) => store.put(file));
}

export async function forgetFile(key: string): Promise<void> {
  await inStore("readwrite", (store) => store.delete(key));
}

export async function keptFiles(draft: string): Promise<PendingFile[]> {
  const all = (await inStore("readonly", (store) => store.getAll() as IDBRequest<PendingFile[]>)) ?? [];
  return all.filter((it) => it.draft === draft);
}
