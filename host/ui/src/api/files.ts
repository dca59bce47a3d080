import { postForm } from "./client.ts";

/** Stores a file at the server, and returns its id. */
export async function uploadFile(file: Blob, name: string): Promise<string> {
  const form = new FormData();
  form.append("file", file, name);
  return (await postForm("/api/v1/files/", form)).id;
}
