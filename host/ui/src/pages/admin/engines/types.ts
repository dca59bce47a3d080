// What the server says about engines to administrators.

export interface VersionStatus {
  version: string;
  /** SHA-256 of the component, in hexadecimal. */
  digest: string;
  state: string;
  is_previous: boolean;
  /** Why it has this state. */
  reason: string;
  /** Its file in the engine folder; empty if it was uploaded. */
  file: string;
  size_bytes: number;
  /** Empty if the server installed it. */
  added_by: string;
  added_at: number;
  /** The permissions that wait for approval. */
  new_rights: string[];
  jobs: number | null;
  failed: number | null;
}

export interface EngineStatus {
  name: string;
  serves: boolean;
  pinned: boolean;
  strategy: string;
  /** The share of users who get the candidate; 0 without one. */
  percent: number;
  /** 0 if the engine never served or was removed. */
  revision: number;
  changed_at: number;
  versions: VersionStatus[];
}

export interface RejectedFile {
  file: string;
  reason: string;
}

/** A binding, as far as these pages need it. */
export interface BindingSummary {
  name: string;
  engine: string;
  title: string;
  is_ready: boolean;
  reason?: string;
}

export interface EngineList {
  bindings: BindingSummary[];
  releases?: { engines: EngineStatus[]; rejected: RejectedFile[]; starting: string[] };
}

/** The jobs that ended in one minute. Figures other than the counts are there if the server stores them. */
export interface MinuteFigures {
  at_ms: number;
  jobs: number;
  failed: number;
  p50_ms?: number | null;
  p99_ms?: number | null;
  cpu_ms?: number;
  peak_memory_bytes?: number;
}

export interface UpstreamFigures {
  /** `null` for images at URLs of other hosts. */
  upstream?: string | null;
  requests: number;
  failed_requests: number;
  sent_bytes: number;
  received_bytes: number;
}

export interface VersionFigures {
  digest: string;
  since_ms: number;
  running: number;
  jobs: number;
  ok: number;
  failed: number;
  failures: Record<string, number>;
  p50_ms?: number | null;
  p99_ms?: number | null;
  cpu_ms: number;
  mean_cpu_ms: number;
  peak_memory_bytes: number;
  traffic: UpstreamFigures[];
  minutes: MinuteFigures[];
}

export type RightState = "granted" | "new" | "denied" | "unused";

export interface DeclaredRight {
  right: string;
  state: RightState;
}

export interface UpstreamDetails {
  name: string;
  base_url: string | null;
  edit_base_url: string | null;
  variables: string;
  requests: string[];
}

export interface BindingDetails {
  name: string;
  problems: string[];
  upstreams: UpstreamDetails[];
}

export interface ServingComponent {
  version: string;
  title: string;
  file: string;
  digest: string;
  imports: string[];
  abilities: string[];
  bindings: BindingDetails[];
}

export interface PendingComponent {
  version: string;
  digest: string;
  file: string;
  /** The engine that the same file was before; empty if it has not changed its name. */
  previous_engine: string;
  reason: string;
}

export interface EngineDescription {
  engine: EngineStatus;
  figures: VersionFigures[];
  granted: { digest: string; file: string } | null;
  pending: PendingComponent | null;
  rights: DeclaredRight[];
  serving: ServingComponent | null;
}

export interface InstallReport {
  engine: string;
  version: string;
  digest: string;
  state: string;
  /** One line for each step, in order. */
  steps: string[];
  new_rights: string[];
}

export interface HistoryEntry {
  at: number;
  what: string;
  why: string;
  digest: string;
  by: string;
}

export interface LogLine {
  digest: string;
  number: number;
  at_ms: number;
  level: string;
  job: string;
  text: string;
}
