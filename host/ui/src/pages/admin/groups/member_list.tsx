import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { post } from "../../../api/client.ts";
import type { Group, User } from "../../../api/types.ts";
import { useDelayed } from "../../../components/delayed.ts";
import { Failure, Trouble } from "../../../components/notice.tsx";
import { Pager } from "../../../components/pager.tsx";
import { useAction, useResource } from "../../../components/resource.ts";
import { IconClose, IconPlus } from "../../../icons.ts";
import { t } from "../../../text/index.ts";
import { listUsers, pageCount, SEARCH_DELAY_MS } from "../users.ts";

/** Found users that are offered. */
const MAX_FOUND = 6;

/** The members of a group, and a search for more. */
export function MemberList({ group: { id } }: { group: Group }) {
  const [page, setPage] = useState(1);
  const members = useResource((signal) => listUsers({ group: id, page }, signal), [id, page]);
  const [text, setText] = useState("");
  const query = useDelayed(text.trim(), SEARCH_DELAY_MS);
  const found = useResource((signal) => (query === "" ? Promise.resolve(undefined) : findOthers(id, query, signal)), [id, query]);
  const change = useAction(async (userId: string, isMember: boolean) => {
    const route = isMember ? "/api/v1/groups/id/{id}/users/add" : "/api/v1/groups/id/{id}/users/remove";
    await post(route, { path: { id }, body: { user_ids: [userId] } });
    setText("");
    // The last page may be gone.
    if (!isMember && page > 1 && members.value?.users.length === 1) setPage(page - 1);
    else members.reload();
  });
  return (
    <section class="stack" aria-labelledby="members">
      <h3 id="members">{t.people.members}</h3>
      <Trouble error={change.error} />
      {members.error !== undefined && <Failure error={members.error} onRetry={members.reload} />}
      <ul class="lines compact">
        {members.value?.users.map((person) => (
          <PersonLine key={person.id} person={person}>
            <button type="button" class="quiet small icon" aria-label={t.people.removeNamed(person.name)} onClick={() => void change.run(person.id, false)}>
              <IconClose />
            </button>
          </PersonLine>
        ))}
      </ul>
      {members.value && <Pager page={page} pages={pageCount(members.value)} onShow={setPage} />}
      <input type="search" aria-label={t.people.addMember} placeholder={t.people.addMember} value={text} onInput={(event) => setText(event.currentTarget.value)} />
      <ul class="lines compact">
        {text.trim() !== "" &&
          found.value?.map((person) => (
            <PersonLine key={person.id} person={person}>
              <button type="button" class="quiet small icon" aria-label={t.people.addNamed(person.name)} onClick={() => void change.run(person.id, true)}>
                <IconPlus />
              </button>
            </PersonLine>
          ))}
      </ul>
    </section>
  );
}

function PersonLine({ person, children }: { person: User; children: ComponentChildren }) {
  return (
    <li class="row">
      <span class="grow truncate" dir="auto">
        {person.name} <small>{person.email}</small>
      </span>
      {children}
    </li>
  );
}

/** Users who match, without members of the group. */
async function findOthers(group: string, query: string, signal: AbortSignal): Promise<User[]> {
  const [all, members] = await Promise.all([listUsers({ query }, signal), listUsers({ query, group }, signal)]);
  const ids = new Set(members.users.map((it) => it.id));
  return all.users.filter((it) => !ids.has(it.id)).slice(0, MAX_FOUND);
}
