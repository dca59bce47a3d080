import { useState } from "preact/hooks";
import { get, messageOf, post } from "../../../api/client.ts";
import type { Group } from "../../../api/types.ts";
import { useAction, useResource } from "../../../components/resource.ts";
import { IconClose, IconPlus } from "../../../icons.ts";
import { t } from "../../../text/index.ts";

/** Found users that are offered. */
const MAX_FOUND = 6;

/** The members of a group, and a search for more. */
export function MemberList({ group }: { group: Group }) {
  const { id } = group;
  const members = useResource((signal) => get("/api/v1/users/", { query: { group: id }, signal }), [id]);
  const [text, setText] = useState("");
  const found = useResource(async (signal) => (text.trim() === "" ? undefined : get("/api/v1/users/", { query: { query: text.trim() }, signal })), [text]);
  const change = useAction(async (userId: string, isMember: boolean) => {
    const route = isMember ? "/api/v1/groups/id/{id}/users/add" : "/api/v1/groups/id/{id}/users/remove";
    await post(route, { path: { id }, body: { user_ids: [userId] } });
    setText("");
    members.reload();
  });
  const ids = new Set(members.value?.users.map((it) => it.id));
  const others = found.value?.users.filter((it) => !ids.has(it.id)).slice(0, MAX_FOUND) ?? [];
  return (
    <section class="stack" aria-labelledby="members">
      <h3 id="members">{t.people.members}</h3>
      {change.error !== undefined && (
        <p class="trouble" role="alert">
          {messageOf(change.error)}
        </p>
      )}
      <ul class="lines compact">
        {members.value?.users.map((person) => (
          <li key={person.id} class="row">
            <span class="grow truncate" dir="auto">
              {person.name} <small>{person.email}</small>
            </span>
            <button type="button" class="quiet small icon" aria-label={t.people.removeNamed(person.name)} onClick={() => void change.run(person.id, false)}>
              <IconClose />
            </button>
          </li>
        ))}
      </ul>
      <input type="search" aria-label={t.people.addMember} placeholder={t.people.addMember} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      <ul class="lines compact">
        {others.map((person) => (
          <li key={person.id} class="row">
            <span class="grow truncate" dir="auto">
              {person.name} <small>{person.email}</small>
            </span>
            <button type="button" class="quiet small icon" aria-label={t.people.addNamed(person.name)} onClick={() => void change.run(person.id, true)}>
              <IconPlus />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
