import { useEffect, useState } from "preact/hooks";
import { get } from "../../../api/client.ts";
import type { Refusal } from "../../../api/types.ts";
import { Empty, Failure } from "../../../components/notice.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { IconReload } from "../../../icons.ts";
import { location } from "../../../router.ts";
import { t } from "../../../text/index.ts";
import { useLive } from "../live.ts";
import { FilterBar } from "./filter_bar.tsx";
import { filtersOf, hasFilter, requestQuery } from "./filters.ts";
import { RefusalList } from "./refusal_list.tsx";
import { isAuditKind } from "./types.ts";

const PAGE_SIZE = 100;
const SKELETON_ROWS = 6;

/** The audit log with its filters. */
export function RefusalsTab() {
  const filters = filtersOf(location.value.query);
  const query = JSON.stringify(requestQuery(filters));
  const load = (cursor: string | undefined, signal?: AbortSignal) =>
    get("/api/v1/audit", { query: { ...requestQuery(filters), limit: PAGE_SIZE, cursor }, ...(signal ? { signal } : {}) });
  const first = useResource((signal) => load(undefined, signal), [query]);
  const [more, setMore] = useState<{ lines: Refusal[]; next: string | null }>();
  useEffect(() => setMore(undefined), [first.value]);
  const next = more ? more.next : (first.value?.next ?? null);
  const loadMore = useAction(async () => {
    if (next === null) return;
    const page = await load(next);
    setMore({ lines: [...(more?.lines ?? []), ...page.lines], next: page.next });
  });
  useLive(first.reload, false);
  const { audit } = t.admin;
  const lines = [...(first.value?.lines ?? []), ...(more?.lines ?? [])];
  const isFiltered = hasFilter(filters);
  return (
    <>
      <FilterBar filters={filters} />
      {isAuditKind(filters.kind) && <p class="muted kind-meaning">{audit.meanings[filters.kind]}</p>}
      {first.value && (
        <div class="row">
          <span class="muted">{audit.lead(first.value.counted, first.value.dropped)}</span>
          <button type="button" class="quiet small icon" aria-label={t.admin.refresh} title={t.admin.refresh} onClick={first.reload}>
            <IconReload aria-hidden="true" />
          </button>
        </div>
      )}
      {first.error !== undefined && <Failure error={first.error} onRetry={first.reload} />}
      {!first.value && first.error === undefined && <Skeleton class="line-skeleton" count={SKELETON_ROWS} />}
      {first.value && lines.length === 0 && next === null && <Empty title={isFiltered ? audit.noneFiltered : audit.none}>{isFiltered ? undefined : audit.noneHint}</Empty>}
      {lines.length > 0 && <RefusalList refusals={lines} />}
      {loadMore.error !== undefined && <Failure error={loadMore.error} onRetry={() => void loadMore.run()} />}
      {next !== null && (
        <button type="button" class="load-more" disabled={loadMore.isRunning} onClick={() => void loadMore.run()}>
          {t.admin.loadMore}
        </button>
      )}
    </>
  );
}
