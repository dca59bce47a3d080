/** SDK for authors of Pinhole image engines in JavaScript. `engine.wit` documents the contract. */

/** A secret in a header, a query parameter, or another place of a request. Each text is the key of a secret setting. */
export type Credential =
  | { bearer: string }
  | { basic: string }
  | { header: { name: string; prefix?: string; secret: string } }
  | { query: { name: string; secret: string } }
  | { body: { name: string; secret: string } }
  | {
      aws: {
        accessKeyId: string;
        secretAccessKey: string;
        sessionToken?: string;
        region: string;
        service: string;
      };
    }
  | { google: { serviceAccount: string; scope: string } };

export type SettingKind = "text" | "document" | "url" | "integer" | "boolean" | "secret" | { choice: string[] };

export interface Setting {
  /** Lower-case letters, digits and dashes. */
  key: string;
  title: string;
  description?: string;
  kind: SettingKind;
  /** A value of the kind. A secret has none. */
  default?: string | number | boolean;
  /** Environment variables that also set it. Each contains the engine's name. */
  variables?: string[];
  /** Environment variables for `edit`. */
  editVariables?: string[];
}

export type ParameterKind =
  | "text"
  | "boolean"
  | { integer: { min?: number; max?: number } }
  | { number: { min?: number; max?: number } }
  | { choice: string[] };

/** A value that a caller can give with a job. */
export interface Parameter {
  name: string;
  title: string;
  description?: string;
  kind: ParameterKind;
  default?: string | number | boolean;
  unit?: string;
}

export interface Upstream {
  /** The name in requests. */
  name: string;
  /** Key of the setting with the base URL. */
  baseUrl: string;
  credentials?: Credential[];
  /** Method and path of every request, such as `POST /v1/images`. */
  requests: string[];
  /** Further hosts of the API, for `Document.follow`. */
  hosts?: string[];
  /** Further hosts of images, for `Document.fetchImage`. */
  imageHosts?: string[];
}

/** What an engine supports. What is absent is not supported; `maxCount` is 1. */
export interface Abilities {
  edit?: boolean;
  mask?: boolean;
  progress?: boolean;
  cancel?: boolean;
  negativePrompt?: boolean;
  seed?: boolean;
  steps?: boolean;
  strength?: boolean;
  maxCount?: number;
  maxSources?: number;
}

export interface Description {
  /** Lower-case letters, digits and dashes. */
  name: string;
  title: string;
  version: string;
  abilities?: Abilities;
  settings?: Setting[];
  upstreams?: Upstream[];
  parameters?: Parameter[];
  /** Parameters that are not declared reach the engine too. */
  otherParameters?: boolean;
}

export interface Size {
  width: number;
  height: number;
}

export interface Job {
  prompt: string;
  negativePrompt?: string;
  model?: string;
  size?: Size;
  count: number;
  steps?: number;
  /** At most `Number.MAX_SAFE_INTEGER`: the SDK refuses larger ones. */
  seed?: number;
  strength?: number;
  /** The caller's values of the declared parameters. */
  parameters: Record<string, unknown>;
}

/** The settings of a call by key. Unset ones are absent; the host never passes secrets. */
export type Settings = Record<string, string | number | boolean>;

/** An image on the host. */
export class Image {
  private constructor();
  /** Such as `image/png`. */
  mediaType(): string;
  size(): Size;
  /** In bytes. */
  length(): number;
  read(offset: number, length: number): Uint8Array;
  /** A mask as white on black. */
  whiteMask(): Image;
}

export interface MadeImage {
  image: Image;
  /** The seed with which the engine makes the same image again. */
  seed?: number;
  /** The upstream's safety system marked the image. */
  flagged?: boolean;
  /** Stored with the image. */
  details?: Record<string, unknown>;
}

export interface Output {
  images: (Image | MadeImage)[];
  revisedPrompt?: string;
  details?: Record<string, unknown>;
  usage?: Record<string, unknown>;
  cost?: { amount: number; unit: string };
  /** What the caller should know about the images. */
  warnings?: string[];
}

export interface ModelAbilities {
  edit?: boolean;
  mask?: boolean;
  negativePrompt?: boolean;
  seed?: boolean;
  steps?: boolean;
  strength?: boolean;
  maxCount?: number;
  maxSources?: number;
  sizes?: Size[];
  aspectRatios?: string[];
}

export interface Model {
  id: string;
  /** By default the id. */
  name?: string;
  abilities?: ModelAbilities;
}

export interface Verification {
  server?: string;
  problems?: string[];
}

/** Where the settings place a value of a job. Absent texts are empty. */
export interface Placement {
  /** The key of the setting that holds the document. */
  setting: string;
  /** The value's name, such as `prompt` or `image 1`. */
  role: string;
  /** The id of the document's node. */
  node?: string;
  /** The node's title or class. */
  title?: string;
  /** The name of the node's input. */
  input?: string;
  /** The document's own value, which a job's value replaces. */
  value?: string;
}

export interface Explanation {
  rows?: Placement[];
  /** What the settings do not do, although jobs are possible. */
  problems?: string[];
}

/** An image engine. The host runs each call in a new instance, so no state survives a call. */
export interface Engine {
  /** Describes the engine, with nothing granted. The host calls it once. */
  describe(): Description;
  /** Generates images from a prompt. */
  generate(job: Job, settings: Settings): Output;
  /** Edits images. The mask is transparent in the area that may change. */
  edit?(job: Job, sources: Image[], mask: Image | undefined, settings: Settings): Output;
  /** Lists the models that the upstream offers. */
  models?(settings: Settings): Model[];
  /** Checks the settings, then that the upstream responds and accepts the credentials. */
  verify?(settings: Settings): Verification;
  /** Explains the settings. It needs `defineExplain` and the world `image-engine-with-explain`. */
  explain?(settings: Settings): Explanation;
}

/** What the component exports. Name it `engine`: `export const engine = defineEngine({ … })`. */
export function defineEngine(engine: Engine): object;

/**
 * What the component of an engine with `explain` exports too. Name it `explain`: `export const explain = defineExplain(engine)`. Build
 * the component with `--world image-engine-with-explain`.
 */
export function defineExplain(engine: Required<Pick<Engine, "explain">>): object;

export type ErrorKind =
  | "invalid"
  | "unauthorized"
  | "forbidden"
  | "quota"
  | "rate-limited"
  | "blocked"
  | "not-found"
  | "out-of-memory"
  | "unavailable"
  | "timeout"
  | "cancelled"
  | "unsupported"
  | "upstream"
  | "protocol";

/** Why a call failed. The message is for a person: what failed, on what, and what to do. */
export class EngineError extends Error {
  constructor(kind: ErrorKind, message: string, more?: { code?: string; field?: string; retryAfterMs?: number });
  readonly kind: ErrorKind;
  readonly code?: string;
  readonly field?: string;
  readonly retryAfterMs?: number;
}

/** In the JSON of a request: the image as a data URL. An `Image` alone is its base64. */
export function dataUrl(image: Image): object;

/** At most one of `json`, `form`, `urlencoded` and `image`. Fields that are undefined are not sent. */
export interface Content {
  headers?: Record<string, string>;
  /** May contain an `Image` or a `dataUrl` in place of a value. */
  json?: unknown;
  /** A multipart form. An `Image` is a file; a list has a field for each entry. */
  form?: Record<string, unknown>;
  urlencoded?: Record<string, unknown>;
  image?: Image;
}

export interface Request extends Content {
  upstream: string;
  /** By default `GET`. */
  method?: string;
  /** The host appends it to the base URL. */
  path: string;
}

/** Sends a request and waits for its response, of any status. */
export function send(request: Request): Response;
/** Sends a request without waiting. */
export function start(request: Request): Pending;
/** Opens a WebSocket. */
export function connect(upstream: string, path: string): Socket;

export interface Pending {
  /** Waits for the response. `undefined` if it has not arrived in this time. */
  wait(timeoutMs: number): Response | undefined;
}

export interface Response {
  readonly status: number;
  /** The status is 2xx. */
  readonly ok: boolean;
  /** By name in lower case. */
  readonly headers: Record<string, string>;
  /** Throws the upstream's refusal unless the status is 2xx. */
  success(): Response;
  /** The response as an error, with the upstream's message and the kind of its status. */
  refusal(): EngineError;
  document(): Document;
  /** The body's JSON, in which long strings are cut. */
  json(): any;
  /** The whole body as an image. */
  image(): Image;
  /** The beginning of the body. */
  text(maxBytes?: number): string;
  /** The events of a stream. */
  events(): Iterable<Document>;
}

/** A JSON document on the host. */
export interface Document {
  readonly eventName?: string;
  /** The JSON, in which long strings are cut. */
  json(): any;
  /** The whole string at a JSON pointer. Throws if it is longer. */
  text(pointer: string, maxBytes?: number): string;
  /** The image in the base64 string or data URL at a JSON pointer. */
  image(pointer: string): Image;
  /** The image at the URL in the string at a JSON pointer. */
  fetchImage(pointer: string): Image;
  /** Sends a request to the URL in the string at a JSON pointer. */
  follow(pointer: string, request?: Content & { method?: string }): Response;
}

/** A binary message on the host. */
export interface Message {
  length(): number;
  read(offset: number, length: number): Uint8Array;
  imageFrom(offset: number): Image;
}

export interface Socket {
  /** Sends a text, or another value as JSON. */
  send(message: unknown): void;
  /** Waits for a message. `undefined` if none arrives in this time. */
  receive(timeoutMs: number): Document | Message | undefined;
}

/** Stores an image that the engine made. */
export function imageFromBytes(bytes: Uint8Array): Image;
/** Reports progress. Name only what is known. */
export function report(progress: { fraction?: number; queuePosition?: number; note?: string; preview?: Image }): void;
/** Waits. False if the job was cancelled. */
export function sleep(ms: number): boolean;
/** A random integer below 2 to the power of 32, for a seed. */
export function random(): number;
/** Stores a text with the job, for the next attempt if the host stops. */
export function remember(text: string): void;
/** The text that an earlier attempt stored. */
export function remembered(): string | undefined;
/** The operator's log. */
export const log: Record<"debug" | "info" | "warn" | "error", (message: unknown) => void>;
