// A ComfyUI workflow in the API format: nodes by id, with a class and inputs.

type WorkflowGraph = Record<string, { class_type: string; inputs: Record<string, unknown>; _meta?: { title?: string } }>;

export interface NodeChoice {
  /** Of the choice: node and input. */
  id: string;
  node: string;
  title: string;
  input: string;
}

interface ReadWorkflow {
  graph?: WorkflowGraph;
  /** `editor`: the format of ComfyUI's editor, which cannot be run. */
  problem?: "json" | "editor" | "other";
}

export function readWorkflow(text: string): ReadWorkflow {
  if (text.trim() === "" || text.startsWith("@")) return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { problem: "json" };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { problem: "other" };
  if ("nodes" in value && "links" in value) return { problem: "editor" };
  const entries = Object.entries(value).filter(([, node]) => isNode(node));
  return entries.length > 0 ? { graph: Object.fromEntries(entries) as WorkflowGraph } : { problem: "other" };
}

function isNode(node: unknown): boolean {
  if (typeof node !== "object" || node === null) return false;
  const { class_type: type, inputs } = node as { class_type?: unknown; inputs?: unknown };
  return typeof type === "string" && typeof inputs === "object" && inputs !== null;
}

/** The inputs that have a value of their own: those with a link get theirs from another node. */
export function nodesOf(graph: WorkflowGraph): NodeChoice[] {
  return Object.entries(graph).flatMap(([node, { class_type: type, inputs, _meta: meta }]) =>
    Object.entries(inputs)
      .filter(([, value]) => !Array.isArray(value))
      .map(([input]) => ({ ...nodeChoice(node, input), title: meta?.title || type })),
  );
}

export function nodeChoice(node: string, input: string): NodeChoice {
  return { id: `${node} ${input}`, node, title: node, input };
}
