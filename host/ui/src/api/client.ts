// Requests to the server. A failure is an `ApiError`, whose message is a sentence for the person.
import { signal } from "@preact/signals";
import { t } from "../text/index.ts";
import type { OptionsOf, ResponseOf, RouteOf } from "./routes.ts";
import { url, type PathValues, type Query } from "./url.ts";

/** True if the session has expired: a dialog asks to sign in, and the page stays as it is. */
export const sessionExpired = signal(false);

export class ApiError extends Error {
  /** 0 if the server could not be reached. */
  readonly status: number;
  readonly retryAfterSecs: number | undefined;

  constructor(status: number, message: string, retryAfterSecs?: number) {
    super(message);
    this.status = status;
    this.retryAfterSecs = retryAfterSecs;
  }
}

interface Options {
  path?: PathValues;
  query?: Query;
  body?: unknown;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

async function send<T>(method: string, route: string, { path, query, body, signal, headers: others }: Options = {}): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json", ...others };
  let content: BodyInit | null = null;
  if (body instanceof FormData) content = body;
  else if (method !== "GET" && method !== "DELETE") {
    // Cookies are accepted only with this type, also if there is nothing to say.
    headers["content-type"] = "application/json";
    content = JSON.stringify(body ?? {});
  }
  let response: Response;
  try {
    response = await fetch(url(route, path, query), { method, body: content, headers, signal: signal ?? null });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, t.shell.unreachable);
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  const failure = await readError(response);
  if (failure.status === 401 && !route.startsWith("/api/v1/auths/sign") && route !== "/api/v1/auths/") {
    sessionExpired.value = true;
  }
  throw failure;
}

const MISSING_DETAIL = "We could not find what you're looking for :/";

async function readError(response: Response): Promise<ApiError> {
  const seconds = Number(response.headers.get("retry-after"));
  const retryAfter = seconds > 0 ? seconds : undefined;
  const body: unknown = await response.json().catch(() => null);
  const { detail, error } = (body ?? {}) as { detail?: unknown; error?: { message?: unknown } };
  let message = t.shell.failedWithStatus(response.status);
  if (typeof detail === "string") message = detail;
  else if (Array.isArray(detail)) {
    const [first] = detail as { msg?: unknown }[];
    if (typeof first?.msg === "string") message = first.msg;
  } else if (typeof error?.message === "string") message = error.message;
  // As Open WebUI does, the server has the status of a missing session for some things that do not exist.
  const status = response.status === 401 && message === MISSING_DETAIL ? 404 : response.status;
  return new ApiError(status, message, retryAfter);
}

export function get<R extends RouteOf<"get">>(route: R, ...[options]: OptionsOf<"get", R>): Promise<ResponseOf<"get", R>> {
  return send("GET", route, options);
}

export function post<R extends RouteOf<"post">>(route: R, ...[options]: OptionsOf<"post", R>): Promise<ResponseOf<"post", R>> {
  return send("POST", route, options);
}

export function put<R extends RouteOf<"put">>(route: R, ...[options]: OptionsOf<"put", R>): Promise<ResponseOf<"put", R>> {
  return send("PUT", route, options);
}

/** `DELETE`. Named so because `delete` is a keyword. */
export function remove<R extends RouteOf<"delete">>(route: R, ...[options]: OptionsOf<"delete", R>): Promise<ResponseOf<"delete", R>> {
  return send("DELETE", route, options);
}

/** Sends a form, such as one with files. */
export function postForm<R extends RouteOf<"post">>(route: R, body: FormData): Promise<ResponseOf<"post", R>> {
  return send("POST", route, { body });
}

/** What to show of a failure. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
