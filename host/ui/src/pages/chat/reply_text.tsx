import { useEffect, useState } from "preact/hooks";
import type { ComponentType } from "preact";
import { t } from "../../text/index.ts";

type MarkdownView = ComponentType<{ text: string }>;

/** Characters of a text that are shown at first. */
const MAX_CHARACTERS = 60_000;

let markdown: MarkdownView | undefined;

/** The text of a response. It is plain until the part that reads Markdown is loaded. */
export function ReplyText({ text, isWriting }: { text: string; isWriting: boolean }) {
  const [View, setView] = useState<MarkdownView | undefined>(() => markdown);
  const [isWhole, setWhole] = useState(false);
  useEffect(() => {
    if (View) return;
    import("./markdown.tsx").then(
      (module) => {
        markdown = module.default;
        setView(() => module.default);
      },
      // The text stays plain.
      () => undefined,
    );
  }, []);
  const isLong = text.length > MAX_CHARACTERS && !isWhole && !isWriting;
  const shown = isLong ? text.slice(0, MAX_CHARACTERS) : text;
  return (
    <div class={isWriting ? "reply-text writing" : "reply-text"} aria-busy={isWriting}>
      {View ? (
        <View text={shown} />
      ) : (
        <p class="plain" dir="auto">
          {shown}
        </p>
      )}
      {isLong && (
        <button type="button" class="small" onClick={() => setWhole(true)}>
          {t.chat.showAll}
        </button>
      )}
    </div>
  );
}
