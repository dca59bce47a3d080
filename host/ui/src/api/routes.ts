// The routes of the server with the types of their requests and responses, from its OpenAPI document. `npm run types`
// writes them.
import type { paths } from "../../generated/schema.d.ts";

type Method = "get" | "post" | "put" | "delete";

/** The routes that have this method. */
export type RouteOf<M extends Method> = { [R in keyof paths]: paths[R][M] extends { responses: unknown } ? R : never }[keyof paths];

/** The JSON of a successful response. */
export type ResponseOf<M extends Method, R extends keyof paths> = paths[R][M] extends { responses: infer All } ? Json<All[keyof All & (200 | 201 | 202)]> : never;

type Json<T> = T extends { content: { "application/json": infer Content } } ? Content : never;

/** The options of a request. They can be left out if the route requires none. */
export type OptionsOf<M extends Method, R extends keyof paths> = object extends Fields<paths[R][M]> ? [options?: Fields<paths[R][M]>] : [options: Fields<paths[R][M]>];

type Fields<Operation> = PathField<Operation> & QueryField<Operation> & BodyField<Operation> & { signal?: AbortSignal; headers?: Record<string, string> };

type PathField<Operation> = Operation extends { parameters: { path: infer Values } } ? { path: Values } : unknown;

type QueryField<Operation> = Operation extends { parameters: { query: infer Query } } ? { query: OrNull<Query> } : Operation extends { parameters: { query?: infer Query } } ? { query?: OrNull<Query> } : unknown;

/** A parameter that is null is left out. */
type OrNull<Query> = { [Name in keyof Query]: Query[Name] | null };

type BodyField<Operation> = Operation extends { requestBody: { content: { "application/json": infer Body } } } ? { body: Body } : unknown;
