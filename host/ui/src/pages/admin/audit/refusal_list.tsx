import type { Refusal } from "../../../api/types.ts";
import { formatTime } from "../../../format.ts";
import { t } from "../../../text/index.ts";
import { engineList } from "../engine_list.ts";
import { nameOf, useUserNames } from "../user_names.ts";
import { isAuditKind } from "./types.ts";

/** Refusals, newest first. Each opens to say what it means. */
export function RefusalList({ refusals }: { refusals: readonly Refusal[] }) {
  useUserNames(refusals.map((it) => it.user));
  return (
    <ul class="refusals">
      {refusals.map((it, index) => (
        <li key={`${it.refused_at} ${index}`}>
          <Entry refusal={it} />
        </li>
      ))}
    </ul>
  );
}

function Entry({ refusal }: { refusal: Refusal }) {
  const { audit } = t.admin;
  const { kind } = refusal;
  // A component that was refused is named by its file.
  const isEngine = engineList.value?.releases?.engines.some((it) => it.name === refusal.engine) ?? false;
  const seconds = Date.parse(refusal.refused_at) / 1_000;
  return (
    <details class="fold">
      <summary>
        <time dateTime={refusal.refused_at}>{Number.isFinite(seconds) ? formatTime(seconds) : refusal.refused_at}</time>
        <span class="refusal-kind">{isAuditKind(kind) ? audit.kinds[kind] : kind}</span>
        <span class="refusal-subject truncate" dir="auto">
          {refusal.engine || nameOf(refusal.user)}
        </span>
        <span class="refusal-message" dir="auto">
          {refusal.message}
        </span>
      </summary>
      <div class="refusal-detail">
        <p class="wrap" dir="auto">
          {refusal.message}
        </p>
        <p class="muted">{isAuditKind(kind) ? audit.meanings[kind] : audit.unknownMeaning}</p>
        <dl class="facts">
          {refusal.engine !== "" && (
            <>
              <dt>{audit.engine}</dt>
              <dd dir="auto">
                {isEngine ? <a href={`/admin/engines/${encodeURIComponent(refusal.engine)}`}>{refusal.engine}</a> : refusal.engine}
              </dd>
            </>
          )}
          <dt>{audit.user}</dt>
          <dd dir="auto">
            <Actor user={refusal.user} />
          </dd>
          {refusal.guard !== "" && (
            <>
              <dt>{audit.guard}</dt>
              <dd>
                <code>{refusal.guard}</code>
              </dd>
            </>
          )}
          {refusal.job !== "" && (
            <>
              <dt>{audit.job}</dt>
              <dd>
                <code>{refusal.job}</code>
              </dd>
            </>
          )}
        </dl>
      </div>
    </details>
  );
}

/** A user with a link, the IP address of a client, or the server. */
function Actor({ user }: { user: string }) {
  if (user === "") return <>{t.admin.audit.noUser}</>;
  const name = nameOf(user);
  if (name === user) return <>{user}</>;
  return (
    <>
      <a href={`/admin/people/${encodeURIComponent(user)}`}>{name}</a> <code class="muted">{user}</code>
    </>
  );
}
