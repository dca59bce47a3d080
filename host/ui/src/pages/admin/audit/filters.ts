// The filters of the audit log, which are in the page's query so that a filtered list has a link.

export interface Filters {
  kind: string;
  engine: string;
  user: string;
  /** Local times of the browser, such as `2026-12-01T08:30`. */
  from: string;
  until: string;
}

const FILTER_NAMES = ["kind", "engine", "user", "from", "until"] as const satisfies readonly (keyof Filters)[];

export function filtersOf(query: URLSearchParams): Filters {
  const text = (name: keyof Filters) => query.get(name) ?? "";
  return { kind: text("kind"), engine: text("engine"), user: text("user"), from: text("from"), until: text("until") };
}

export function hasFilter(filters: Filters): boolean {
  return FILTER_NAMES.some((it) => filters[it] !== "");
}

/** The query of the request. Empty texts are left out. Times are seconds since 1970. */
export function requestQuery({ kind, engine, user, from, until }: Filters) {
  return { kind, engine, user, since: seconds(from), before: seconds(until) };
}

function seconds(local: string): number | undefined {
  const time = local === "" ? Number.NaN : new Date(local).getTime();
  return Number.isNaN(time) ? undefined : Math.floor(time / 1_000);
}
