// The page that a path shows. Links are plain anchors: clicks on those of this server do not load the document again.
import { signal } from "@preact/signals";

interface Location {
  path: string;
  query: URLSearchParams;
  hash: string;
}

export const location = signal<Location>(current());

function current(): Location {
  const { pathname, search, hash } = window.location;
  return { path: pathname, query: new URLSearchParams(search), hash };
}

/** Shows another path. `replace` leaves no entry in the history. */
export function navigate(to: string, { replace = false } = {}): void {
  if (to !== window.location.pathname + window.location.search + window.location.hash) {
    if (replace) history.replaceState(null, "", to);
    else history.pushState(null, "", to);
  }
  const before = location.value.path;
  location.value = current();
  if (location.value.path !== before) window.scrollTo(0, 0);
}

/** Sets query parameters of the current path without an entry in the history. */
export function setQuery(values: Record<string, string | undefined>): void {
  const query = new URLSearchParams(location.value.query);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  navigate(location.value.path + (text === "" ? "" : `?${text}`), { replace: true });
}

export function listenToNavigation(): void {
  addEventListener("popstate", () => (location.value = current()));
  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || event.defaultPrevented || link.target !== "" || link.hasAttribute("download")) return;
    const to = new URL(link.href);
    const isPage = to.origin === window.location.origin && !/^\/(api|v1|docs|openapi|ui|ws)\b/.test(to.pathname);
    if (!isPage) return;
    if (to.hash !== "" && to.pathname === window.location.pathname && to.search === window.location.search) return;
    event.preventDefault();
    navigate(to.pathname + to.search + to.hash);
  });
}
