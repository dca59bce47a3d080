// One engine: its figures, permissions, versions, traffic, jobs and log.
import { useCallback, useEffect, useState } from "preact/hooks";
import { ApiError } from "../../../api/client.ts";
import { Menu } from "../../../components/menu.tsx";
import { Empty, Failure } from "../../../components/notice.tsx";
import { Page } from "../../../components/page.tsx";
import { useAction, useResource, type Resource } from "../../../components/resource.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { IconMore, IconPin, IconSettings, IconTrash } from "../../../icons.ts";
import { location, setQuery } from "../../../router.ts";
import { t } from "../../../text/index.ts";
import { engineList, onEngineChange } from "../engine_list.ts";
import { useLive } from "../live.ts";
import { Status } from "../../../components/status.tsx";
import { Tabs } from "../tabs.tsx";
import { Decision } from "./decisions.tsx";
import { EngineJobs } from "./engine_jobs.tsx";
import { Log } from "./log.tsx";
import { Overview } from "./overview.tsx";
import { Permissions } from "./permissions.tsx";
import { RemoveDialog } from "./remove_dialog.tsx";
import { describeEngine, setPinned } from "./requests.ts";
import { ReviewDialog } from "./review_dialog.tsx";
import { engineState, engineTone } from "./states.ts";
import { Traffic } from "./traffic.tsx";
import type { EngineDescription, EngineStatus } from "./types.ts";
import { Versions } from "./versions.tsx";

export { Aside } from "../aside.tsx";

const TABS = ["overview", "permissions", "versions", "traffic", "jobs", "log"] as const;
type TabName = (typeof TABS)[number];

export default function EnginePage({ parameters }: { parameters: Record<string, string> }) {
  const name = parameters.name ?? "";
  const engine = useResource((signal) => describeEngine(name, signal), [name]);
  const { reload, value, error } = engine;
  useEffect(() => onEngineChange(reload, name), [name, reload]);
  useLive(
    useCallback(() => reload(), [reload]),
    value?.figures.some((it) => it.running > 0) ?? false,
  );
  const [dialog, setDialog] = useState<"review" | "remove" | undefined>();
  const isUnknown = error instanceof ApiError && error.status === 404;
  const title = value?.serving?.title ?? name;
  const lead = value && <EngineStatusLine engine={value.engine} />;
  return (
    <Page title={title} lead={lead} actions={value && <Actions engine={engine} name={name} onRemove={() => setDialog("remove")} />}>
      <div class="sheet">
        {isUnknown && <UnknownEngine />}
        {error !== undefined && !isUnknown && <Failure error={error} onRetry={reload} />}
        {!value && error === undefined && <EngineSkeleton />}
        {value && !isUnknown && <EngineTabs name={name} engine={value} resource={engine} onReview={() => setDialog("review")} />}
      </div>
      {dialog === "review" && <ReviewDialog name={name} onClose={() => setDialog(undefined)} />}
      {dialog === "remove" && value && <RemoveDialog engine={value} onDone={reload} onClose={() => setDialog(undefined)} />}
    </Page>
  );
}

function EngineStatusLine({ engine }: { engine: EngineStatus }) {
  const state = engineState(engine, engineList.value?.bindings ?? []);
  return (
    <small class="wide-only">
      <Status tone={engineTone(state)}>{state === "canary" ? t.engines.canaryShare(engine.percent) : t.engines.states[state]}</Status>
    </small>
  );
}

interface ActionsProps {
  engine: Resource<EngineDescription>;
  name: string;
  onRemove: () => void;
}

function Actions({ engine, name, onRemove }: ActionsProps) {
  const status = engine.value?.engine;
  const pin = useAction(async () => {
    await setPinned(name, status?.pinned !== true);
    engine.reload();
  });
  const canChange = status !== undefined && status.revision > 0;
  return (
    <>
      <a class="button" href={`/admin/settings/${encodeURIComponent(name)}`} aria-label={t.engines.settings}>
        <IconSettings aria-hidden="true" />
        <span class="wide-only">{t.engines.settings}</span>
      </a>
      {canChange && (
        <Menu label={t.shell.more} face={<IconMore aria-hidden="true" />}>
          <button type="button" disabled={pin.isRunning} onClick={() => void pin.run()}>
            <IconPin aria-hidden="true" />
            {status.pinned ? t.engines.versions.unpin : t.engines.versions.pin}
          </button>
          <hr />
          <button type="button" class="danger" onClick={onRemove}>
            <IconTrash aria-hidden="true" />
            {t.engines.removal.menu}
          </button>
        </Menu>
      )}
    </>
  );
}

interface EngineTabsProps {
  name: string;
  engine: EngineDescription;
  resource: Resource<EngineDescription>;
  onReview: () => void;
}

function EngineTabs({ name, engine, resource, onReview }: EngineTabsProps) {
  const wanted = location.value.query.get("tab");
  const tab: TabName = TABS.find((it) => it === wanted) ?? "overview";
  const parked = engine.engine.versions.find((it) => it.state === "parked");
  const tabs = TABS.map((it) => ({ name: it, title: t.engines.tabs[it] }));
  return (
    <>
      {parked && (
        <section class="decisions" aria-label={t.engines.decisions}>
          <Decision engine={engine.engine} version={parked} bindings={engine.serving?.bindings ?? []} onReview={onReview} />
        </section>
      )}
      <Tabs label={name} tabs={tabs} current={tab} onChoose={(it) => setQuery({ tab: it === "overview" ? undefined : it })}>
        {tab === "overview" && <Overview engine={engine} />}
        {tab === "permissions" && <Permissions engine={engine} onChange={resource.reload} />}
        {tab === "versions" && <Versions engine={engine} onChange={resource.reload} onReview={onReview} />}
        {tab === "traffic" && <Traffic engine={engine} />}
        {tab === "jobs" && <EngineJobs name={name} />}
        {tab === "log" && <Log key={name} name={name} />}
      </Tabs>
    </>
  );
}

function UnknownEngine() {
  return (
    <Empty
      title={t.engines.unknown}
      actions={
        <a class="button" href="/admin">
          {t.engines.toList}
        </a>
      }
    />
  );
}

function EngineSkeleton() {
  return (
    <>
      <Skeleton class="row-skeleton" />
      <Skeleton class="tiles-skeleton" />
      <Skeleton class="chart-skeleton" />
    </>
  );
}
