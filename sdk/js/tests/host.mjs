// A host for unit tests: it stands for the modules `pinhole:engine/…`, records calls, and returns what a test sets.

export class Image {
  #mediaType;
  constructor(mediaType = "image/png") {
    this.#mediaType = mediaType;
  }

  mediaType() {
    return this.#mediaType;
  }
}

/** What the functions of the host return, and what they were called with. */
export const host = { requests: [], logged: [], reports: [], sent: [], response: undefined, frames: [] };

export const send = (request) => {
  host.requests.push(request);
  return host.response;
};
export const start = (request) => {
  host.requests.push(request);
  return { wait: () => host.response };
};
export const connect = () => ({ send: (text) => host.sent.push(text), receive: () => host.frames.shift() ?? null });
export const fromBytes = () => new Image();
export const report = (progress, preview) => host.reports.push({ ...progress, preview });
export const sleep = () => true;
export const random = () => 2 ** 63;
export const remember = () => undefined;
export const remembered = () => null;
export const write = (level, message) => host.logged.push({ level, message });

/** A response of the host. */
export function response(status, text, headers = {}) {
  return {
    status: () => status,
    headers: () => Object.entries(headers).map(([name, value]) => ({ name, value })),
    text: () => text,
    document: () => ({ json: () => text, eventName: () => null }),
  };
}

/** An error as a function of the host throws it. */
export function hostError(payload) {
  return Object.assign(new Error("host"), { payload });
}
