// The list of chats: search, pinned, by days, and the archive.
import { useEffect, useState } from "preact/hooks";
import type { ChatSummary } from "../../api/types.ts";
import { useDelayed } from "../../components/delayed.ts";
import { Failure } from "../../components/notice.tsx";
import { useResource } from "../../components/resource.ts";
import { IconArchive, IconBack, IconPlus, IconSearch } from "../../icons.ts";
import { language } from "../../preferences.ts";
import { t } from "../../text/index.ts";
import { groupChats, type GroupName } from "./chat_groups.ts";
import { archivedChats, chats, followChats, hasMoreChats, listError, loadChats, loadMoreChats, pinnedChats, searchChats } from "./chat_list.ts";
import { ChatRow } from "./chat_row.tsx";

/** Time after the last key until a search, in milliseconds. */
const SEARCH_DELAY_MS = 250;

const monthName = new Intl.DateTimeFormat(language, { month: "long", year: "numeric" });

export function ChatsAside() {
  const [query, setQuery] = useState("");
  const [isArchive, setArchive] = useState(false);
  useEffect(followChats, []);
  return (
    <section class="chats" aria-label={t.chat.chats}>
      <a class="new-chat" href="/">
        <IconPlus aria-hidden="true" />
        {t.chat.newChat}
      </a>
      <label class="chat-search-field">
        <span class="visually-hidden">{t.chat.search}</span>
        <IconSearch aria-hidden="true" />
        <input class="chat-search" type="search" dir="auto" placeholder={t.chat.search} value={query} maxLength={200} onInput={(event) => setQuery(event.currentTarget.value)} />
        <kbd class="wide-only" aria-hidden="true">
          {/Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘K" : "Ctrl K"}
        </kbd>
      </label>
      {isArchive && (
        <button type="button" class="quiet small archive-switch" onClick={() => setArchive(false)}>
          <IconBack aria-hidden="true" />
          {t.chat.archive}
        </button>
      )}
      {isArchive || query.trim() !== "" ? <FoundChats query={query.trim()} isArchive={isArchive} /> : <RecentChats />}
      {!isArchive && query.trim() === "" && (
        <button type="button" class="quiet small archive-switch" onClick={() => setArchive(true)}>
          <IconArchive aria-hidden="true" />
          {t.chat.archive}
        </button>
      )}
    </section>
  );
}

function RecentChats() {
  const list = chats.value;
  if (list === undefined) {
    return listError.value === undefined ? <LoadingChats /> : <Failure error={listError.value} onRetry={() => void loadChats()} />;
  }
  if (list.length === 0 && pinnedChats.value.length === 0) return <p class="chats-empty">{t.chat.noChats}</p>;
  return (
    <>
      {pinnedChats.value.length > 0 && <ChatGroup title={t.chat.pinned} list={pinnedChats.value} isPinned />}
      {groupChats(list, new Date()).map(({ name, chats: grouped }) => (
        <ChatGroup key={titleOf(name)} title={titleOf(name)} list={grouped} />
      ))}
      {hasMoreChats.value && (
        <button type="button" class="quiet small" onClick={() => void loadMoreChats()}>
          {t.chat.olderChats}
        </button>
      )}
    </>
  );
}

function titleOf(name: GroupName): string {
  return typeof name === "string" ? t.chat.groups[name] : monthName.format(new Date(name.year, name.month));
}

interface ChatGroupProps {
  title: string;
  list: ChatSummary[];
  isPinned?: boolean;
  isArchived?: boolean;
}

function ChatGroup({ title, list, isPinned = false, isArchived = false }: ChatGroupProps) {
  return (
    <>
      <h2>{title}</h2>
      <ul>
        {list.map((it) => (
          <ChatRow key={it.id} chat={it} isPinned={isPinned} isArchived={isArchived} />
        ))}
      </ul>
    </>
  );
}

/** Chats that contain a text, or those of the archive. */
function FoundChats({ query, isArchive }: { query: string; isArchive: boolean }) {
  const delayed = useDelayed(query, SEARCH_DELAY_MS);
  const { value, error, isLoading, reload } = useResource(
    (signal) => (isArchive ? archivedChats(delayed, signal) : searchChats(delayed, signal)),
    [delayed, isArchive, chats.value],
  );
  if (error !== undefined) return <Failure error={error} onRetry={reload} />;
  if (value === undefined) return <LoadingChats />;
  if (value.length === 0 && !isLoading) return <p class="chats-empty">{isArchive && query === "" ? t.chat.emptyArchive : t.chat.nothingFound}</p>;
  return <ChatGroup title={isArchive ? t.chat.archived : t.chat.found(value.length)} list={value} isArchived={isArchive} />;
}

function LoadingChats() {
  return (
    <div class="stack tight chats-loading" aria-busy="true" aria-label={t.shell.loading}>
      {[70, 85, 55, 78, 62].map((width) => (
        <div key={width} class="skeleton" style={{ width: `${width}%` }} />
      ))}
    </div>
  );
}
