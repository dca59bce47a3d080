// What a response shows, from the message and the reports of its turn. No DOM.
import { imagesOf, textOf, type Message } from "./message.ts";

export interface ReplyState {
  images: { id: string; url: string; name: string }[];
  /** The image is made, or its prompt is written. */
  isMakingImage: boolean;
  /** Why there is no image. */
  imageFailure: string | undefined;
  /** In what the images differ from the request, and what else the server reports. */
  notes: string[];
  writtenPrompt: string | undefined;
  revisedPrompt: string | undefined;
  text: string;
  /** Why the text is missing or incomplete. */
  textFailure: string | undefined;
  isRunning: boolean;
  /** The turn was neither completed nor is it running. */
  isInterrupted: boolean;
  /** The image was stopped, or the whole turn before it had any result. */
  isStopped: boolean;
}

/** The server's texts of the steps that every turn has. They are shown as state and not as text. */
const STEPS = ["Creating image", "Image created", "An error occurred while generating an image"];

/** How the server's reason begins after Stop. */
const IS_STOP = /^(it|the job) was stopped/;

/** `isChatActive`: whether the chat has a running turn. */
export function describeReply(message: Message, isChatActive: boolean): ReplyState {
  const statuses = Array.isArray(message.statusHistory) ? message.statusHistory : [];
  const failed = statuses.findLast((it) => it.error === true);
  const created = statuses.findLast((it) => it.done === true && it.description === STEPS[1]);
  const started = statuses.some((it) => it.done === false);
  const images = imagesOf(message);
  const isRunning = message.done === false && isChatActive;
  const textFailure = message.error ? errorText(message.error) : undefined;
  const imageFailure = failed && images.length === 0 ? (failed.reason ?? failed.description ?? "") : undefined;
  const state: ReplyState = {
    images,
    isMakingImage: isRunning && started && images.length === 0 && !failed && !created,
    imageFailure,
    notes: notesOf(statuses),
    writtenPrompt: text(created?.prompt),
    revisedPrompt: text(created?.revised_prompt),
    text: "",
    textFailure,
    isRunning,
    isInterrupted: message.done === false && !isChatActive,
    isStopped: imageFailure !== undefined && IS_STOP.test(imageFailure),
  };
  const shownText = withoutServerText(textOf(message.content), state);
  const isEmpty = shownText === "" && images.length === 0 && imageFailure === undefined && textFailure === undefined;
  return { ...state, text: shownText, isStopped: state.isStopped || (message.done === true && isEmpty) };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function notesOf(statuses: NonNullable<Message["statusHistory"]>): string[] {
  const warnings = statuses.flatMap((it) => (Array.isArray(it.warnings) ? it.warnings : []));
  const others = statuses
    .filter((it) => it.done === true && it.error !== true)
    .map((it) => it.description ?? "")
    // The note repeats the warnings.
    .filter((it) => it !== "" && !STEPS.includes(it) && !(warnings.length > 0 && it.startsWith("Note: ")));
  return [...new Set([...warnings, ...others])];
}

/** Without a language model the server writes a sentence that the image or its failure shows already. */
function withoutServerText(content: string, state: ReplyState): string {
  if (state.images.length > 0 && content === "Here is your image.") return "";
  if (state.imageFailure !== undefined && content.startsWith("The image could not be generated: ")) return "";
  return content;
}

function errorText(error: unknown): string {
  if (typeof error === "string") return error;
  const { content, message } = (typeof error === "object" && error !== null ? error : {}) as { content?: unknown; message?: unknown };
  if (typeof content === "string") return content;
  return typeof message === "string" ? message : "";
}
