// The page that creates images: the form at the side, or below the images on a narrow window.
import { useEffect, useRef, useState } from "preact/hooks";
import { messageOf } from "../../api/client.ts";
import { Dialog } from "../../components/dialog.tsx";
import { Form } from "../../components/form.tsx";
import { useImageDrop } from "../../components/image_drop.ts";
import { useMediaQuery } from "../../components/media_query.ts";
import { Failure, Notice, Trouble } from "../../components/notice.tsx";
import { Page } from "../../components/page.tsx";
import { IconCreate, IconSliders } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { titleOf } from "../../usable_engine.ts";
import { targetsOf } from "./form_state.ts";
import { EmptyStage } from "./empty_stage.tsx";
import { Fields, NoEngines } from "./fields.tsx";
import { PromptField } from "./prompt_field.tsx";
import { Queue } from "./queue.tsx";
import { MaskDialog } from "./mask_dialog.tsx";
import { Stage } from "./stage.tsx";
import { Strip } from "./strip.tsx";
import { useCreate, type CreatePageState } from "./use_create.ts";

export default function CreatePage() {
  const page = useCreate();
  const isWide = useMediaQuery("(min-width: 68.01rem)");
  useSendKey(useSend(page));
  const isDragging = useImageDrop((files) => void page.addSources(files));
  return (
    <Page title={t.create.title} actions={<Queue />} foot={isWide ? undefined : <Composer page={page} />}>
      {/* One place for both widths, so that the images keep their state when the window is turned. */}
      <div class={isWide ? "create" : "create-narrow"}>
        {isWide && <CreateForm page={page} />}
        <StageColumn page={page} isWide={isWide} />
      </div>
      {isDragging && (
        <div class="drop-here" aria-hidden="true">
          {t.create.dropHere}
        </div>
      )}
      <MaskDialog page={page} />
    </Page>
  );
}

function useSend({ send }: CreatePageState) {
  return () => {
    if (!send.isRunning) void send.run();
  };
}

/** Sends with Ctrl+Enter, wherever the focus is, but not from a dialog above the page. */
function useSendKey(send: () => void): void {
  const newest = useRef(send);
  newest.current = send;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
      if (document.querySelector("dialog[open]:not(.bottom-sheet)")) return;
      event.preventDefault();
      newest.current();
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, []);
}

function CreateForm({ page }: { page: CreatePageState }) {
  const send = useSend(page);
  return (
    <Form class="create-form" noValidate onSubmit={send}>
      <div class="create-fields">
        <PromptField label={t.create.prompt} placeholder={t.create.promptHint} value={page.form.prompt} error={page.promptError} fieldRef={page.prompt} onInput={page.input} rows={4} />
        <Replaced page={page} />
        <Fields page={page} />
      </div>
      <div class="create-submit">
        <Trouble error={page.send.error} class="trouble send-error" />
        <CreateButton page={page} />
      </div>
    </Form>
  );
}

function CreateButton({ page }: { page: CreatePageState }) {
  const count = targetsOf(page.form, page.engines).length;
  return (
    <button type="submit" class="primary create-button" aria-busy={page.send.isRunning} aria-disabled={page.send.isRunning} aria-keyshortcuts="Control+Enter" title="Ctrl+Enter">
      <IconCreate aria-hidden="true" />
      {count > 1 ? t.create.createOn(count) : t.create.create}
      <kbd class="wide-only" aria-hidden="true">
        Ctrl ⏎
      </kbd>
    </button>
  );
}

/** After a reuse: the way back. */
function Replaced({ page: { undo } }: { page: CreatePageState }) {
  if (!undo) return null;
  return (
    <p class="replaced" role="status">
      {t.create.replaced}
      <button type="button" class="quiet small" onClick={undo}>
        {t.create.undo}
      </button>
    </p>
  );
}

/** On a narrow window: the prompt at the bottom, all else in a sheet. */
function Composer({ page }: { page: CreatePageState }) {
  const send = useSend(page);
  const [isOpen, setIsOpen] = useState(false);
  const [source] = page.form.sources;
  return (
    <Form
      class="create-composer"
      noValidate
      onSubmit={() => {
        setIsOpen(false);
        send();
      }}
    >
      {page.engineList.value && !page.engines.some((it) => it.is_ready) && <NoEngines />}
      <Replaced page={page} />
      <Trouble error={page.send.error} class="trouble send-error" />
      <div class="create-box">
        <PromptField isBare label={t.create.prompt} placeholder={t.create.promptHint} rows={1} value={page.form.prompt} error={page.promptError} fieldRef={page.prompt} onInput={page.input} />
        <div class="create-row">
          <button type="button" class="quiet" aria-haspopup="dialog" onClick={() => setIsOpen(true)}>
            <IconSliders aria-hidden="true" />
            <span class="truncate">{[page.engine ? titleOf(page.engine) : t.create.settings, source && t.create.sourceCount(page.form.sources.length)].filter(Boolean).join(" · ")}</span>
          </button>
          <CreateButton page={page} />
        </div>
      </div>
      {isOpen && (
        <Dialog title={t.create.settings} class="bottom-sheet" onClose={() => setIsOpen(false)} foot={<CreateButton page={page} />}>
          <Fields page={page} />
        </Dialog>
      )}
    </Form>
  );
}

function StageColumn({ page, isWide }: { page: CreatePageState; isWide: boolean }) {
  const { recent, batches, shownId } = page;
  const shown = batches.find((it) => it.id === shownId) ?? batches[0];
  const column = useRef<HTMLElement>(null);
  useEffect(() => {
    if (shownId !== undefined) column.current?.scrollIntoView({ block: "start" });
  }, [shownId]);
  return (
    <section ref={column} class="create-stage" aria-label={t.create.results}>
      {page.actionError !== undefined && (
        <Notice
          isBad
          actions={
            <button type="button" class="quiet" onClick={page.clearActionError}>
              {t.shell.close}
            </button>
          }
        >
          {messageOf(page.actionError)}
        </Notice>
      )}
      {recent.error !== undefined && !recent.jobs && <Failure error={recent.error} onRetry={recent.reload} />}
      {!recent.jobs && recent.error === undefined && <div class="skeleton stage-skeleton" aria-busy="true" aria-label={t.shell.loading} />}
      {recent.jobs && !shown && <EmptyStage onChoose={(prompt) => page.input(prompt)} />}
      {shown && <Stage key={shown.id} batch={shown} engines={page.engines} images={page.images} actions={page.actions} isWide={isWide} ratioOfImage={page.ratioOfImage} />}
      {batches.length > 0 && (
        <Strip batches={batches} shownId={shown?.id} images={page.images} hasMore={recent.hasMore} onShow={page.setShownId} onMore={recent.loadMore} />
      )}
    </section>
  );
}

