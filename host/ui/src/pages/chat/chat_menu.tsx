import { useState } from "preact/hooks";
import { messageOf } from "../../api/client.ts";
import { Confirm } from "../../components/confirm.tsx";
import { Dialog } from "../../components/dialog.tsx";
import { Menu } from "../../components/menu.tsx";
import { useAction } from "../../components/resource.ts";
import { IconArchive, IconEdit, IconMore, IconPin, IconTrash } from "../../icons.ts";
import { navigate } from "../../router.ts";
import { t } from "../../text/index.ts";
import { deleteChat, loadChats, toggleArchive, togglePin } from "./chat_list.ts";
import { conversation, reloadChat, updateConversation } from "./conversation.ts";
import { TitleField } from "./title_field.tsx";

/** The menu of the chat that is shown. */
export function ChatMenu() {
  const { id, title, isPinned, isArchived } = conversation.value;
  const [isRenaming, setRenaming] = useState(false);
  if (id === undefined) return null;
  return (
    <>
      <ChatActions id={id} title={title} isPinned={isPinned} isArchived={isArchived} onRename={() => setRenaming(true)} />
      {isRenaming && (
        <Dialog title={t.chat.rename} onClose={() => setRenaming(false)}>
          <TitleField id={id} title={title} onDone={() => setRenaming(false)} />
        </Dialog>
      )}
    </>
  );
}

interface ChatActionsProps {
  id: string;
  title: string;
  isPinned: boolean;
  isArchived: boolean;
  onRename: () => void;
}

export function ChatActions({ id, title, isPinned, isArchived, onRename }: ChatActionsProps) {
  const [isDeleting, setDeleting] = useState(false);
  const change = useAction(async (action: (id: string) => Promise<void>) => {
    await action(id);
    if (conversation.peek().id === id) await reloadChat();
  });
  return (
    <>
      <Menu label={t.chat.menuOf(title)} face={<IconMore aria-hidden="true" />} class="quiet small icon">
        {change.error !== undefined && (
          <span class="label bad" role="alert">
            {messageOf(change.error)}
          </span>
        )}
        <button type="button" onClick={onRename}>
          <IconEdit aria-hidden="true" />
          {t.chat.rename}
        </button>
        {!isArchived && (
          <button type="button" onClick={() => void change.run(togglePin)}>
            <IconPin aria-hidden="true" />
            {isPinned ? t.chat.unpin : t.chat.pin}
          </button>
        )}
        <button type="button" onClick={() => void change.run(toggleArchive)}>
          <IconArchive aria-hidden="true" />
          {isArchived ? t.chat.unarchive : t.chat.toArchive}
        </button>
        <hr />
        <button type="button" class="danger" onClick={() => setDeleting(true)}>
          <IconTrash aria-hidden="true" />
          {t.chat.delete}
        </button>
      </Menu>
      {isDeleting && (
        <Confirm title={t.chat.deleteTitle} label={t.chat.deleteForever} isDanger onConfirm={() => deleteForever(id)} onClose={() => setDeleting(false)}>
          <p dir="auto" class="wrap delete-name">
            {title.slice(0, 200)}
          </p>
          <p class="muted">{t.chat.deleteHint}</p>
        </Confirm>
      )}
    </>
  );
}

async function deleteForever(id: string): Promise<void> {
  await deleteChat(id);
  void loadChats();
  if (conversation.peek().id !== id) return;
  updateConversation({ title: "" });
  navigate("/", { replace: true });
}
