// The engines of the server: what waits for a decision, then all of them with their figures.
import { useCallback, useEffect, useState } from "preact/hooks";
import { post } from "../../../api/client.ts";
import { Empty, Failure, Notice } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { IconPlus, IconReload } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { engineList, engineListError, followEngines, reloadEngines } from "../engine_list.ts";
import { useLive } from "../live.ts";
import { Decisions } from "./decisions.tsx";
import { InstallDialog } from "./install_dialog.tsx";
import { describeEngine } from "./requests.ts";
import { ReviewDialog } from "./review_dialog.tsx";
import { EngineTable, TableSkeleton, type EngineFigures } from "./table.tsx";
import { totalsOf } from "./series.ts";
import type { EngineStatus, UpdateReport } from "./types.ts";

export { Aside } from "../aside.tsx";

export default function EnginesPage() {
  useEffect(followEngines, []);
  const list = engineList.value;
  const engines = list?.releases?.engines ?? [];
  const figures = useFigures(engines);
  const running = [...(figures?.values() ?? [])].reduce((total, it) => total + it.totals.running, 0);
  const [installed, setInstalled] = useState<{ file?: File } | undefined>();
  const [reviewed, setReviewed] = useState<string | undefined>();
  const [isDropping, setIsDropping] = useState(false);
  const [checked, setChecked] = useState<UpdateReport | undefined>();
  const check = useAction(async () => {
    setChecked(await post("/api/v1/engines/update"));
    await reloadEngines();
  });
  const actions = (
    <>
      <button type="button" class="quiet icon" aria-label={t.engines.checkFolder} title={t.engines.checkFolder} disabled={check.isRunning} onClick={() => void check.run()}>
        <IconReload aria-hidden="true" />
      </button>
      <button type="button" class="primary" aria-label={t.engines.install} onClick={() => setInstalled({})}>
        <IconPlus aria-hidden="true" />
        <span class="wide-only">{t.engines.install}</span>
        <span class="phone-only">{t.engines.installShort}</span>
      </button>
    </>
  );
  const onDragOver = (event: DragEvent) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    setIsDropping(true);
  };
  const onDrop = (event: DragEvent) => {
    event.preventDefault();
    setIsDropping(false);
    const file = event.dataTransfer?.files[0];
    if (file) setInstalled({ file });
  };
  const serving = engines.filter((it) => it.serves).length;
  return (
    <Page title={t.engines.title} lead={list && <small class="wide-only">{t.engines.lead(serving, running)}</small>} actions={actions}>
      <div class={isDropping ? "sheet dropping" : "sheet"} onDragOver={onDragOver} onDragLeave={() => setIsDropping(false)} onDrop={onDrop}>
        {isDropping && <p class="drop-hint">{t.engines.dropHint}</p>}
        {check.isRunning && <Notice>{t.engines.checking}</Notice>}
        {check.error !== undefined && <Failure error={check.error} onRetry={() => void check.run()} />}
        {checked && !check.isRunning && <CheckResult result={checked} onClose={() => setChecked(undefined)} />}
        {engineListError.value !== undefined && <Failure error={engineListError.value} onRetry={() => void reloadEngines()} />}
        <Decisions engines={engines} onReview={setReviewed} />
        {!list && engineListError.value === undefined && <TableSkeleton />}
        {list && <Engines figures={figures} onInstall={() => setInstalled({})} />}
      </div>
      {installed && <InstallDialog {...installed} onReview={setReviewed} onClose={() => setInstalled(undefined)} />}
      {reviewed !== undefined && <ReviewDialog name={reviewed} onClose={() => setReviewed(undefined)} />}
    </Page>
  );
}

interface EnginesProps {
  figures: ReadonlyMap<string, EngineFigures> | undefined;
  onInstall: () => void;
}

function Engines({ figures, onInstall }: EnginesProps) {
  const releases = engineList.value?.releases;
  const isEmpty = releases && releases.engines.length + releases.rejected.length + releases.starting.length === 0;
  if (!releases || isEmpty) {
    const install = (
      <button type="button" class="primary" onClick={onInstall}>
        {t.engines.install}
      </button>
    );
    return (
      <Empty title={t.engines.none} actions={install}>
        {t.engines.noneHint}
      </Empty>
    );
  }
  return <EngineTable {...releases} bindings={engineList.value?.bindings ?? []} figures={figures} />;
}

/** The figures of the engines that serve, each read by itself. */
function useFigures(engines: readonly EngineStatus[]): ReadonlyMap<string, EngineFigures> | undefined {
  const names = engines.filter((it) => it.serves).map((it) => it.name);
  const revisions = engines.map((it) => `${it.name} ${it.revision}`).join("\n");
  const load = async (signal: AbortSignal) => {
    const now = Date.now();
    const loaded = await Promise.all(names.map((it) => describeEngine(it, signal).catch(() => undefined)));
    const figures = new Map<string, EngineFigures>();
    for (const it of loaded) if (it) figures.set(it.engine.name, { figures: it.figures, totals: totalsOf(it.figures, now), now });
    return figures;
  };
  const { value, reload } = useResource(load, [revisions]);
  const isBusy = [...(value?.values() ?? [])].some((it) => it.totals.running > 0);
  useLive(useCallback(reload, [reload]), isBusy);
  return value;
}

function CheckResult({ result, onClose }: { result: UpdateReport; onClose: () => void }) {
  const names = result.changed.map((it) => it.name);
  const text = [names.length > 0 ? t.engines.changed(t.admin.list(names)) : t.engines.nothingChanged];
  if (result.rejected.length > 0) text.push(t.engines.filesRefused(result.rejected.length));
  const close = (
    <button type="button" class="quiet" onClick={onClose}>
      {t.admin.dismiss}
    </button>
  );
  return <Notice actions={close}>{text.join(" ")}</Notice>;
}
