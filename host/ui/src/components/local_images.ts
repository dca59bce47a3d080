// Images and masks that this browser keeps for the signed-in user until they are sent: IndexedDB.
import { user } from "../session.ts";

const DATABASE = "pinhole";
const STORE = "images";

/** Used if the browser has no storage, as in some private windows. */
const memory = new Map<string, Blob>();

let opening: Promise<IDBDatabase | undefined> | undefined;

export async function readLocalImage(name: string): Promise<Blob | undefined> {
  const found = await run<unknown>("readonly", (store) => store.get(keyOf(name)));
  return found instanceof Blob ? found : memory.get(keyOf(name));
}

export async function storeLocalImage(name: string, image: Blob): Promise<void> {
  memory.set(keyOf(name), image);
  await run("readwrite", (store) => store.put(image, keyOf(name)));
}

export async function removeLocalImage(name: string): Promise<void> {
  memory.delete(keyOf(name));
  await run("readwrite", (store) => store.delete(keyOf(name)));
}

/** The mask that was drawn last on a source. */
export const maskName = (sourceId: string) => `mask/${sourceId}`;

function keyOf(name: string): string {
  return `${user.value?.id ?? ""}/${name}`;
}

function openDatabase(): Promise<IDBDatabase | undefined> {
  opening ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open(DATABASE, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });
  return opening;
}

/** `undefined` if the browser refuses, for example because the disk is full. */
async function run<T>(mode: IDBTransactionMode, action: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | undefined> {
  const database = await openDatabase();
  if (!database) return undefined;
  return new Promise((resolve) => {
    try {
      const request = action(database.transaction(STORE, mode).objectStore(STORE));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });
}
