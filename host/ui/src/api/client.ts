// Requests to the server. A failure is an `ApiError`, whose message is a sentence for the person.
import { signal } from "@preact/signals";
import { t } from "../text/index.ts";

/** True if the session has expired: a dialog asks to sign in, and the page stays as it is. */
export const sessionExpired = signal(false);

export class ApiError extends Error {
  /** 0 if the server could not be reached. */
  readonly status: number;
  /** The field that is wrong, if the server names one. */
  readonly field: string | undefined;
  readonly retryAfterSecs: number | undefined;

  constructor(status: number, message: string, field?: string, retryAfterSecs?: number) {
    super(message);
    this.status = status;
    this.field = field;
    this.retryAfterSecs = retryAfterSecs;
  }
}

type Query = Record<string, string | number | boolean | undefined | null>;

interface Options {
  query?: Query;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

/** The URL with these query parameters. Those without a value are left out. */
export function url(path: string, query: Query = {}): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? path : `${path}?${text}`;
}

async function send(method: string, path: string, body: BodyInit | null, options: Options): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json", ...options.headers };
  if (typeof body === "string") headers["content-type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(url(path, options.query), { method, body, headers, signal: options.signal ?? null });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, t.shell.unreachable);
  }
  if (response.ok) return response;
  const failure = await readError(response);
  if (failure.status === 401 && !path.startsWith("/api/v1/auths/sign") && path !== "/api/v1/auths/") {
    sessionExpired.value = true;
  }
  throw failure;
}

const MISSING_DETAIL = "We could not find what you're looking for :/";

async function readError(response: Response): Promise<ApiError> {
  const seconds = Number(response.headers.get("retry-after"));
  const retryAfter = seconds > 0 ? seconds : undefined;
  const body: unknown = await response.json().catch(() => null);
  const { detail, error } = (body ?? {}) as { detail?: unknown; error?: { message?: unknown; param?: unknown } };
  let message = t.shell.failedWithStatus(response.status);
  let field: string | undefined;
  if (typeof detail === "string") message = detail;
  else if (Array.isArray(detail)) {
    const [first] = detail as { loc?: unknown[]; msg?: unknown }[];
    if (typeof first?.msg === "string") message = first.msg;
    const last = first?.loc?.at(-1);
    if (typeof last === "string") field = last;
  } else if (typeof error?.message === "string") {
    message = error.message;
    if (typeof error.param === "string") field = error.param;
  }
  // As Open WebUI does, the server has the status of a missing session for some things that do not exist.
  const status = response.status === 401 && message === MISSING_DETAIL ? 404 : response.status;
  return new ApiError(status, message, field, retryAfter);
}

async function parse<T>(response: Response): Promise<T> {
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

export async function get<T>(path: string, options: Options = {}): Promise<T> {
  return parse(await send("GET", path, null, options));
}

export async function post<T>(path: string, body: unknown = {}, options: Options = {}): Promise<T> {
  return parse(await send("POST", path, JSON.stringify(body), options));
}

export async function put<T>(path: string, body: unknown, options: Options = {}): Promise<T> {
  return parse(await send("PUT", path, JSON.stringify(body), options));
}

/** `DELETE`. Named so because `delete` is a keyword. */
export async function remove<T>(path: string, options: Options = {}): Promise<T> {
  return parse(await send("DELETE", path, null, options));
}

/** Sends a form, such as one with files. */
export async function postForm<T>(path: string, form: FormData, options: Options = {}): Promise<T> {
  return parse(await send("POST", path, form, options));
}

/** Sends bytes, such as a component. */
export async function postBytes<T>(path: string, bytes: Blob, options: Options = {}): Promise<T> {
  return parse(await send("POST", path, bytes, options));
}

/** The response itself, such as a stream or a file. */
export async function open(method: string, path: string, body: unknown, options: Options = {}): Promise<Response> {
  return send(method, path, body === undefined ? null : JSON.stringify(body), options);
}

/** What to show of a failure. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
