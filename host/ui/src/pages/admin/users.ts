// Requests for users, of whom the server sends one page at a time.
import { get } from "../../api/client.ts";
import type { ResponseOf } from "../../api/routes.ts";

/** Users on a page of the server. */
const PAGE_SIZE = 30;
/** Time without typing until users are searched, in milliseconds. */
export const SEARCH_DELAY_MS = 250;

interface UserFilter {
  /** A part of the name or of the email. */
  query?: string | null;
  role?: string | null;
  /** Only members of this group. */
  group?: string;
  /** From 1. */
  page?: number;
}

type UserPage = ResponseOf<"get", "/api/v1/users/">;

export function listUsers(filter: UserFilter, signal: AbortSignal): Promise<UserPage> {
  return get("/api/v1/users/", { query: filter, signal });
}

export function pageCount({ total }: UserPage): number {
  return Math.ceil(total / PAGE_SIZE);
}
