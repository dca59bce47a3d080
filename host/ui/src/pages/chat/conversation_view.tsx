// The messages of the branch that is shown. It stays at the newest one unless the person scrolls up.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Notice } from "../../components/notice.tsx";
import { useAction } from "../../components/resource.ts";
import { IconArrowDown } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { toggleArchive } from "./chat_list.ts";
import { branch, conversation, isActive, progressOf, reloadChat } from "./conversation.ts";
import { quarterOf } from "./progress.ts";
import { Reply } from "./reply.tsx";
import { sentCount } from "./turn.ts";
import { UserMessage } from "./user_message.tsx";

/** Distance from the end that still counts as the end, in pixels. */
const NEAR_END_PX = 96;

export function ConversationView() {
  const list = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const [showsJump, setJump] = useState(false);
  const messages = branch.value;
  const { id, isArchived } = conversation.value;
  useLayoutEffect(() => {
    isAtEnd.current = true;
    scrollToEnd();
  }, [id, sentCount.value]);
  useEffect(() => {
    const element = list.current;
    const onScroll = () => {
      const root = document.documentElement;
      isAtEnd.current = root.scrollHeight - root.clientHeight - root.scrollTop < NEAR_END_PX;
      setJump(!isAtEnd.current);
    };
    const growth = new ResizeObserver(() => {
      // While a message is changed, its form stays where it is.
      const isChanging = element?.contains(document.activeElement) && document.activeElement?.matches("textarea");
      if (isAtEnd.current && !isChanging) scrollToEnd();
    });
    // The conversation grows, and so does the composer when an image is attached.
    growth.observe(document.body);
    addEventListener("scroll", onScroll, { passive: true });
    return () => {
      growth.disconnect();
      removeEventListener("scroll", onScroll);
    };
  }, []);
  const restore = useAction(async () => {
    if (id === undefined) return;
    await toggleArchive(id);
    await reloadChat();
  });
  return (
    <div class="talk" ref={list}>
      <div class="messages" role="log" aria-label={t.chat.conversation} aria-live={isActive.value ? "off" : "polite"}>
        {messages.map((message, index) =>
          message.role === "user" ? (
            <UserMessage key={message.id} message={message} />
          ) : (
            <Reply key={message.id} message={message} parent={messages[index - 1]} />
          ),
        )}
      </div>
      {isArchived && (
        <Notice
          actions={
            <button type="button" disabled={restore.isRunning} onClick={() => void restore.run()}>
              {t.chat.unarchive}
            </button>
          }
        >
          {t.chat.isArchived}
        </Notice>
      )}
      <Announcement />
      {showsJump && (
        <button type="button" class="jump icon" aria-label={t.chat.toNewest} onClick={scrollToEnd}>
          <IconArrowDown aria-hidden="true" />
        </button>
      )}
    </div>
  );
}

function scrollToEnd(): void {
  window.scrollTo({ top: document.documentElement.scrollHeight });
}

/** Reads out the quarters of an image's progress, and that a response is complete. */
function Announcement() {
  const last = branch.value.at(-1);
  const progress = last && progressOf.value.get(last.id);
  const wasActive = useRef(false);
  const isNowActive = isActive.value;
  const isFinished = wasActive.current && !isNowActive;
  useEffect(() => {
    wasActive.current = isNowActive;
  }, [isNowActive]);
  const text = progress ? t.chat.percentDone(quarterOf(progress.fraction)) : isFinished ? t.chat.isComplete : "";
  return (
    <p class="visually-hidden" role="status">
      {text}
    </p>
  );
}
