// Requests about engines.
import { get, post, remove } from "../../../api/client.ts";
import type { EngineDescription, EngineStatus, HistoryEntry, InstallReport } from "./types.ts";

function path(name: string, rest = ""): string {
  // Engines with these names have their first letter escaped, because routes have the names.
  const escaped = name === "install" || name === "update" ? `%${name.charCodeAt(0).toString(16)}${name.slice(1)}` : encodeURIComponent(name);
  return `/api/v1/engines/${escaped}${rest}`;
}

export function describeEngine(name: string, signal: AbortSignal): Promise<EngineDescription> {
  return get(path(name), { signal });
}

export function engineHistory(name: string, signal: AbortSignal): Promise<HistoryEntry[]> {
  return get(path(name, "/history"), { signal });
}

/** Allows exactly the component with this digest. */
export function grant(name: string, digest: string): Promise<InstallReport> {
  return post(path(name, "/grant"), { digest });
}

/** Drops the version that waits for approval or is watched. */
export function abort(name: string): Promise<EngineStatus> {
  return post(path(name, "/abort"));
}

export function promote(name: string): Promise<EngineStatus> {
  return post(path(name, "/promote"));
}

export function rollBack(name: string, digest: string, why: string): Promise<EngineStatus> {
  return post(path(name, "/rollback"), { to: digest, ...(why === "" ? {} : { why }) });
}

export function setPinned(name: string, isPinned: boolean): Promise<EngineStatus> {
  return post(path(name, isPinned ? "/pin" : "/unpin"));
}

/** Allows or denies one request, such as `api POST /images/`. */
export function setRequest(name: string, right: string, isAllowed: boolean): Promise<unknown> {
  return post(path(name, "/requests"), isAllowed ? { allow: [right] } : { deny: [right] });
}

export function removeEngine(name: string, options: { now: boolean; force: boolean }): Promise<EngineStatus> {
  return remove(path(name), { query: { now: options.now || undefined, force: options.force || undefined } });
}

export function logUrl(name: string): string {
  return `${path(name, "/log")}?follow=true`;
}
