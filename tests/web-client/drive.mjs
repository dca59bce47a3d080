// Open WebUI's web client in a browser: `CLIENT_RELEASE` of it, in front of the server `CLIENT_SERVER`. Each step ends
// with a screenshot in `CLIENT_SCREENSHOTS`, and fails if the page shows an error or a request got none of its answers.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

const { CLIENT_SERVER: server, CLIENT_PACKAGES: packages, CLIENT_RELEASE: release, CLIENT_SCREENSHOTS: screenshots } = process.env;
const require = createRequire(path.join(packages, "node_modules"));
const { chromium } = require("playwright-core");

const PATIENCE_MS = Number(process.env.CLIENT_PATIENCE_MS ?? 60_000);
const TEXT = "Here is your fox.";
const EMAIL = "ada@example.com";
const PASSWORD = "correct horse";
// Warnings of the client's own libraries, and what a browser without a graphics card reports.
const HARMLESS = [/tiptap warn/, /GPU stall/, /preloaded using link preload but not used/];

const browser = await chromium.launch({
  executablePath: process.env.CLIENT_BROWSER ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});
const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-US" });
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE_MS);

const faults = [];
page.on("response", (response) => {
  const request = response.request();
  if (response.status() >= 400) faults.push(`${response.status()} ${request.method()} ${response.url()}`);
});
page.on("requestfailed", (request) => {
  // A page that is left aborts its requests.
  const reason = request.failure()?.errorText;
  if (reason !== "net::ERR_ABORTED") faults.push(`${reason} ${request.method()} ${request.url()}`);
});
page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
page.on("console", (message) => {
  const text = message.text();
  if (message.type() === "error" && !HARMLESS.some((it) => it.test(text))) faults.push(`console: ${text}`);
});

let number = 0;
const step = async (name, run) => {
  number += 1;
  const file = path.join(screenshots, `${String(number).padStart(2, "0")}-${name}.png`);
  try {
    await run();
    await page.screenshot({ path: file });
    await checkPage();
  } catch (error) {
    await page.screenshot({ path: file });
    console.error(`step ${name} of release ${release} failed; its screenshot is ${file}`);
    console.error(faults.join("\n"));
    throw error;
  }
  console.log(`ok: ${release} ${name}`);
};

/** Fails if the page is blank, shows an error, or had a failed request. */
const checkPage = async () => {
  assert.deepEqual(faults, [], "failed requests, exceptions and errors in the console");
  assert.equal(await page.locator('[data-sonner-toast][data-type="error"]').count(), 0, "an error message");
  assert.equal(await page.locator('[class*="bg-red-600/10"]:visible').count(), 0, "a red box");
  assert((await page.locator("body").innerText()).trim().length > 20, "the page is blank");
};

/** Waits until this number of the chat's images is shown. */
const waitForImages = (count) =>
  page.waitForFunction(
    (expected) => {
      const images = [...document.querySelectorAll('#messages-container img[src*="/api/v1/files/"]')];
      return images.length === expected && images.every((image) => image.complete && image.naturalWidth > 0);
    },
    count,
    { timeout: PATIENCE_MS },
  );

const send = async (text) => {
  await page.locator("#chat-input").click();
  await page.keyboard.type(text);
  await page.locator("#chat-input").getByText(text).waitFor();
  await page.keyboard.press("Enter");
};

const lastResponse = () => page.locator(".chat-assistant").last();
const stopButton = () => page.locator('button:has(svg path[d^="M2.25 12c0-5.385"])');

await step("sign-up", async () => {
  await page.goto(`${server}/auth`);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByPlaceholder("Enter Your Full Name").fill("Ada");
  await page.getByPlaceholder("Enter Your Email").fill(EMAIL);
  await page.getByPlaceholder("Enter Your Password").fill(PASSWORD);
  await page.screenshot({ path: path.join(screenshots, "00-form.png") });
  await page.getByRole("button", { name: "Create Account" }).click();
  await page.locator("#chat-input").waitFor();
  await page.getByText("mock-chat").first().waitFor();
});

await step("image", async () => {
  await page.locator("#integration-menu-button").click();
  await page.getByText("Image", { exact: true }).click();
  // Closes the menu.
  await page.mouse.click(640, 650);
  await send("a red fox");
  await lastResponse().getByText(TEXT).waitFor();
  await waitForImages(1);
});

await step("reload", async () => {
  await page.waitForURL(/\/c\//);
  await page.reload();
  await lastResponse().getByText(TEXT).waitFor();
  await waitForImages(1);
  await page.waitForFunction(() => document.title.includes("a red fox"));
});

await step("edit", async () => {
  await page.locator(".user-message").last().hover();
  await page.locator("button.edit-user-message-button").last().click();
  await page.locator('textarea[id^="message-edit-"]').fill("a red fox in the snow");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("a red fox in the snow").first().waitFor();
  await lastResponse().getByText(TEXT).waitFor();
});

await browser.close();
