// The upstream of the test as engine `openai`: its drafts wait until the test has seen them.
import assert from "node:assert/strict";
import { request, SERVER } from "./browser.mjs";

const { CLIENT_UPSTREAM: upstream } = process.env;
const SETTINGS = {
  IMAGES_OPENAI_API_BASE_URL: `${upstream}/v1`,
  IMAGES_OPENAI_API_KEY: "sk-test",
  IMAGES_OPENAI_API_PARAMS: JSON.stringify({ stream: true, partial_images: 1 }),
  // Without a choice, the engine with a key would be the default.
  IMAGE_GENERATION_ENGINE: "sketch",
};

export async function setUpUpstream(page) {
  await request(page, "POST", "/api/v1/settings", SETTINGS);
}

/** What other parts of the test expect: an engine that is not set up. */
export async function removeUpstream(page) {
  await request(page, "POST", "/api/v1/settings", Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, null])));
}

/** Lets the job continue that waits longest. */
export async function releaseDraft() {
  await fetch(`${upstream}/seen`);
}

/** From now on the upstream makes this image. */
export async function setPicture(page, fileId) {
  // The server emits no preview of more than 128 KiB.
  for (const [path, file] of Object.entries({ picture: "content", draft: "thumbnail?size=512" })) {
    const image = await page.context().request.get(`${SERVER}/api/v1/files/${fileId}/${file}`);
    assert.ok(image.ok(), `${file}: ${image.status()}`);
    await fetch(`${upstream}/${path}`, { method: "PUT", body: await image.body() });
  }
}

/** The fields of the last edit that reached the upstream; files are in base64. */
export async function lastEdit() {
  return (await fetch(`${upstream}/edit`)).json();
}
