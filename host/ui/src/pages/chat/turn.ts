// Sends messages, and stops what runs.
import { batch, signal } from "@preact/signals";
import { ApiError, post, remove } from "../../api/client.ts";
import type { StartedTurns } from "../../api/types.ts";
import { contentUrl } from "../../api/url.ts";
import { randomId } from "../../random.ts";
import { location, navigate } from "../../router.ts";
import { languageModel, requestOptions, wantsImage } from "./choices.ts";
import { confirmDraft, moveDraft, restoreDraft, takeDraft } from "./draft.ts";
import { conversation, dropMessages, isActive, jobOf, putMessages, reloadChat, updateConversation } from "./conversation.ts";
import { chatModels, fallbackModel, loadEngines } from "./engines.ts";
import type { ImageOptions } from "./image_options.ts";
import { imagesOf, textOf, type FileEntry, type Message } from "./message.ts";
import { loadChats } from "./chat_list.ts";

/** Why the last message was not sent. */
export const sendError = signal<unknown>(undefined);
export const isSending = signal(false);
/** How many messages were sent: the conversation then shows its end. */
export const sentCount = signal(0);

/** Identifies this tab. The server only needs it to be there. */
const sessionId = randomId();

/** Sends what is in the composer. */
export async function sendDraft(): Promise<void> {
  if (isSending.peek()) return;
  // What a message names is not known yet.
  if (chatModels.peek() === undefined) await loadEngines();
  const options = requestOptions();
  const taken = takeDraft();
  const files: FileEntry[] = taken.sources.flatMap(({ id, name }) => (id === undefined ? [] : [fileEntry(id, name)]));
  const message = newUserMessage(taken.text.trim(), files, conversation.peek().leafId, options);
  try {
    await send(message, options, true);
    confirmDraft(taken);
  } catch {
    restoreDraft(taken);
  }
}

/** Asks again for a response to a message: a further version of the response. */
export async function retry(reply: Message, changes: ImageOptions = {}): Promise<void> {
  const parent = conversation.peek().messages.get(reply.parentId ?? "");
  if (!parent) return;
  const options = { ...parent.image_generation, ...reply.image_generation, ...changes };
  await send(parent, options, false).catch(() => undefined);
}

/** Sends another version of a user's message. Fails if it was not sent. */
export async function resend(message: Message, text: string): Promise<void> {
  const options = message.image_generation ?? {};
  const files = imagesOf(message).map(({ id, name }) => fileEntry(id, name));
  await send(newUserMessage(text, files, message.parentId, options), options, true);
}

function fileEntry(id: string, name: string): FileEntry {
  return { type: "image", id, url: contentUrl(id), name };
}

function newUserMessage(content: string, files: FileEntry[], parentId: string | null, options: ImageOptions): Message {
  return { id: randomId(), parentId, role: "user", content, files, timestamp: seconds(), image_generation: options };
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}

async function send(user: Message, options: ImageOptions, isNew: boolean): Promise<void> {
  const before = conversation.peek();
  const model = languageModel.peek()?.id ?? fallbackModel.peek();
  const reply: Message = { id: randomId(), parentId: user.id, role: "assistant", content: "", done: false, model, timestamp: seconds(), image_generation: options };
  batch(() => {
    sendError.value = undefined;
    isSending.value = true;
    isActive.value = true;
    sentCount.value += 1;
    putMessages(isNew ? [user, reply] : [reply], reply.id);
  });
  try {
    const body = {
      ...(before.id === undefined ? {} : { chat_id: before.id }),
      model,
      stream: true,
      session_id: sessionId,
      message_ids: [{ model_id: model, message_id: reply.id }],
      user_message: { ...user, ...(isNew ? {} : { content: textOf(user.content) }) },
      features: { image_generation: wantsImage.peek() },
      image_generation: options,
      background_tasks: { title_generation: true },
    };
    // A request with `message_ids` starts turns.
    const started = (await post("/api/chat/completions", { body })) as StartedTurns;
    if (before.id === undefined) adopt(started.chat_id);
  } catch (error) {
    batch(() => {
      if (conversation.peek().id !== before.id) return;
      sendError.value = error;
      isActive.value = false;
      dropMessages(isNew ? [user.id, reply.id] : [reply.id], before.leafId);
    });
    // The chat is another one than this page shows.
    if (error instanceof ApiError && error.status === 409) void reloadChat();
    throw error;
  } finally {
    isSending.value = false;
  }
}

/** The chat is stored now: it gets its URL. Events that came before its id was known are applied after it was read. */
function adopt(chatId: string): void {
  // The person may have opened another chat meanwhile.
  if (conversation.peek().id !== undefined) return;
  updateConversation({ id: chatId });
  moveDraft(chatId);
  if (location.peek().path === "/") navigate(`/c/${encodeURIComponent(chatId)}`, { replace: true });
  void reloadChat();
  void loadChats();
}

/** Stops all that runs in the chat. */
export async function stopTurn(): Promise<void> {
  const { id } = conversation.peek();
  if (id === undefined) return;
  await post("/api/tasks/chat/{chat_id}/stop", { path: { chat_id: id } }).catch(() => reloadChat());
}

/** Stops the image of a message; its text is still written. */
export async function stopImage(messageId: string): Promise<void> {
  const job = jobOf.peek().get(messageId);
  if (job) await remove("/api/v1/jobs/{id}", { path: { id: job.id } });
  else await stopTurn();
}
