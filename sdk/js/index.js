// SDK for authors of Pinhole image engines in JavaScript. `index.d.ts` documents every item.
//
// It converts between the plain objects that an engine writes and the types of `engine.wit`: defaults, JSON texts, absent
// values, and errors.

import { Image, fromBytes } from "pinhole:engine/images@0.2.0";
import { send as hostSend, start as hostStart, connect as hostConnect } from "pinhole:engine/upstream@0.2.0";
import {
  report as hostReport,
  sleep,
  random as hostRandom,
  remember as hostRemember,
  remembered as hostRemembered,
} from "pinhole:engine/job@0.2.0";
import { write } from "pinhole:engine/log@0.2.0";

export { Image, sleep };

/** Strings of a response's JSON that are longer are cut: they are images, and stay on the host. */
const MAX_STRING_BYTES = 4096;
/** How much of an error response is read. */
const MAX_ERROR_BYTES = 16384;
/** The kind of an error by the status of the response; any other status is `upstream`. */
const KINDS = new Map([
  [400, "invalid"],
  [401, "unauthorized"],
  [402, "quota"],
  [403, "forbidden"],
  [404, "not-found"],
  [408, "timeout"],
  [413, "invalid"],
  [422, "invalid"],
  [429, "rate-limited"],
  [502, "unavailable"],
  [503, "unavailable"],
  [504, "unavailable"],
]);

// Errors

export class EngineError extends Error {
  constructor(kind, message, { code, field, retryAfterMs } = {}) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.field = field;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Calls a host function. Its error becomes an `EngineError`. */
function call(hostFunction) {
  try {
    return hostFunction();
  } catch (error) {
    throw error?.payload === undefined ? error : fromHost(error.payload);
  }
}

function fromHost(error) {
  if (typeof error === "string") {
    return new EngineError("invalid", error);
  }
  switch (error.tag) {
    case "denied":
      return new EngineError("forbidden", error.val);
    case "connect":
      return new EngineError("unavailable", error.val);
    case "timeout":
      return new EngineError("timeout", "the upstream did not respond in time");
    case "too-large":
      return new EngineError("protocol", "the request or its response exceeds its size limit");
    case "cancelled":
      return new EngineError("cancelled", "the job was cancelled");
    case "status":
      return new EngineError("protocol", `the image URL returned status ${error.val}`);
    default:
      return new EngineError("protocol", error.val);
  }
}

// The engine

export function defineEngine(engine) {
  const supports = (name) => typeof engine[name] === "function";
  return {
    describe: () => guard(() => description(engine.describe())),
    generate: (job, settings) => guard(() => output(engine.generate(readJob(job), readSettings(settings)))),
    edit: (job, sources, mask, settings) =>
      guard(() => {
        if (!supports("edit")) {
          throw new EngineError("unsupported", "the engine cannot edit images");
        }
        return output(engine.edit(readJob(job), sources, mask ?? undefined, readSettings(settings)));
      }),
    models: (settings) => guard(() => (supports("models") ? engine.models(readSettings(settings)).map(model) : [])),
    verify: (settings) =>
      guard(() => ({ problems: [], ...(supports("verify") ? engine.verify(readSettings(settings)) : {}) })),
  };
}

export function defineExplain(engine) {
  return {
    explain: (settings) => guard(() => ({ problems: [], ...explanation(engine.explain(readSettings(settings))) })),
  };
}

/** Returns what an export returns. An `EngineError` becomes the contract's error, another one a crash with a log line. */
function guard(run) {
  try {
    return run();
  } catch (error) {
    if (error instanceof EngineError) {
      const { kind, message, code, field, retryAfterMs } = error;
      throw { kind, message, code, field, retryAfterMs };
    }
    write("error", `${error}\n${error?.stack ?? ""}`);
    throw error;
  }
}

function readJob(job) {
  const known = Object.fromEntries(Object.entries(job).filter(([, value]) => value !== null));
  // Integers of the contract are numbers here, and a larger one has lost its last digits.
  if (known.seed > Number.MAX_SAFE_INTEGER) {
    const message = `seed must be at most ${Number.MAX_SAFE_INTEGER}`;
    throw new EngineError("invalid", message, { field: "seed" });
  }
  return { ...known, parameters: JSON.parse(job.parameters) };
}

const readSettings = (settings) => Object.fromEntries(settings.map(({ key, value }) => [key, JSON.parse(value)]));
const json = (value) => (value === undefined ? undefined : stringify(value));
/** `"url"` and `{ choice: [...] }` as a variant of the contract. */
function variant(value) {
  if (typeof value === "string") {
    return { tag: value };
  }
  const [[tag, val]] = Object.entries(value);
  return { tag, val };
}

function description(it) {
  return {
    otherParameters: false,
    ...it,
    abilities: { ...NO_ABILITIES, progress: false, cancel: false, ...it.abilities },
    settings: (it.settings ?? []).map((setting) => ({
      ...setting,
      description: setting.description ?? "",
      kind: variant(setting.kind),
      default: json(setting.default),
      generateVariables: setting.variables ?? [],
      editVariables: setting.editVariables ?? [],
    })),
    upstreams: (it.upstreams ?? []).map((upstream) => ({
      hosts: [],
      imageHosts: [],
      ...upstream,
      credentials: (upstream.credentials ?? []).map(variant),
    })),
    parameters: (it.parameters ?? []).map((parameter) => ({
      ...parameter,
      description: parameter.description ?? "",
      kind: parameterKind(parameter.kind),
      default: json(parameter.default),
    })),
  };
}

function parameterKind(kind) {
  const { tag, val } = variant(kind);
  return tag === "integer" || tag === "number" ? { tag, val: val ?? {} } : { tag, val };
}

const NO_ABILITIES = {
  edit: false,
  mask: false,
  negativePrompt: false,
  seed: false,
  steps: false,
  strength: false,
  maxCount: 1,
  maxSources: 0,
};

function model(it) {
  const abilities = it.abilities && { ...NO_ABILITIES, sizes: [], aspectRatios: [], ...it.abilities };
  return { name: it.id, ...it, abilities };
}

function explanation(it) {
  const row = { node: "", title: "", input: "", value: "" };
  return { ...it, rows: (it.rows ?? []).map((it) => ({ ...row, ...it })) };
}

function output(it) {
  return {
    ...it,
    images: it.images.map(madeImage),
    details: json(it.details ?? {}),
    usage: json(it.usage),
    warnings: it.warnings ?? [],
  };
}

function madeImage(it) {
  const { image, seed, flagged, details } = it instanceof Image ? { image: it } : it;
  return { image, seed, flagged: flagged ?? false, details: json(details ?? {}) };
}

// Requests

class DataUrl {
  constructor(image) {
    this.image = image;
  }
}

export const dataUrl = (image) => new DataUrl(image);

/** JSON text. */
function stringify(value) {
  const parts = jsonParts(value);
  if (parts.some(({ tag }) => tag !== "text")) {
    throw new TypeError("an image cannot be in this JSON");
  }
  return parts.map(({ val }) => val).join("");
}

/** The parts of a JSON body: text, with the images between quotes. */
function jsonParts(value) {
  const parts = [];
  let text = "";
  const image = (tag, val) => {
    parts.push({ tag: "text", val: `${text}"` }, { tag, val });
    text = '"';
  };
  const list = (open, entries, close, each) => {
    text += open;
    entries.forEach((entry, index) => {
      text += index === 0 ? "" : ",";
      each(entry);
    });
    text += close;
  };
  const add = (it) => {
    if (it instanceof Image) {
      image("image-base64", it);
    } else if (it instanceof DataUrl) {
      image("image-data-url", it.image);
    } else if (Array.isArray(it)) {
      list("[", it, "]", add);
    } else if (it !== null && typeof it === "object" && typeof it.toJSON !== "function") {
      const entries = Object.entries(it).filter(([, field]) => field !== undefined);
      list("{", entries, "}", ([name, field]) => {
        text += `${JSON.stringify(name)}:`;
        add(field);
      });
    } else {
      text += JSON.stringify(it) ?? "null";
    }
  };
  add(value);
  return [...parts, { tag: "text", val: text }];
}

function formFields(form) {
  return Object.entries(form)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((one) => formField(name, one)));
}

function formField(name, value) {
  if (!(value instanceof Image)) {
    return { name, content: [{ tag: "text", val: String(value) }] };
  }
  const mediaType = value.mediaType();
  const extension = mediaType === "image/jpeg" ? "jpg" : mediaType.replace("image/", "");
  return { name, fileName: `${name}.${extension}`, mediaType, content: [{ tag: "image", val: value }] };
}

function body({ json: value, form, urlencoded, image }) {
  if (value !== undefined) {
    return { tag: "json", val: jsonParts(value) };
  }
  if (form !== undefined) {
    return { tag: "form", val: formFields(form) };
  }
  if (urlencoded !== undefined) {
    return { tag: "urlencoded", val: Object.entries(urlencoded).map(([name, text]) => [name, String(text)]) };
  }
  if (image !== undefined) {
    return { tag: "raw", val: [image.mediaType(), [{ tag: "image", val: image }]] };
  }
  return { tag: "none" };
}

const headerList = (headers = {}) => Object.entries(headers).map(([name, value]) => ({ name, value }));

function rawRequest({ upstream, method = "GET", path, headers, ...content }) {
  return { upstream, method, path, headers: headerList(headers), body: body(content) };
}

export const send = (request) => new Response(call(() => hostSend(rawRequest(request))));
export const start = (request) => new Pending(call(() => hostStart(rawRequest(request))));
export const connect = (upstream, path) => new Socket(call(() => hostConnect(upstream, path)));

class Pending {
  #pending;
  constructor(pending) {
    this.#pending = pending;
  }

  wait(timeoutMs) {
    const result = this.#pending.wait(timeoutMs);
    if (result === null) {
      return undefined;
    }
    if (result.tag === "err") {
      throw fromHost(result.val);
    }
    return new Response(result.val);
  }
}

class Response {
  #response;
  constructor(response) {
    this.#response = response;
    this.status = response.status();
    this.ok = this.status >= 200 && this.status < 300;
  }

  get headers() {
    return Object.fromEntries(this.#response.headers().map(({ name, value }) => [name, value]));
  }

  success() {
    if (this.ok) {
      return this;
    }
    throw this.refusal();
  }

  refusal() {
    const text = call(() => this.#response.text(MAX_ERROR_BYTES));
    const kind = KINDS.get(this.status) ?? "upstream";
    const reason = findMessage(parse(text)) ?? (text.startsWith("<") ? "" : text.slice(0, 300));
    const seconds = Number(this.headers["retry-after"]);
    return new EngineError(kind, reason || `the upstream responded with status ${this.status}`, {
      retryAfterMs: seconds > 0 ? Math.ceil(seconds * 1000) : undefined,
    });
  }

  document() {
    return new Document(call(() => this.#response.document()));
  }

  json() {
    return this.document().json();
  }

  image() {
    return call(() => this.#response.image());
  }

  text(maxBytes = MAX_ERROR_BYTES) {
    return call(() => this.#response.text(maxBytes));
  }

  *events() {
    for (;;) {
      const event = call(() => this.#response.nextEvent());
      if (event === null) {
        return;
      }
      yield new Document(event);
    }
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The message in the JSON of an error: `{"error": {"message": …}}`, `{"detail": …}` and the like. */
function findMessage(value, depth = 0) {
  if (typeof value === "string") {
    return depth > 0 ? value : undefined;
  }
  if (value === null || typeof value !== "object" || depth > 4) {
    return undefined;
  }
  for (const key of ["error", "message", "detail", "msg", "errors", "title", "0"]) {
    const message = findMessage(value[key], depth + 1);
    if (message) {
      return message;
    }
  }
  return undefined;
}

class Document {
  #document;
  constructor(document) {
    this.#document = document;
  }

  get eventName() {
    return this.#document.eventName() ?? undefined;
  }

  json() {
    return JSON.parse(call(() => this.#document.json(MAX_STRING_BYTES)));
  }

  text(pointer, maxBytes = MAX_STRING_BYTES) {
    return call(() => this.#document.textAt(pointer, maxBytes));
  }

  image(pointer) {
    return call(() => this.#document.imageAt(pointer));
  }

  fetchImage(pointer) {
    return call(() => this.#document.fetchImageAt(pointer));
  }

  follow(pointer, { method = "GET", headers, ...content } = {}) {
    const response = call(() => this.#document.follow(pointer, method, headerList(headers), body(content)));
    return new Response(response);
  }
}

class Socket {
  #socket;
  constructor(socket) {
    this.#socket = socket;
  }

  send(value) {
    call(() => this.#socket.send(typeof value === "string" ? value : stringify(value)));
  }

  receive(timeoutMs) {
    const frame = call(() => this.#socket.receive(timeoutMs));
    if (frame?.tag === "text") {
      return new Document(frame.val);
    }
    return frame === null ? undefined : frame.val;
  }
}

// The job

export const imageFromBytes = (bytes) => call(() => fromBytes(bytes));
export const report = ({ fraction, queuePosition, note, preview } = {}) =>
  hostReport({ fraction, queuePosition, note }, preview);
/** 32 of the 64 bits, which a number holds exactly. */
export const random = () => Math.floor(hostRandom() / 2 ** 32) % 2 ** 32;
export const remembered = () => hostRemembered() ?? undefined;
export const remember = (text) => call(() => hostRemember(text));
export const log = Object.fromEntries(
  ["debug", "info", "warn", "error"].map((level) => [level, (message) => write(level, String(message))]),
);
