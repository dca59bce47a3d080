// The states of engines and of their versions.
import type { Tone } from "../../../components/status.tsx";
import type { BindingSummary, EngineStatus, VersionStatus } from "./types.ts";

export type EngineState = "waiting" | "update" | "canary" | "watched" | "serving" | "unready" | "stopped";
export type VersionState = "parked" | "canary" | "watched" | "fallback" | "current" | "removed" | "retired" | "rolled-back";

/** All users get the candidate. */
const ALL_PERCENT = 100;

export function engineState(engine: EngineStatus, bindings: readonly BindingSummary[]): EngineState {
  const isParked = engine.versions.some((it) => it.state === "parked");
  if (!engine.serves) return isParked ? "waiting" : "stopped";
  if (isParked) return "update";
  if (engine.percent >= ALL_PERCENT) return "watched";
  if (engine.percent > 0) return "canary";
  const own = bindings.filter((it) => it.engine === engine.name);
  return own.length > 0 && own.every((it) => !it.is_ready) ? "unready" : "serving";
}

export function engineTone(state: EngineState): Tone {
  if (state === "waiting" || state === "update") return "warn";
  if (state === "unready" || state === "stopped") return "off";
  return state === "canary" || state === "watched" ? "live" : "";
}

/** True if a person has to decide something. */
export function needsDecision(engine: EngineStatus): boolean {
  return engine.versions.some((it) => it.state === "parked");
}

/** The version that new jobs get, as far as they are not a canary's. */
export function servingVersion(engine: EngineStatus): VersionStatus | undefined {
  if (!engine.serves) return undefined;
  const candidate = engine.versions.find((it) => it.state === "candidate");
  const current = engine.versions.find((it) => it.state === "current");
  return engine.percent >= ALL_PERCENT ? (candidate ?? current) : current;
}

export function versionState(engine: EngineStatus, version: VersionStatus): VersionState {
  switch (version.state) {
    case "parked":
      return "parked";
    case "candidate":
      return engine.percent >= ALL_PERCENT ? "watched" : "canary";
    case "current":
      if (!engine.serves || engine.revision === 0) return "removed";
      return engine.percent >= ALL_PERCENT ? "fallback" : "current";
    case "rolled-back":
      return "rolled-back";
    default:
      return "retired";
  }
}

export function versionTone(state: VersionState): Tone {
  if (state === "parked") return "warn";
  if (state === "watched" || state === "canary") return "live";
  if (state === "current") return "";
  return state === "rolled-back" ? "bad" : "off";
}

/** The digits of a digest that people compare. */
export function shortDigest(digest: string): string {
  return digest.slice(0, 12);
}
