import { useEffect, useRef } from "preact/hooks";
import { Form } from "../../components/form.tsx";
import { Trouble } from "../../components/notice.tsx";
import { useAction } from "../../components/resource.ts";
import { t } from "../../text/index.ts";
import { renameChat } from "./chat_list.ts";
import { conversation, updateConversation } from "./conversation.ts";

interface TitleFieldProps {
  id: string;
  title: string;
  onDone: () => void;
}

/** A field with the title of a chat. Enter saves it, Escape does not. */
export function TitleField({ id, title, onDone }: TitleFieldProps) {
  const field = useRef<HTMLInputElement>(null);
  const isClosed = useRef(false);
  useEffect(() => field.current?.select(), []);
  const { error, run } = useAction(async (value: string) => {
    if (value !== "" && value !== title) {
      await renameChat(id, value);
      if (conversation.peek().id === id) updateConversation({ title: value });
    }
    onDone();
  });
  const save = () => {
    if (isClosed.current) return;
    isClosed.current = true;
    void run(field.current?.value.trim() ?? "").then((isSaved) => {
      if (!isSaved) isClosed.current = false;
    });
  };
  return (
    <Form class="title-form" onSubmit={save}>
      <input
        ref={field}
        aria-label={t.chat.title}
        aria-invalid={error === undefined ? undefined : true}
        dir="auto"
        maxLength={300}
        defaultValue={title}
        autofocus
        onBlur={save}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          event.preventDefault();
          isClosed.current = true;
          onDone();
        }}
      />
      <Trouble error={error} class="bad" />
    </Form>
  );
}
