// Requests about engines.
import { get, post, remove } from "../../../api/client.ts";
import { url } from "../../../api/url.ts";
import type { Options } from "./install_options.tsx";
import type { StatsRange } from "./types.ts";

export function describeEngine(name: string, signal: AbortSignal) {
  return get("/api/v1/engines/{name}", { path: { name }, signal });
}

export function engineStats(name: string, range: StatsRange, signal: AbortSignal) {
  return get("/api/v1/engines/{name}/stats", { path: { name }, query: { range }, signal });
}

export function engineHistory(name: string, signal: AbortSignal) {
  return get("/api/v1/engines/{name}/history", { path: { name }, signal });
}

/** Allows exactly the component with this digest. */
export function grant(name: string, digest: string) {
  return post("/api/v1/engines/{name}/grant", { path: { name }, body: { digest } });
}

/** Drops the version that waits for approval or is watched. */
export function abort(name: string) {
  return post("/api/v1/engines/{name}/abort", { path: { name } });
}

export function promote(name: string) {
  return post("/api/v1/engines/{name}/promote", { path: { name } });
}

export function rollBack(name: string, digest: string, why: string) {
  return post("/api/v1/engines/{name}/rollback", { path: { name }, body: { to: digest, ...(why === "" ? {} : { why }) } });
}

export function setPinned(name: string, isPinned: boolean) {
  return post(isPinned ? "/api/v1/engines/{name}/pin" : "/api/v1/engines/{name}/unpin", { path: { name } });
}

/** Allows or denies one request, such as `api POST /images/`. */
export function setRequest(name: string, right: string, isAllowed: boolean) {
  return post("/api/v1/engines/{name}/requests", { path: { name }, body: isAllowed ? { allow: [right] } : { deny: [right] } });
}

export function removeEngine(name: string, options: { now: boolean; force: boolean }) {
  return remove("/api/v1/engines/{name}", { path: { name }, query: { now: options.now || null, force: options.force || null } });
}

/** The URL at which a component is installed. */
export function installUrl({ strategy, probe }: Options, force: boolean): string {
  return url("/api/v1/engines/install", {}, { strategy, probe: probe.trim(), force: force || null });
}

export function logUrl(name: string): string {
  return url("/api/v1/engines/{name}/log", { name }, { follow: true });
}
