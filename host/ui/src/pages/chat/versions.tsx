import { IconChevronLeft, IconChevronRight } from "../../icons.ts";
import { t } from "../../text/index.ts";
import { conversation, selectVersion } from "./conversation.ts";
import { versionsOf, type Message } from "./message.ts";

/** Goes through the versions of a message, if it has several. */
export function Versions({ message }: { message: Message }) {
  const versions = versionsOf(conversation.value.messages, message);
  if (versions.length < 2) return null;
  const index = versions.findIndex((it) => it.id === message.id);
  const before = versions[index - 1];
  const after = versions[index + 1];
  return (
    <div class="versions" role="group" aria-label={t.chat.versions}>
      <button type="button" class="quiet small icon" aria-label={t.chat.versionBefore} disabled={!before} onClick={() => before && selectVersion(before.id)}>
        <IconChevronLeft aria-hidden="true" />
      </button>
      <span aria-live="polite">{t.chat.version(index + 1, versions.length)}</span>
      <button type="button" class="quiet small icon" aria-label={t.chat.versionAfter} disabled={!after} onClick={() => after && selectVersion(after.id)}>
        <IconChevronRight aria-hidden="true" />
      </button>
    </div>
  );
}
