// Styles that only some pages need.

/** The URLs of the built files, which the build knows. */
declare const STYLES: Readonly<Record<"admin" | "studio", string>>;

const loaded = new Map<string, Promise<void>>();

/** Adds a stylesheet to the document once. A page is shown without it if it cannot be loaded. */
export function loadStyle(name: keyof typeof STYLES): Promise<void> {
  const before = loaded.get(name);
  if (before) return before;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = STYLES[name];
  const isReady = new Promise<void>((done) => {
    link.onload = () => done();
    link.onerror = () => done();
  });
  document.head.append(link);
  loaded.set(name, isReady);
  return isReady;
}
