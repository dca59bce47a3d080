import { useEffect, useState } from "preact/hooks";
import { post } from "../../../api/client.ts";
import type { BindingExplanation, Operation, PlacementRow, Setting } from "../../../api/types.ts";
import { useDelayed } from "../../../components/delayed.ts";
import { Trouble } from "../../../components/notice.tsx";
import { t } from "../../../text/index.ts";
import { fieldText, type Draft } from "./setting.ts";
import { nodeChoice, nodesOf, readWorkflow, type NodeChoice } from "./workflow.ts";

/** Time without typing until the workflow is explained, in milliseconds. */
const PAUSE_MS = 500;

interface WorkflowSectionProps {
  binding: string;
  settings: readonly Setting[];
  draft: Draft;
  operation: Operation;
  onChange: (name: string, value: unknown) => void;
}

/** How an engine understands its document: where each value of a job goes. */
export function WorkflowSection({ binding, settings, draft, operation, onChange }: WorkflowSectionProps) {
  const workflow = settings.find((it) => it.key === "workflow" && it.mode === operation);
  const nodes = settings.find((it) => it.key === "workflow-nodes" && it.mode === operation);
  const text = workflow ? fieldText(workflow, draft) : "";
  const [explanation, setExplanation] = useState<BindingExplanation | undefined>();
  const [error, setError] = useState<unknown>();
  const key = useDelayed(`${text} ${nodes ? fieldText(nodes, draft) : ""}`, PAUSE_MS);
  useEffect(() => {
    setExplanation(undefined);
    setError(undefined);
    if (text === "") return;
    const controller = new AbortController();
    const body = { settings: draft, operation };
    post("/api/v1/bindings/{name}/explain", { path: { name: binding }, body, signal: controller.signal }).then(setExplanation, (failure: unknown) => {
      if (!controller.signal.aborted) setError(failure);
    });
    return () => controller.abort();
  }, [key]);
  if (!workflow) return null;
  const read = readWorkflow(text);
  const choices = read.graph ? nodesOf(read.graph) : [];
  const assign = (row: PlacementRow, choice: NodeChoice) => {
    if (nodes) onChange(nodes.name, withNode(currentNodes(nodes, draft), row.role, choice));
  };
  return (
    <section class="stack" aria-labelledby="workflow">
      <h2 id="workflow">{t.settings.workflow}</h2>
      <DropZone onText={(dropped) => onChange(workflow.name, dropped)} />
      {read.problem === "editor" && <p class="trouble">{t.settings.editorFormat}</p>}
      {read.problem === "json" && <p class="trouble">{t.settings.noJson}</p>}
      <Trouble error={error} />
      {explanation?.problems.map((it) => (
        <p key={it} class="trouble wrap">
          {it}
        </p>
      ))}
      {explanation && explanation.rows.length > 0 && <WorkflowTable rows={explanation.rows} choices={choices} onAssign={nodes ? assign : undefined} />}
    </section>
  );
}

function DropZone({ onText }: { onText: (text: string) => void }) {
  const [isOver, setOver] = useState(false);
  const load = async (file: File | undefined) => {
    if (file) onText(await file.text());
  };
  return (
    <label
      class={isOver ? "drop-zone over" : "drop-zone"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        void load(event.dataTransfer?.files[0]);
      }}
    >
      <span>{t.settings.dropWorkflow}</span>
      <input type="file" accept=".json,application/json" class="visually-hidden" onChange={(event) => void load(event.currentTarget.files?.[0])} />
      <span class="button">{t.settings.chooseFile}</span>
    </label>
  );
}

interface WorkflowTableProps {
  rows: readonly PlacementRow[];
  choices: readonly NodeChoice[];
  onAssign: ((row: PlacementRow, choice: NodeChoice) => void) | undefined;
}

function WorkflowTable({ rows, choices, onAssign }: WorkflowTableProps) {
  return (
    <div class="scroll-x" role="group" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th>{t.settings.role}</th>
            <th>{t.settings.node}</th>
            <th>{t.settings.input}</th>
            <th class="wide-only">{t.settings.value}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.role} ${row.node} ${row.input}`}>
              <td>
                <strong>{row.role}</strong>
              </td>
              <td>
                <NodeSelect row={row} choices={choices} onAssign={onAssign} />
              </td>
              <td>
                <code>{row.input}</code>
              </td>
              <td class="wide-only cut-cell" dir="auto">
                {row.value}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function NodeSelect({ row, choices, onAssign }: { row: PlacementRow } & Omit<WorkflowTableProps, "rows">) {
  const current = nodeChoice(row.node, row.input);
  const known = choices.some((it) => it.id === current.id);
  if (!onAssign || !known) {
    return (
      <span>
        {row.title} <small>({row.node})</small>
      </span>
    );
  }
  const pick = (id: string) => {
    const choice = choices.find((it) => it.id === id);
    if (choice) onAssign(row, choice);
  };
  return (
    <select aria-label={t.settings.nodeOf(row.role)} value={current.id} onChange={(event) => pick(event.currentTarget.value)}>
      {choices.map((it) => (
        <option key={it.id} value={it.id}>
          {`${it.title} (${it.node}) · ${it.input}`}
        </option>
      ))}
    </select>
  );
}

interface NodeEntry {
  type: string;
  key: string;
  node_ids: string[];
}

function currentNodes(setting: Setting, draft: Draft): NodeEntry[] {
  const value = setting.name in draft ? draft[setting.name] : setting.value;
  return Array.isArray(value) ? (value as NodeEntry[]) : [];
}

/** The list with this role at this node, in Open WebUI's format. */
function withNode(nodes: readonly NodeEntry[], role: string, { node, input }: NodeChoice): NodeEntry[] {
  return [...nodes.filter((it) => it.type !== role), { type: role, key: input, node_ids: [node] }];
}
