// URLs of the server's routes. No DOM.

export type PathValues = Record<string, string>;
export type Query = Record<string, string | number | boolean | undefined | null>;

/** The URL of a route such as `/api/v1/jobs/{id}`. Parameters of the query without a value are left out. */
export function url(route: string, values: PathValues = {}, query: Query = {}): string {
  const path = route.replace(/\{(\w+)\}/g, (_, name: string) => segment(values[name] ?? ""));
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? path : `${path}?${text}`;
}

/** Engines with these names have their first letter escaped, because routes have the names. */
function segment(value: string): string {
  if (value === "install" || value === "update") return `%${value.charCodeAt(0).toString(16)}${value.slice(1)}`;
  return encodeURIComponent(value);
}

/** The URL of a stored file. */
export function contentUrl(id: string): string {
  return url("/api/v1/files/{id}/content", { id });
}

/** The URL of a small copy of a stored image, by the length of its longer side in pixels. */
export function thumbnailUrl(id: string, size: 128 | 256 | 512 | 1024): string {
  return url("/api/v1/files/{id}/thumbnail", { id }, { size });
}
