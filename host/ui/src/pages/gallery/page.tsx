// All images of the person: a grid, filters, a selection, and one image large.
import { useEffect, useMemo, useState } from "preact/hooks";
import type { GalleryImage } from "../../api/types.ts";
import { Empty, Failure } from "../../components/notice.tsx";
import { Page } from "../../components/page.tsx";
import { onJob } from "../../jobs.ts";
import { location, navigate, setQuery } from "../../router.ts";
import { t } from "../../text/index.ts";
import { Darkroom } from "./darkroom.tsx";
import { ImageDetails } from "./details.tsx";
import { currentFilter, Filters } from "./filters.tsx";
import { ImageGrid } from "./grid.tsx";
import { ImageList } from "./image_list.ts";
import { SelectionBar } from "./selection_bar.tsx";
import { UndoNotice, type Deletion } from "./undo_notice.tsx";

export default function GalleryPage() {
  const filter = currentFilter();
  const key = JSON.stringify(filter);
  const list = useMemo(() => new ImageList(filter), [key]);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [isSelecting, setSelecting] = useState(false);
  const [current, setCurrent] = useState(0);
  const [deletion, setDeletion] = useState<Deletion | undefined>();
  const [error, setError] = useState<unknown>();
  useEffect(() => {
    setSelected(new Set());
    setCurrent(0);
    void list.loadMore();
    return () => list.stop();
  }, [list]);
  useEffect(() => onJob((job) => void (job.state === "done" && list.loadNewest().catch(() => undefined))), [list]);

  const images = list.images.value;
  const openId = location.value.query.get("image");
  const idsOf = (index: number): ReadonlySet<string> => {
    const image = images[index];
    if (selected.size > 0) return selected;
    return new Set(image ? [image.id] : []);
  };
  const attempt = (action: Promise<unknown>): Promise<boolean> => {
    setError(undefined);
    return action.then(
      () => true,
      (failure: unknown) => {
        setError(failure);
        return false;
      },
    );
  };
  const remove = (ids: ReadonlySet<string>) => {
    if (ids.size === 0) return;
    const before = images;
    const first = before.findIndex((it) => ids.has(it.id));
    setSelected(new Set());
    // The next image takes the place of the first that is gone.
    setCurrent(Math.max(0, Math.min(first, before.length - ids.size - 1)));
    void attempt(list.delete(ids).then((until) => setDeletion({ ids, before, until })));
  };
  const star = (ids: ReadonlySet<string>) => {
    const isStarred = images.filter((it) => ids.has(it.id)).every((it) => it.starred);
    void attempt(list.star(ids, !isStarred));
  };
  const select = (index: number, isRange: boolean) => {
    setSelected(toggled(images, selected, isRange ? current : index, index));
    setSelecting(true);
    setCurrent(index);
  };
  const show = (id: string | undefined) => setQuery({ image: id });
  const onKey = (event: KeyboardEvent, index: number) => {
    const image = images[index];
    if (!image || event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Record<string, () => void> = {
      Enter: () => show(image.id),
      " ": () => show(image.id),
      x: () => select(index, event.shiftKey),
      s: () => star(idsOf(index)),
      e: () => navigate(`/create?source=${image.id}`),
      r: () => navigate(`/create?reuse=${image.id}`),
      Delete: () => remove(idsOf(index)),
      Escape: () => {
        setSelected(new Set());
        setSelecting(false);
      },
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };

  const toggleSelecting = () => {
    setSelecting(!isSelecting);
    setSelected(new Set());
  };
  return (
    <Page
      title={t.gallery.title}
      actions={
        images.length > 0 && (
          <button type="button" class="quiet" aria-pressed={isSelecting} onClick={toggleSelecting}>
            {isSelecting ? t.gallery.selectDone : t.gallery.selectMany}
          </button>
        )
      }
      foot={
        <div class="gallery-foot">
          {deletion && <UndoNotice list={list} deletion={deletion} onDone={() => setDeletion(undefined)} />}
          {selected.size > 0 && (
            <SelectionBar images={images.filter((it) => selected.has(it.id))} onStar={() => star(selected)} onDelete={() => remove(selected)} onClear={() => setSelected(new Set())} />
          )}
        </div>
      }
    >
      <div class="gallery">
        <Filters />
        {error !== undefined && <Failure error={error} />}
        <ImageGrid
          images={images}
          selected={selected}
          isSelecting={isSelecting}
          current={current}
          onCurrent={setCurrent}
          onSelect={select}
          onOpen={(index) => show(images[index]?.id)}
          onKey={onKey}
          onNearEnd={() => void list.loadMore()}
        />
        <ListEnd list={list} hasFilter={key !== "{}"} />
      </div>
      {openId && (
        <ImageDetails
          id={openId}
          images={images}
          onShow={show}
          onStar={(id, starred) => attempt(list.star(new Set([id]), starred))}
          onDelete={(id, next) => {
            show(next);
            remove(new Set([id]));
          }}
        />
      )}
    </Page>
  );
}

/** What stands below the images: more of them, a failure, or a hint that the list is empty. */
function ListEnd({ list, hasFilter }: { list: ImageList; hasFilter: boolean }) {
  if (list.error.value !== undefined) return <Failure error={list.error.value} onRetry={() => void list.loadMore()} />;
  if (list.isLoading.value && list.images.value.length === 0) return <Skeleton />;
  if (!list.isComplete.value || list.images.value.length > 0) return null;
  if (hasFilter) {
    return (
      <Empty title={t.gallery.noMatch} actions={<a class="button" href="/gallery">{t.gallery.clearFilters}</a>}>
        {t.gallery.noMatchHint}
      </Empty>
    );
  }
  return (
    <Empty title={t.gallery.empty} image={<Darkroom />} actions={<a class="button primary" href="/create">{t.gallery.createFirst}</a>}>
      {t.gallery.emptyHint}
    </Empty>
  );
}

function Skeleton() {
  return (
    <div class="gallery-skeleton" aria-label={t.shell.loading} role="status">
      {Array.from({ length: 14 }, (_, index) => (
        <div key={index} class={`skeleton ratio-${index % 4}`} />
      ))}
    </div>
  );
}

/** The selection after the images between two were toggled. */
function toggled(images: readonly GalleryImage[], selected: ReadonlySet<string>, from: number, to: number): ReadonlySet<string> {
  const range = images.slice(Math.min(from, to), Math.max(from, to) + 1).map((it) => it.id);
  const next = new Set(selected);
  const [only] = range;
  if (range.length === 1 && only !== undefined && next.has(only)) next.delete(only);
  else for (const id of range) next.add(id);
  return next;
}
