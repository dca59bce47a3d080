// What the server says about engines to administrators.
import type { Schemas } from "../../../api/types.ts";

export type EngineList = Schemas["UsableEngines"];
export type BindingSummary = Pick<Schemas["UsableBinding"], "name" | "engine" | "title" | "is_ready" | "reason">;
export type EngineStatus = Schemas["EngineStatus"];
export type VersionStatus = Schemas["VersionStatus"];
export type RejectedFile = Schemas["RejectedEngineFile"];
export type UpdateReport = Schemas["UpdateReport"];
export type InstallReport = Schemas["InstallReport"];
export type HistoryEntry = Schemas["HistoryEntry"];

export type EngineDescription = Schemas["EngineDescription"];
export type EngineHost = Schemas["EngineHost"];
export type ServingComponent = Schemas["ServingComponent"];
export type PendingComponent = Schemas["PendingComponent"];
export type BindingDetails = Schemas["BindingDetails"];
export type UpstreamDetails = Schemas["UpstreamDetails"];
export type DeclaredRight = Schemas["DeclaredRight"];
export type RightState = Schemas["RightState"];

export type StatsRange = Schemas["StatsRange"];
export type EngineStats = Schemas["EngineStats"];
export type SeriesPoint = Schemas["SeriesPoint"];
export type VersionFigures = Schemas["VersionFigures"];
export type UpstreamFigures = Schemas["UpstreamFigures"];

/** A line of the stream, which has lines of all versions. */
export type LogLine = Schemas["EngineLogLine"] & { digest: string };
