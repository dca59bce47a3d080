import { setQuery } from "../router.ts";
import { t } from "../text/index.ts";

/** Moves between the pages of a table, which the path names. */
export function Pager({ page, pages }: { page: number; pages: number }) {
  if (pages < 2) return null;
  const show = (to: number) => setQuery({ page: to === 1 ? undefined : String(to) });
  return (
    <nav class="row end" aria-label={t.people.pages}>
      <button type="button" disabled={page <= 1} onClick={() => show(page - 1)}>
        {t.people.previousPage}
      </button>
      <span class="muted">{t.people.page(page, pages)}</span>
      <button type="button" disabled={page >= pages} onClick={() => show(page + 1)}>
        {t.people.nextPage}
      </button>
    </nav>
  );
}
