// The types of requests and responses.

export type JobState = "waiting" | "running" | "done" | "failed" | "cancelled" | "interrupted";

export interface Cost {
  amount_micros: number;
  currency: string;
}

export interface JobProgress {
  fraction?: number;
  queue_position?: number;
  note?: string;
  preview?: string;
}

export interface JobFile {
  id: string;
  url: string;
  name: string;
  content_type: string;
  width: number | null;
  height: number | null;
  seed?: number;
  flagged?: boolean;
}

export interface JobRequest {
  prompt: string;
  negative_prompt?: string;
  engine?: string;
  model?: string;
  size?: string;
  n?: number;
  steps?: number;
  seed?: number;
  strength?: number;
  parameters?: Record<string, unknown>;
  sources?: string[];
  mask?: string | null;
}

export interface Job {
  id: string;
  state: JobState;
  operation: "generate" | "edit";
  origin: "api" | "chat";
  chat_id: string | null;
  message_id: string | null;
  user_id: string;
  user_name?: string;
  binding: string;
  engine: string | null;
  engine_version: string | null;
  digest: string | null;
  request: JobRequest | null;
  progress: JobProgress | null;
  files: JobFile[];
  revised_prompt?: string;
  warnings: string[];
  cost?: Cost;
  error: { message: string; code: string; hint?: string } | null;
  created_at: number;
  started_at: number | null;
  ended_at: number | null;
  duration_ms: number | null;
}

export interface Abilities {
  edit: boolean;
  mask: boolean;
  negative_prompt: boolean;
  seed: boolean;
  steps: boolean;
  strength: boolean;
  progress: boolean;
  max_count: number;
  max_sources: number;
}

export interface Parameter {
  name: string;
  title: string;
  description: string;
  type: "text" | "integer" | "number" | "boolean" | "choice";
  min?: number;
  max?: number;
  choices?: string[];
  default: unknown;
  unit: string | null;
}

/** An engine with its settings, as a user may use it. */
export interface UsableEngine {
  name: string;
  engine: string;
  title: string;
  version: string;
  abilities: Abilities;
  parameters: Parameter[];
  other_parameters: boolean;
  default_model: string | null;
  default_size: string | null;
  is_ready: boolean;
  reason?: string;
  generates_by_default: boolean;
  edits_by_default: boolean;
}

export interface ImageModel {
  id: string;
  name: string;
  abilities?: Omit<Abilities, "progress"> & { sizes: string[]; aspect_ratios: string[] };
}

export interface GalleryImage {
  id: string;
  url: string;
  name: string;
  content_type: string;
  size_bytes: number;
  width: number | null;
  height: number | null;
  created_at: number;
  starred: boolean;
  sha256: string | null;
  source: "generated" | "uploaded";
  prompt: string | null;
  revised_prompt?: string;
  negative_prompt?: string;
  operation?: "generate" | "edit";
  binding?: string;
  engine?: string;
  engine_version?: string;
  digest?: string;
  model?: string;
  requested_size?: string;
  steps?: number;
  seed?: number;
  strength?: number;
  parameters?: Record<string, unknown>;
  count?: number;
  sources?: string[];
  flagged?: boolean;
  usage?: Record<string, unknown>;
  cost?: Cost;
  duration_ms?: number;
  warnings?: string[];
  details?: Record<string, unknown>;
  job_id?: string;
  chat_id?: string;
  message_id?: string;
}

/** A stored image, as an upload returns it. */
export interface StoredFile {
  id: string;
  filename: string;
  meta: { name: string; content_type: string; size: number };
  created_at: number;
}
