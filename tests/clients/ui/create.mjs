// Creating images: progress, a reload in the middle, stop, edits with a mask, comparison, use again, failures and their next step.
import assert from "node:assert/strict";
import { lookAt, request, SERVER, settle, step } from "./browser.mjs";
import { lastEdit, releaseDraft, removeUpstream, setPicture, setUpUpstream } from "./upstream.mjs";

const PROMPT = "a lighthouse in a storm, oil on canvas";
const SLOW_PROMPT = "an old harbor in the fog";
const EDIT = "make the sky golden";
/** The part of the image that an edit may change, in pixels. */
const MASK = { left: 64, top: 32, width: 256, height: 128 };

export async function create(page) {
  await step("an empty page offers prompts, and only what the engine is able to use", async () => {
    await page.route(/\/api\/v1\/jobs\?/, (route) => route.fulfill({ json: { jobs: [], next: null } }));
    await page.goto(`${SERVER}/create`);
    await page.getByText("What would you like to see?").waitFor();
    await lookAt(page, "create-empty");
    await page.unroute(/\/api\/v1\/jobs\?/);
    await page.getByRole("button", { name: /^A paper boat/ }).click();
    assert.match(await prompt(page).inputValue(), /^A paper boat/);
    // The built-in engine draws without steps.
    assert.equal(await page.getByLabel("Steps").count(), 0);
  });

  await step("images are created with Ctrl+Enter and a seed that is kept", async () => {
    await page.goto(`${SERVER}/create`);
    await prompt(page).fill(PROMPT);
    await page.getByRole("button", { name: "More images" }).click();
    await page.getByRole("button", { name: "3:2", exact: true }).click();
    await page.getByLabel("Seed", { exact: true }).fill("4711");
    await page.keyboard.press("Control+Enter");
    await frames(page).nth(1).waitFor();
    assert.equal(await frames(page).count(), 2);
    await page.getByText("Seed 4711").first().waitFor();
    await settle(page);
    await lookAt(page, "create");
  });

  await step("a job that ends before its response arrives is shown as it is now", async () => {
    await page.route("**/api/v1/jobs", async (route) => {
      const response = await route.fetch();
      await request(page, "GET", `/api/v1/jobs/${(await response.json()).id}?wait=30`);
      await route.fulfill({ response });
    });
    const shown = await frames(page).first().getAttribute("src");
    const response = page.waitForResponse((it) => it.request().method() === "POST" && it.url().endsWith("/api/v1/jobs"));
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await response;
    await page.unroute("**/api/v1/jobs");
    await page.waitForFunction((before) => {
      const image = document.querySelector(".frame-link img");
      return image !== null && image.getAttribute("src") !== before;
    }, shown);
    assert.equal(await page.getByRole("button", { name: "Stop", exact: true }).count(), 0);
  });

  await step("what was entered survives a reload", async () => {
    await page.reload();
    await frames(page).nth(1).waitFor();
    assert.equal(await prompt(page).inputValue(), PROMPT);
    assert.equal(await page.getByLabel("Seed", { exact: true }).inputValue(), "4711");
    assert.equal(await page.getByRole("button", { name: "3:2", exact: true }).getAttribute("aria-pressed"), "true");
  });

  await step("a job shows its preview, and a reload in the middle shows it again", async () => {
    const { jobs } = await request(page, "GET", "/api/v1/jobs?limit=1");
    await setPicture(page, jobs[0].files[1].id);
    await setUpUpstream(page);
    await page.reload();
    await chooseEngine(page, "OpenAI");
    await prompt(page).fill(SLOW_PROMPT);
    await page.getByRole("button", { name: "Fewer images" }).click();
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await page.getByRole("img", { name: "Preview of the image" }).waitFor();
    await page.getByRole("button", { name: /^Queue/ }).filter({ hasText: "1" }).waitFor();
    await lookAt(page, "create-progress");
    await page.reload();
    await page.getByRole("button", { name: "Stop", exact: true }).waitFor();
    await releaseDraft();
    await frames(page).first().waitFor();
    await page.getByRole("button", { name: "Stop", exact: true }).waitFor({ state: "detached" });
    assert.equal(await frames(page).count(), 1);
  });

  await step("a job is stopped, also at the upstream, and offers to try again", async () => {
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await page.getByRole("img", { name: "Preview of the image" }).waitFor();
    await page.getByRole("button", { name: /^Queue/ }).click();
    await page.getByRole("dialog", { name: "Queue" }).getByText(SLOW_PROMPT).waitFor();
    await page.getByRole("button", { name: `Stop: ${SLOW_PROMPT}` }).click();
    await page.getByText("No job is running.").waitFor();
    await page.keyboard.press("Escape");
    await page.getByText("Stopped", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Try again" }).waitFor();
    const { jobs } = await request(page, "GET", "/api/v1/jobs?limit=1");
    assert.equal(jobs[0].state, "cancelled");
    await releaseDraft();
  });

  await step("the same prompt on two engines makes images to compare", async () => {
    await prompt(page).fill(PROMPT);
    await page.getByRole("button", { name: "Sketch", exact: true }).click();
    await page.getByRole("button", { name: "Create on 2 engines" }).click();
    await page.getByRole("heading", { name: "Sketch" }).waitFor();
    await releaseDraft();
    await frames(page).nth(1).waitFor();
    await page.getByRole("button", { name: "Compare" }).click();
    await page.getByRole("slider", { name: "Position of the slider" }).fill("35");
    await lookAt(page, "create-compare");
    await page.getByRole("button", { name: "Side by side" }).click();
    await page.getByRole("button", { name: "Switch", exact: true }).click();
    await page.getByRole("button", { name: "Show OpenAI" }).or(page.getByRole("button", { name: "Show Sketch" })).click();
    await page.getByRole("button", { name: "Stop comparing" }).click();
    await page.getByRole("button", { name: "Sketch", exact: true }).click();
  });

  await step("the mask that a person paints is the one that reaches the upstream", async () => {
    await page.getByRole("button", { name: "Mask", exact: true }).first().click();
    const dialog = page.getByRole("dialog", { name: "Mask" });
    await dialog.getByText("Nothing is masked yet").waitFor();
    await paint(page, dialog);
    await dialog.getByText("of the image may change").waitFor();
    await lookAt(page, "mask");
    await dialog.getByRole("button", { name: "Clear" }).click();
    await dialog.getByText("Rectangle by numbers").click();
    for (const [field, value] of Object.entries({ Left: MASK.left, Top: MASK.top, Width: MASK.width, Height: MASK.height })) {
      await dialog.getByLabel(field, { exact: true }).fill(String(value));
    }
    await dialog.getByRole("button", { name: "Add", exact: true }).click();
    await dialog.getByRole("button", { name: "Use this mask" }).click();
    await page.getByRole("img", { name: "Mask: the covered part" }).waitFor();
    await prompt(page).fill(EDIT);
    await page.reload();
    await page.getByRole("img", { name: "Mask: the covered part" }).waitFor();
    await page.getByRole("button", { name: "Create", exact: true }).click();
    // An edit has no draft here.
    await page.locator(".batch-prompt").filter({ hasText: EDIT }).waitFor();
    await page.getByRole("button", { name: "Stop", exact: true }).waitFor({ state: "detached" });
    await frames(page).first().waitFor();
    const edit = await lastEdit();
    assert.equal(edit.prompt, EDIT);
    await checkMask(page, edit.mask, edit.image ?? edit["image[]"]);
    await page.getByRole("button", { name: /^Remove / }).click();
    const answered = page.waitForResponse((it) => it.request().method() === "POST" && it.url().endsWith("/api/v1/jobs"));
    await page.getByRole("button", { name: "Vary" }).first().click();
    const { id } = await (await answered).json();
    await request(page, "GET", `/api/v1/jobs/${id}?wait=30`);
    assert.equal((await lastEdit()).mask, edit.mask, "a variation has no mask");
    await page.getByRole("button", { name: "Stop", exact: true }).waitFor({ state: "detached" });
  });

  await step("reuse asks what to reuse; its undo restores what was entered", async () => {
    await prompt(page).fill("something else");
    await page.getByRole("button", { name: "Reuse" }).first().click();
    await page.getByRole("button", { name: "Everything" }).first().click();
    assert.equal(await prompt(page).inputValue(), EDIT);
    await page.getByRole("button", { name: "Undo" }).click();
    assert.equal(await prompt(page).inputValue(), "something else");
  });

  await step("a deleted image comes back with undo", async () => {
    const count = await frames(page).count();
    await page.getByRole("button", { name: "More", exact: true }).last().click();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByText("Deleted", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Undo" }).click();
    await frames(page).first().waitFor();
    assert.equal(await frames(page).count(), count);
  });

  await step("a failure says why in its place, and another engine makes the image", async () => {
    await prompt(page).fill("refuse this harbor");
    await page.getByRole("button", { name: "Create", exact: true }).click();
    const failure = page.getByRole("alert").filter({ hasText: "The image could not be made" });
    await failure.waitFor();
    await failure.getByText(/Not this\./).waitFor();
    await lookAt(page, "create-failed");
    await failure.getByRole("button", { name: "Other engine" }).click();
    await page.getByRole("button", { name: "Sketch", exact: true }).last().click();
    await frames(page).first().waitFor();
    const { jobs } = await request(page, "GET", "/api/v1/jobs?limit=1");
    assert.deepEqual([jobs[0].binding, jobs[0].state], ["sketch", "done"]);
  });

  await step("a refusal of the server stands above the button, and nothing typed is lost", async () => {
    const detail = "The storage is full. Delete images, or raise PINHOLE_MAX_STORAGE.";
    await page.route("**/api/v1/jobs", (route) => route.fulfill({ status: 507, json: { detail } }));
    await prompt(page).fill("one image too many");
    await page.getByRole("button", { name: "Create", exact: true }).click();
    await page.getByRole("alert").filter({ hasText: detail }).waitFor();
    assert.equal(await prompt(page).inputValue(), "one image too many");
    await page.unroute("**/api/v1/jobs");
  }, { statuses: [507] });

  await prompt(page).fill("");
  await chooseEngine(page, "Automatic");
  await removeUpstream(page);
}

function prompt(page) {
  return page.getByLabel("Prompt", { exact: true });
}

/** Finished images of the stage. */
function frames(page) {
  return page.locator(".frame-link img");
}

async function chooseEngine(page, name) {
  await page.getByRole("button", { name: /^Engine: / }).click();
  await page.locator(".engine-choice").filter({ hasText: name }).first().click();
}

/** A stroke across the upper half of the image. */
async function paint(page, dialog) {
  const box = await dialog.locator("canvas").boundingBox();
  const at = (x, y) => [box.x + box.width * x, box.y + box.height * y];
  await page.mouse.move(...at(0.3, 0.4));
  await page.mouse.down();
  for (const [x, y] of [[0.4, 0.3], [0.5, 0.4], [0.6, 0.3], [0.7, 0.4]]) await page.mouse.move(...at(x, y), { steps: 8 });
  await page.mouse.up();
}

/** A mask is as large as its image, and transparent exactly where the image may change. */
async function checkMask(page, mask, image) {
  const { size, imageSize, hole } = await page.evaluate(readMask, { mask, image });
  assert.deepEqual(size, imageSize, "the mask has another size than its image");
  assert.deepEqual(hole, { ...MASK, area: MASK.width * MASK.height });
}

/** Runs in the browser: sizes, and what encloses the transparent pixels. */
async function readMask({ mask, image }) {
  const open = (base64) => createImageBitmap(new Blob([Uint8Array.from(atob(base64), (it) => it.charCodeAt(0))]));
  const [bitmap, source] = [await open(mask), await open(image)];
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let [left, top, right, bottom, area] = [width, height, 0, 0, 0];
  for (let index = 0; index < width * height; index += 1) {
    if (data[index * 4 + 3] > 127) continue;
    const [x, y] = [index % width, Math.floor(index / width)];
    [left, top, right, bottom, area] = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1), area + 1];
  }
  return { size: [width, height], imageSize: [source.width, source.height], hole: { left, top, width: right - left, height: bottom - top, area } };
}
