import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../../api/client.ts";
import type { ImageSource } from "../../api/types.ts";
import { useDelayed } from "../../components/delayed.ts";
import { IconSearch, IconStar } from "../../icons.ts";
import { location, setQuery } from "../../router.ts";
import { useResource } from "../../components/resource.ts";
import { t } from "../../text/index.ts";
import type { GalleryFilter } from "./image_list.ts";

/** Time without typing until a search starts, in milliseconds. */
const PAUSE_MS = 250;
const KINDS: readonly ImageSource[] = ["generated", "uploaded"];

/** The filter that the path has. */
export function currentFilter(): GalleryFilter {
  const { query } = location.value;
  const filter: GalleryFilter = {};
  for (const name of ["q", "engine", "model", "chat_id"] as const) {
    const value = query.get(name);
    if (value) filter[name] = value;
  }
  const kind = KINDS.find((it) => it === query.get("kind"));
  if (kind) filter.kind = kind;
  if (query.get("starred") === "true") filter.starred = true;
  const from = startOfDay(query.get("from"), 0);
  const to = startOfDay(query.get("to"), 1);
  if (from !== undefined) filter.from = from;
  if (to !== undefined) filter.to = to;
  return filter;
}

/** The start of the day, or of a later one, in seconds. */
function startOfDay(text: string | null, later: number): number | undefined {
  if (!text) return undefined;
  const [year, month, day] = text.split("-").map(Number);
  if (!year || !month || !day) return undefined;
  return new Date(year, month - 1, day + later).getTime() / 1000;
}

export function Filters() {
  const { query } = location.value;
  const facets = useResource((signal) => get("/api/v1/gallery/facets", { signal }), []);
  const isStarred = query.get("starred") === "true";
  const hasFilter = ["q", "engine", "model", "kind", "starred", "from", "to", "chat_id"].some((it) => Boolean(query.get(it)));
  return (
    <search class="gallery-filters">
      <SearchField hasFilter={hasFilter} />
      <Choice name="engine" label={t.gallery.allEngines} values={facets.value?.engines ?? []} />
      <Choice name="model" label={t.gallery.allModels} values={facets.value?.models ?? []} />
      <Choice name="kind" label={t.gallery.allKinds} values={KINDS} titles={t.gallery.kinds} />
      <DateField name="from" label={t.gallery.from} />
      <DateField name="to" label={t.gallery.to} />
      <button type="button" class="chip" aria-pressed={isStarred} onClick={() => setQuery({ starred: isStarred ? undefined : "true" })}>
        <IconStar aria-hidden="true" />
        {t.gallery.starred}
      </button>
      {hasFilter && (
        <a class="button quiet small" href="/gallery">
          {t.gallery.clearFilters}
        </a>
      )}
    </search>
  );
}

function SearchField({ hasFilter }: { hasFilter: boolean }) {
  const value = location.value.query.get("q") ?? "";
  const [text, setText] = useState(value);
  const wanted = useDelayed(text.trim(), PAUSE_MS);
  const applied = useRef(value);
  useEffect(() => {
    if (wanted === applied.current) return;
    applied.current = wanted;
    setQuery({ q: wanted });
  }, [wanted]);
  useEffect(() => {
    if (value === applied.current && hasFilter) return;
    // A link or the history changed it.
    applied.current = value;
    setText(value);
  }, [value, hasFilter]);
  return (
    <label class="search-field">
      <IconSearch aria-hidden="true" />
      <span class="visually-hidden">{t.gallery.search}</span>
      <input type="search" value={text} maxLength={200} placeholder={t.gallery.search} dir="auto" onInput={(event) => setText(event.currentTarget.value)} />
    </label>
  );
}

interface ChoiceProps {
  name: "engine" | "model" | "kind";
  label: string;
  values: readonly string[];
  titles?: Record<string, string>;
}

function Choice({ name, label, values, titles = {} }: ChoiceProps) {
  const value = location.value.query.get(name) ?? "";
  // A link may name a value that no image has any more.
  const all = value === "" || values.includes(value) ? values : [...values, value];
  if (all.length < 2 && value === "") return null;
  return (
    <label class={value === "" ? "chip" : "chip on"}>
      <span class="visually-hidden">{label}</span>
      <select value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value || undefined })}>
        <option value="">{label}</option>
        {all.map((it) => (
          <option key={it} value={it}>
            {titles[it] ?? it}
          </option>
        ))}
      </select>
    </label>
  );
}

function DateField({ name, label }: { name: "from" | "to"; label: string }) {
  const value = location.value.query.get(name) ?? "";
  return (
    <label class={value === "" ? "chip date" : "chip date on"}>
      {label}
      <input type="date" value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value || undefined })} />
    </label>
  );
}
