// The chat page: the list of chats in the rail, the conversation, and the composer below.
import { useEffect } from "preact/hooks";
import { ApiError } from "../../api/client.ts";
import { Empty, Failure } from "../../components/notice.tsx";
import { Page } from "../../components/page.tsx";
import { IconPlus } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { openDraft } from "./draft.ts";
import { chats, pinnedChats } from "./chat_list.ts";
import { ChatMenu } from "./chat_menu.tsx";
import { Composer } from "./composer.tsx";
import { titleOf } from "./chat_title.ts";
import { branch, conversation, followConversation, isLoading, loadError, openChat, reloadChat } from "./conversation.ts";
import { ConversationView } from "./conversation_view.tsx";
import { loadEngines } from "./engines.ts";
import { LanguageModelChip } from "./language_model.tsx";
import { textOf } from "./message.ts";
import { NewChat } from "./new_chat.tsx";
import { openSearch } from "./search_focus.ts";
import { sendError } from "./turn.ts";

export { ChatsAside as Aside } from "./aside.tsx";

export default function ChatPage({ parameters }: { parameters: Record<string, string> }) {
  const id = parameters.id;
  useEffect(() => {
    void openChat(id);
    openDraft(id);
    sendError.value = undefined;
  }, [id]);
  useEffect(() => {
    void loadEngines();
    return followConversation();
  }, []);
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  const shown = conversation.value;
  const title = shown.id === undefined ? t.chat.newChat : titleOf(shown.title || listedTitle(shown.id), firstText(), t.chat.untitled);
  return (
    <Page title={title} lead={<LanguageModelChip />} actions={<Actions />} foot={loadError.value === undefined ? <Composer /> : undefined}>
      <Content />
    </Page>
  );
}

function firstText(): string | undefined {
  const first = branch.value.find((it) => it.role === "user");
  return first && textOf(first.content);
}

/** The title that the list has, while the chat is loaded. */
function listedTitle(id: string): string | undefined {
  return [...(chats.value ?? []), ...pinnedChats.value].find((it) => it.id === id)?.title;
}

function onKey(event: KeyboardEvent): void {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== "k") return;
  event.preventDefault();
  openSearch();
}

function Actions() {
  const { id } = conversation.value;
  return (
    <>
      <a class="button quiet icon phone-only new-chat-button" href="/" aria-label={t.chat.newChat}>
        <IconPlus aria-hidden="true" />
      </a>
      {id !== undefined && !isLoading.value && loadError.value === undefined && <ChatMenu />}
    </>
  );
}

function Content() {
  const error = loadError.value;
  if (error instanceof ApiError && error.status === 404) {
    return (
      <Empty title={t.chat.missing} actions={<a class="button" href="/">{t.chat.newChat}</a>}>
        {t.chat.missingHint}
      </Empty>
    );
  }
  if (error !== undefined) {
    return (
      <div class="talk">
        <Failure error={error} onRetry={() => void reloadChat()} />
      </div>
    );
  }
  if (isLoading.value) return <LoadingConversation />;
  return conversation.value.messages.size === 0 ? <NewChat /> : <ConversationView />;
}

/** Holds the place of a conversation. */
function LoadingConversation() {
  return (
    <div class="talk" aria-busy="true" aria-label={t.shell.loading}>
      <div class="skeleton from-user-skeleton" />
      <div class="skeleton image-skeleton" />
      <div class="skeleton line-skeleton" />
    </div>
  );
}
