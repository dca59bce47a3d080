// Titles of chats. No DOM.

/** The server's title of a chat that has none yet. */
const UNNAMED = "New Chat";
const MAX_CHARACTERS = 200;

/** The title to show: that of the chat, else the beginning of its first message, else this text. */
export function titleOf(title: string | undefined, firstMessage: string | undefined, otherwise: string): string {
  if (title && title !== UNNAMED) return title.slice(0, MAX_CHARACTERS);
  const line = firstMessage?.trim().split("\n", 1)[0]?.trim();
  return line ? line.slice(0, MAX_CHARACTERS) : otherwise;
}
