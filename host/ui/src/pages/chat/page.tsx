// The chat page: the list of chats in the rail, the conversation, and the composer below.
import { useEffect } from "preact/hooks";
import { useSignalEffect } from "@preact/signals";
import { Failure } from "../../components/notice.tsx";
import { Page } from "../../components/page.tsx";
import { IconPlus } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { ChatMenu } from "./chat_menu.tsx";
import { Composer } from "./composer.tsx";
import { openDraft } from "./composer_state.ts";
import { conversation, followConversation, isLoading, loadError, openChat, reloadChat } from "./conversation.ts";
import { ConversationView } from "./conversation_view.tsx";
import { loadEngines } from "./engines.ts";
import { LanguageModelChip } from "./language_model.tsx";
import { NewChat } from "./new_chat.tsx";
import { openSearch } from "./search_focus.ts";

export { ChatsAside as Aside } from "./aside.tsx";

export default function ChatPage({ parameters }: { parameters: Record<string, string> }) {
  const id = parameters.id;
  useEffect(() => {
    void openChat(id);
    openDraft(id);
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
  const title = shown.id === undefined ? t.chat.newChat : shown.title || t.chat.untitled;
  useSignalEffect(() => {
    // Another chat's title must not stay in the tab.
    if (conversation.value.id === undefined) document.title = `${t.chat.newChat} · Pinhole`;
  });
  return (
    <Page title={title} lead={<LanguageModelChip />} actions={<Actions />} foot={loadError.value === undefined ? <Composer /> : undefined}>
      <Content />
    </Page>
  );
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
      <a class="button quiet icon phone-only" href="/" aria-label={t.chat.newChat}>
        <IconPlus aria-hidden="true" />
      </a>
      {id !== undefined && !isLoading.value && loadError.value === undefined && <ChatMenu />}
    </>
  );
}

function Content() {
  if (loadError.value !== undefined) {
    return (
      <div class="talk">
        <Failure error={loadError.value} onRetry={() => void reloadChat()} />
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
