import type { ComponentChildren } from "preact";
import { formatDuration, formatNumber, formatPercent } from "../../../format.ts";
import { IconChevronRight } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { Skeleton } from "../../../components/skeleton.tsx";
import { Status } from "../../../components/status.tsx";
import { jobsOverTime, type Totals } from "./series.ts";
import { Sparkline } from "./sparkline.tsx";
import { engineState, engineTone, servingVersion } from "./states.ts";
import type { BindingSummary, EngineStatus, RejectedFile, VersionFigures } from "./types.ts";

/** Points of a load line. */
const POINTS = 32;
const SKELETON_ROWS = 5;

export interface EngineFigures {
  figures: VersionFigures[];
  totals: Totals;
  /** When they were read, in milliseconds since 1970. */
  now: number;
}

interface EngineTableProps {
  engines: readonly EngineStatus[];
  rejected: readonly RejectedFile[];
  starting: readonly string[];
  bindings: readonly BindingSummary[];
  figures: ReadonlyMap<string, EngineFigures> | undefined;
}

/** All engines, then files that did not become one. */
export function EngineTable({ engines, rejected, starting, bindings, figures }: EngineTableProps) {
  return (
    <table class="engine-table">
      <Head />
      <tbody>
        {engines.map((engine) => (
          <EngineRow key={engine.name} engine={engine} bindings={bindings} figures={figures?.get(engine.name)} />
        ))}
        {starting.map((file) => (
          <FileRow key={file} file={file} tone="live" state={t.engines.compiling} />
        ))}
        {rejected.map(({ file, reason }) => (
          <FileRow key={file} file={file} tone="bad" state={t.engines.refused} reason={reason} />
        ))}
      </tbody>
    </table>
  );
}

function Head() {
  const { columns } = t.engines;
  return (
    <thead>
      <tr>
        <th scope="col">{columns.engine}</th>
        <th scope="col">{columns.version}</th>
        <th scope="col">{columns.state}</th>
        <th scope="col" class="number wide-only">
          {columns.jobs}
        </th>
        <th scope="col" class="number wide-only" title={columns.p50Long}>
          {columns.p50}
        </th>
        <th scope="col" class="number wide-only" title={columns.p99Long}>
          {columns.p99}
        </th>
        <th scope="col" class="number wide-only">
          {columns.failed}
        </th>
        <th scope="col" class="wide-only engine-load">
          {columns.load}
        </th>
        <th scope="col" class="wide-only">
          <span class="visually-hidden">{columns.action}</span>
        </th>
      </tr>
    </thead>
  );
}

interface EngineRowProps {
  engine: EngineStatus;
  bindings: readonly BindingSummary[];
  figures: EngineFigures | undefined;
}

function EngineRow({ engine, bindings, figures }: EngineRowProps) {
  const state = engineState(engine, bindings);
  const own = bindings.find((it) => it.engine === engine.name);
  const version = servingVersion(engine) ?? engine.versions[0];
  const href = `/admin/engines/${encodeURIComponent(engine.name)}`;
  const totals = figures?.totals;
  return (
    <tr>
      <td class="engine-name">
        <a class="plain" href={href}>
          <strong dir="auto">{engine.name}</strong>
        </a>
        <small class="engine-reason" dir="auto">
          {state === "unready" ? own?.reason : own?.title}
        </small>
      </td>
      <td>{version?.version ?? t.admin.none}</td>
      <td>
        <Status tone={engineTone(state)}>{stateText(engine, state, totals?.running ?? 0)}</Status>
      </td>
      <Figures figures={figures} />
      <td class="wide-only row-action">
        <RowAction state={state} name={engine.name} href={href} />
      </td>
    </tr>
  );
}

function stateText(engine: EngineStatus, state: keyof typeof t.engines.states, running: number): string {
  const text = state === "canary" ? t.engines.canaryShare(engine.percent) : t.engines.states[state];
  const parts = [text];
  if (engine.pinned) parts.push(t.engines.pinned);
  if (running > 0) parts.push(t.engines.runningCount(running));
  return t.admin.list(parts);
}

function Figures({ figures }: { figures: EngineFigures | undefined }) {
  const totals = figures && figures.totals.jobs > 0 ? figures.totals : undefined;
  const duration = (value: number | undefined) => (value === undefined ? t.admin.none : formatDuration(value));
  return (
    <>
      <Cell>{totals ? formatNumber(totals.jobs) : t.admin.none}</Cell>
      <Cell>{duration(totals?.p50_ms)}</Cell>
      <Cell>{duration(totals?.p99_ms)}</Cell>
      <Cell>{totals ? formatPercent(totals.failed / totals.jobs) : t.admin.none}</Cell>
      <td class="wide-only engine-load">{figures && totals && <Load figures={figures} totals={totals} />}</td>
    </>
  );
}

function Cell({ children }: { children: ComponentChildren }) {
  return <td class={children === t.admin.none ? "number wide-only muted" : "number wide-only"}>{children}</td>;
}

function Load({ figures: { figures, now }, totals }: { figures: EngineFigures; totals: Totals }) {
  const values = jobsOverTime(figures, totals.from_ms, now, POINTS);
  return <Sparkline values={values} label={t.engines.loadOf(totals.jobs)} />;
}

interface RowActionProps {
  state: keyof typeof t.engines.states;
  name: string;
  href: string;
}

function RowAction({ state, name, href }: RowActionProps) {
  if (state === "unready") {
    return (
      <a class="button small" href={`/admin/settings/${encodeURIComponent(name)}`} aria-label={`${t.engines.setUp}: ${name}`}>
        {t.engines.setUp}
      </a>
    );
  }
  return (
    <a class="button quiet small icon" href={href} aria-label={t.engines.open(name)}>
      <IconChevronRight aria-hidden="true" />
    </a>
  );
}

interface FileRowProps {
  file: string;
  tone: "live" | "bad";
  state: string;
  reason?: string;
}

function FileRow({ file, tone, state, reason }: FileRowProps) {
  return (
    <tr>
      <td class="engine-name">
        <strong class="truncate" dir="auto">
          {file}
        </strong>
        <small class="engine-reason" dir="auto">
          {reason ?? t.engines.refusedFile}
        </small>
      </td>
      <td class="muted">{t.admin.none}</td>
      <td>
        <Status tone={tone}>{state}</Status>
      </td>
      <td class="wide-only" colSpan={6} />
    </tr>
  );
}

/** Holds the table's place while it is loaded. */
export function TableSkeleton() {
  return <Skeleton class="row-skeleton" count={SKELETON_ROWS} />;
}
