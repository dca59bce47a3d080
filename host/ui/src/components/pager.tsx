import { t } from "../text/index.ts";

interface PagerProps {
  page: number;
  pages: number;
  onShow: (page: number) => void;
}

/** Moves between the pages of a list. */
export function Pager({ page, pages, onShow }: PagerProps) {
  if (pages < 2) return null;
  return (
    <nav class="row end" aria-label={t.people.pages}>
      <button type="button" disabled={page <= 1} onClick={() => onShow(page - 1)}>
        {t.people.previousPage}
      </button>
      <span class="muted">{t.people.page(page, pages)}</span>
      <button type="button" disabled={page >= pages} onClick={() => onShow(page + 1)}>
        {t.people.nextPage}
      </button>
    </nav>
  );
}
