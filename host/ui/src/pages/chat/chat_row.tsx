import { useState } from "preact/hooks";
import type { ChatSummary } from "../../api/types.ts";
import { activeJobs } from "../../jobs.ts";
import { location } from "../../router.ts";
import { t } from "../../text/index.ts";
import { activeChats } from "./chat_list.ts";
import { titleOf } from "./chat_title.ts";
import { ChatActions } from "./chat_menu.tsx";
import { conversation, isActive } from "./conversation.ts";
import { TitleField } from "./title_field.tsx";

interface ChatRowProps {
  chat: ChatSummary;
  isPinned: boolean;
  isArchived: boolean;
}

/** A chat in the list, with its menu. */
export function ChatRow({ chat, isPinned, isArchived }: ChatRowProps) {
  const [isRenaming, setRenaming] = useState(false);
  const href = `/c/${encodeURIComponent(chat.id)}`;
  const title = titleOf(chat.title, undefined, t.chat.newChat);
  const isCurrent = location.value.path === href;
  const hasJob = [...activeJobs.value.values()].some((it) => it.chat_id === chat.id);
  const isRunning = activeChats.value.has(chat.id) || hasJob || (conversation.value.id === chat.id && isActive.value);
  if (isRenaming) {
    return (
      <li class="chat-row">
        <TitleField id={chat.id} title={chat.title} onDone={() => setRenaming(false)} />
      </li>
    );
  }
  return (
    <li class={isCurrent ? "chat-row current" : "chat-row"}>
      <a href={href} aria-current={isCurrent ? "page" : undefined} dir="auto" title={title}>
        {isRunning && (
          <span class="dot live" role="img" aria-label={t.chat.isWriting} />
        )}
        <span class="truncate">{title}</span>
      </a>
      <ChatActions id={chat.id} title={title} isPinned={isPinned} isArchived={isArchived} onRename={() => setRenaming(true)} />
    </li>
  );
}
