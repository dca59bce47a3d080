import { CopyButton } from "../../components/copy.tsx";
import { t } from "../../text/index.ts";

/** Code with its language and a button that copies it. */
export function CodeBlock({ text, language }: { text: string; language: string }) {
  return (
    <div class="code-block">
      <div class="code-head">
        <span class="truncate">{language}</span>
        <CopyButton text={text} label={t.chat.copyCode} />
      </div>
      <pre dir="ltr" tabIndex={0}>
        <code>{text}</code>
      </pre>
    </div>
  );
}
