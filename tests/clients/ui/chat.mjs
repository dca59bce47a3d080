// Chats: images and text, stop, versions, changed messages, a reload in the middle, the list of chats, hostile text, failures.
import assert from "node:assert/strict";
import { lookAt, request, SERVER, settle, step } from "./browser.mjs";
import { releaseDraft, removeUpstream, setPicture, setUpUpstream } from "./upstream.mjs";

const PROMPT = "a red fox on a hill at dawn, watercolor";
/** What a language model should not be able to do. */
const HOSTILE = [
  "# Heading\n\n<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>",
  "[click](javascript:window.hacked=1) ![pixel](https://example.org/pixel.png) <https://example.org/>",
  "<details open ontoggle=window.hacked=1> <svg onload=window.hacked=1>",
  `${"w".repeat(400)}`,
  "| a | b |\n|---|---|\n| `<b>` | **bold** |",
  "```html\n<script>window.hacked=1</script>\n```",
].join("\n\n");

export async function chat(page) {
  await step("a new chat offers prompts to begin with", async () => {
    await page.goto(SERVER);
    await page.getByText("What do you want to see?").waitFor();
    await page.getByRole("list", { name: "Prompts to begin with" }).waitFor();
    await lookAt(page, "chat-empty");
  });

  await step("a message gets an image and a text", async () => {
    await send(page, PROMPT);
    await images(page).first().waitFor();
    await page.getByText("Here is your fox.").first().waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    assert.match(page.url(), /\/c\//);
    await page.getByText(/^Seed \d+/).first().waitFor();
    await settle(page);
    await lookAt(page, "chat");
  });

  await step("a retry is another version, and the first one stays", async () => {
    await replies(page).last().getByRole("button", { name: "Try again" }).click();
    await page.getByText("2 / 2").waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    const newer = await images(page).last().getAttribute("src");
    await page.getByRole("button", { name: "Previous version" }).last().click();
    await page.getByText("1 / 2").waitFor();
    assert.notEqual(await images(page).last().getAttribute("src"), newer);
    await page.reload();
    await page.getByText("1 / 2").waitFor();
    await page.getByRole("button", { name: "Next version" }).last().click();
    await page.getByText("2 / 2").waitFor();
  });

  await step("a changed message is another version with its own response", async () => {
    await page.getByRole("button", { name: "Change the message" }).click();
    await page.getByRole("textbox", { name: "Change the message" }).fill("a red fox in the snow");
    await page.getByRole("textbox", { name: "Change the message" }).press("Control+Enter");
    await page.locator(".from-user").filter({ hasText: "in the snow" }).waitFor();
    await images(page).first().waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    await page.getByRole("article", { name: "You" }).getByText("2 / 2").waitFor();
    await page.getByRole("article", { name: "You" }).getByRole("button", { name: "Previous version" }).click();
    await page.locator(".from-user").filter({ hasText: PROMPT }).waitFor();
  });

  await step("details of an image, and a link that shows it without an account", async () => {
    await page.getByRole("button", { name: /^Open image: / }).last().click();
    const details = page.getByRole("dialog", { name: "Image details" });
    await details.getByText("More details").click();
    await details.getByText("SHA-256").waitFor();
    await lookAt(page, "chat-image");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "More actions" }).last().click();
    await page.getByRole("button", { name: "Share link" }).last().click();
    const field = page.getByRole("dialog", { name: "Share link" }).getByLabel("Link to the image");
    await page.getByText(/^The link works until/).waitFor();
    const response = await fetch(await field.inputValue());
    assert.equal(response.status, 200);
    await page.keyboard.press("Escape");
  });

  await step("Stop ends a text, and what was written stays", async () => {
    await openNewChat(page);
    await page.getByRole("button", { name: "Image", exact: true }).click();
    await send(page, "wait for me");
    await page.getByText("Here is", { exact: true }).waitFor();
    await page.reload();
    // What was written so far is there at once, and the rest is still awaited.
    await page.getByText("Here is", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    await page.getByText("Here is", { exact: true }).waitFor();
    await page.reload();
    await page.getByText("Here is", { exact: true }).waitFor();
  });

  await step("a response cannot run scripts, load images of other servers, or break the layout", async () => {
    await send(page, `say ${HOSTILE}`);
    await page.getByRole("heading", { name: "Heading" }).waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    const reply = replies(page).last();
    await reply.getByText('<script>window.hacked=1</script>').first().waitFor();
    assert.equal(await reply.locator("img, script, svg[onload]").count(), 0);
    const links = await reply.locator("a").evaluateAll((all) => all.map((it) => it.protocol));
    assert.ok(links.length > 0 && links.every((it) => it === "https:"), `links: ${links}`);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    await lookAt(page, "chat-markdown");
  });

  await step("a failure of the language model stands in the response, with a retry", async () => {
    await send(page, "fail 502 harbor");
    const failure = replies(page).last().getByRole("alert");
    await failure.getByRole("button", { name: "Try again" }).waitFor();
    await lookAt(page, "chat-failed");
  });

  await step("an image shows its draft, survives a reload, and is stopped by itself", async () => {
    const { images: known } = await request(page, "GET", "/api/v1/gallery?limit=1&kind=generated");
    await setPicture(page, known[0].id);
    await setUpUpstream(page);
    await openNewChat(page);
    await page.reload();
    await page.getByRole("button", { name: "Image", exact: true }).click();
    await page.getByLabel("Engine").selectOption("openai");
    await send(page, "a harbor in the fog");
    await page.locator(".image.making img").waitFor();
    await lookAt(page, "chat-progress");
    await page.reload();
    await page.locator(".image.making").waitFor();
    await page.getByRole("button", { name: "Stop image" }).or(replies(page).getByRole("button", { name: "Stop" })).first().click();
    await page.getByText("The image was stopped.").waitFor();
    await releaseDraft();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
  });

  await step("a refused image says why, and another engine makes it", async () => {
    await send(page, "refuse this harbor");
    const failure = page.getByRole("alert").filter({ hasText: "The image failed" });
    await failure.getByText(/Not this\./).waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    await lookAt(page, "chat-refused");
    await failure.getByRole("button", { name: "Other engine" }).click();
    await page.getByRole("button", { name: "Sketch", exact: true }).last().click();
    await images(page).first().waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
  });

  await step("an image of the chat is changed with a mask", async () => {
    await page.getByRole("button", { name: "Edit", exact: true }).last().click();
    await page.getByRole("button", { name: "Select area" }).click();
    const dialog = page.getByRole("dialog", { name: "Mask" });
    await dialog.getByText("Rectangle by numbers").click();
    for (const field of ["Width", "Height"]) await dialog.getByLabel(field, { exact: true }).fill("100");
    await dialog.getByRole("button", { name: "Add", exact: true }).click();
    await dialog.getByRole("button", { name: "Use this mask" }).click();
    await page.getByRole("button", { name: "Change area" }).waitFor();
    await lookAt(page, "chat-edit");
    await send(page, "make the sky golden");
    await page.getByText("Selected area").waitFor();
    await images(page).nth(1).waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    await page.getByLabel("Engine").selectOption("");
    await removeUpstream(page);
  });

  await step("chats are renamed, pinned, found, archived and deleted", async () => {
    const list = page.getByRole("region", { name: "Chats" });
    await page.reload();
    await openMenu(list);
    await page.getByRole("button", { name: "Rename" }).first().click();
    await list.getByLabel("Title").fill("Harbor studies");
    await list.getByLabel("Title").press("Enter");
    await page.getByRole("heading", { level: 1, name: "Harbor studies" }).waitFor();
    await openMenu(list);
    await page.getByRole("button", { name: "Pin", exact: true }).first().click();
    await list.getByRole("heading", { name: "Pinned" }).waitFor();
    await page.keyboard.press("Control+k");
    await page.keyboard.type("Harbor stud");
    await list.getByRole("heading", { name: "1 chat" }).waitFor();
    await list.getByRole("searchbox").fill("");
    await openMenu(list);
    await page.getByRole("button", { name: "Move to archive" }).first().click();
    await page.getByText("This chat is in the archive.").waitFor();
    await page.getByRole("button", { name: "Take out of archive" }).click();
    await page.getByText("This chat is in the archive.").waitFor({ state: "detached" });
    await openMenu(list);
    await page.getByRole("button", { name: "Delete…" }).first().click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete chat" }).click();
    await page.getByText("What do you want to see?").waitFor();
    await list.getByText("Harbor studies").waitFor({ state: "detached" });
  });

  await step("an attached image survives a change of chats, and is uploaded once", async () => {
    const { images: known } = await request(page, "GET", "/api/v1/gallery?limit=1&kind=generated");
    const image = await page.context().request.get(`${SERVER}/api/v1/files/${known[0].id}/content`);
    const isUpload = (it) => it.method() === "POST" && it.url().endsWith("/api/v1/files/");
    const uploads = [];
    const { promise: released, resolve: release } = promiseWithResolver();
    await page.route("**/api/v1/files/", async (route) => {
      if (isUpload(route.request())) uploads.push(route.request());
      await released;
      await route.continue();
    });
    await openNewChat(page);
    await page.locator(".composer input[type=file]").setInputFiles({ name: "boat.png", mimeType: "image/png", buffer: await image.body() });
    await page.getByRole("status", { name: "Uploading" }).waitFor();
    const list = page.getByRole("region", { name: "Chats" });
    await list.getByRole("link", { name: "wait for me" }).click();
    await page.getByRole("img", { name: "boat.png" }).waitFor({ state: "detached" });
    const stored = page.waitForResponse((it) => isUpload(it.request()));
    release();
    await stored;
    await openNewChat(page);
    await page.getByRole("img", { name: "boat.png" }).waitFor();
    await page.getByRole("status", { name: "Uploading" }).waitFor({ state: "detached" });
    assert.equal(uploads.length, 1);
    await page.getByRole("button", { name: "Remove boat.png" }).click();
    await page.unroute("**/api/v1/files/");
  });

  await step("a chat that does not exist says so", async () => {
    await page.goto(`${SERVER}/c/00000000-0000-4000-8000-000000000000`);
    await page.getByText("This chat does not exist").waitFor();
    await page.getByRole("main").getByRole("link", { name: "New chat" }).last().click();
    await page.getByText("What do you want to see?").waitFor();
  }, { statuses: [401, 404] });
}

/** A promise that is resolved from outside. */
function promiseWithResolver() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

async function send(page, text) {
  await page.getByRole("textbox", { name: "Message" }).fill(text);
  await page.getByRole("textbox", { name: "Message" }).press("Enter");
}

async function openNewChat(page) {
  await page.getByRole("region", { name: "Chats" }).getByRole("link", { name: "New chat" }).click();
  await page.getByText("What do you want to see?").waitFor();
}

function replies(page) {
  return page.getByRole("article", { name: "Response" });
}

/** Finished images of the conversation. */
function images(page) {
  return page.locator(".image.finished img");
}

/** The menu of the first chat of the list. */
async function openMenu(list) {
  await list.getByRole("button", { name: /^Actions for/ }).first().click();
}
