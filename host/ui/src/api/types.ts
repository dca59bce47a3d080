// The types of requests and responses, from the server's OpenAPI document.
import type { components } from "../../generated/schema.d.ts";

export type Schemas = components["schemas"];

export type Cost = Schemas["CostEntry"];

export type Job = Schemas["Job"];
export type JobsPage = Schemas["JobList"];
export type JobState = Job["state"];
export type JobProgress = Schemas["JobProgress"];
export type JobFile = Schemas["JobFile"];
/** What a job was asked for. */
export type JobRequest = Schemas["JobRequest"];
/** What a new job is asked for. */
export type NewJob = Schemas["NewJobRequest"];

/** A binding that the user may use: an engine with its settings. */
export type UsableEngine = Schemas["UsableBinding"];
export type Abilities = Schemas["Abilities"];
export type Parameter = Schemas["ParameterEntry"];
export type ImageModel = Schemas["ImageModel"];
export type ChatModel = Schemas["ChatModel"];
export type Operation = Schemas["Operation"];

export type GalleryImage = Schemas["GalleryImage"];
export type ImageSource = Schemas["GalleryImageSource"];

/** The response to a request with `message_ids`. */
export type StartedTurns = Schemas["Tasks"];
export type Chat = Schemas["Chat"];
export type ChatSummary = Pick<Schemas["ChatSummary"], "id" | "title" | "updated_at" | "created_at">;

/** The signed-in user. A token is not for pages, which have the cookie. */
export type Session = Omit<Schemas["Session"], "token" | "token_type">;
export type ServerConfig = Schemas["ClientConfig"];
export type Role = Schemas["Role"];
export type User = Schemas["UserEntry"];
export type Group = Schemas["Group"];
export type KeyEntry = Schemas["KeyEntry"];

export type Setting = Schemas["Setting"];
export type SettingChange = Schemas["SettingChange"];
export type SettingProblem = Schemas["ValueProblem"];
export type EffectiveEngine = Schemas["EffectiveEngine"];
export type EffectiveSettings = Schemas["EffectiveSettings"];

export type BindingDefinition = Schemas["BindingDefinition"];
export type BindingEntry = Schemas["BindingEntry"];
export type BindingList = Schemas["BindingList"];
export type BindingExplanation = Schemas["BindingExplanation"];
export type BindingVerification = Schemas["BindingVerification"];
export type PlacementRow = Schemas["PlacementRow"];
export type Resolution = Schemas["Resolution"];

export type Refusal = Schemas["Refusal"];
