// Uploads with progress, which `fetch` does not report.
import { ApiError, sessionExpired } from "../../../api/client.ts";
import { t } from "../../../text/index.ts";
import type { InstallReport } from "./types.ts";

interface UploadOptions {
  onProgress: (fraction: number) => void;
  signal: AbortSignal;
}

/** Sends a component, and returns what the server made of it. */
export function upload(path: string, file: Blob, { onProgress, signal }: UploadOptions): Promise<InstallReport> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.setRequestHeader("accept", "application/json");
    request.upload.onprogress = (event) => onProgress(event.total > 0 ? event.loaded / event.total : 1);
    request.upload.onload = () => onProgress(1);
    request.onerror = () => reject(new ApiError(0, t.shell.unreachable));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    request.onload = () => {
      const body = parse(request.responseText);
      if (request.status < 400) return resolve(body as InstallReport);
      if (request.status === 401) sessionExpired.value = true;
      const { detail } = (body ?? {}) as { detail?: unknown };
      reject(new ApiError(request.status, typeof detail === "string" ? detail : t.shell.failedWithStatus(request.status)));
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
