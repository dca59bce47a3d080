// Names of users by their ids, for lists in which the server has ids only.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { get } from "../../api/client.ts";

/** Requests for one list. Other users are shown by their ids. */
const MAX_REQUESTS = 20;
const UUID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;

const names = signal<ReadonlyMap<string, string>>(new Map());
const asked = new Set<string>();

/** The name of a user if it is known, else the id or IP address itself. */
export function nameOf(user: string): string {
  return names.value.get(user) ?? user;
}

/** Asks for the names of these users once. */
export function useUserNames(users: readonly string[]): void {
  const unknown = [...new Set(users)].filter((it) => UUID.test(it) && !asked.has(it)).slice(0, MAX_REQUESTS);
  useEffect(() => {
    for (const id of unknown) {
      asked.add(id);
      get("/api/v1/users/{id}", { path: { id } }).then(
        ({ name }) => {
          names.value = new Map(names.peek()).set(id, name);
        },
        // A deleted user stays an id.
        () => undefined,
      );
    }
  }, [unknown.join(" ")]);
}
