import { get, post, remove } from "../../api/client.ts";
import { Failure, Trouble } from "../../components/notice.tsx";
import { useAction, useResource } from "../../components/resource.ts";
import { Section } from "../../components/section.tsx";
import { Skeleton } from "../../components/skeleton.tsx";
import { formatAgo, formatDay } from "../../format.ts";
import { t } from "../../text/index.ts";
import { describeBrowser } from "./browser_name.ts";

interface SessionListProps {
  /** Without it, the sessions are the person's own. */
  userId?: string;
}

/** The browsers in which a person is signed in. */
export function SessionList({ userId }: SessionListProps) {
  const sessions = useResource(
    (signal) => (userId === undefined ? get("/api/v1/auths/sessions", { signal }) : get("/api/v1/users/{id}/sessions", { path: { id: userId }, signal })),
    [userId],
  );
  const end = useAction(async (id: string) => {
    if (userId === undefined) await remove("/api/v1/auths/sessions/{id}", { path: { id } });
    else await remove("/api/v1/users/{id}/sessions/{session_id}", { path: { id: userId, session_id: id } });
    sessions.reload();
  });
  const endOthers = useAction(async () => {
    await post("/api/v1/auths/sessions/end-others");
    sessions.reload();
  });
  const error = end.error ?? endOthers.error;
  const hasOthers = sessions.value?.some((it) => !it.is_current) ?? false;
  const endAll = (
    <button type="button" class="quiet" disabled={endOthers.isRunning} onClick={() => void endOthers.run()}>
      {t.people.endOthers}
    </button>
  );
  return (
    <Section title={t.people.sessions} actions={userId === undefined && hasOthers && endAll}>
      {sessions.error !== undefined && <Failure error={sessions.error} onRetry={sessions.reload} />}
      <Trouble error={error} />
      {!sessions.value && sessions.isLoading && <Skeleton />}
      {sessions.value?.length === 0 && <p class="muted">{t.people.noSessions}</p>}
      <ul class="lines">
        {sessions.value?.map((session) => (
          <li key={session.id} class="row">
            <div class="grow stack tight">
              <strong title={session.user_agent}>{describeBrowser(session.user_agent) ?? t.people.unknownBrowser}</strong>
              <span class="quiet-line">
                {session.ip && <span>{session.ip}</span>}
                <span>{t.people.since(formatDay(session.created_at))}</span>
                {session.last_used_at !== null && <span>{t.people.usedAgo(formatAgo(session.last_used_at))}</span>}
              </span>
            </div>
            {session.is_current ? (
              <span class="chip on">{t.people.thisBrowser}</span>
            ) : (
              <button type="button" class="quiet small" disabled={end.isRunning} onClick={() => void end.run(session.id)}>
                {t.people.endSession}
              </button>
            )}
          </li>
        ))}
      </ul>
    </Section>
  );
}
