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
// Only the newer release has a name for it.
const stopButton = () => page.locator('button:has(path[d^="M2.25 12c0-5.385 4.365-9.75 9.75-9.75"])').last();

/** Switches the feature Image on. */
const enableImages = async () => {
  await page.locator("#integration-menu-button").click();
  await page.getByText("Image", { exact: true }).waitFor();
  const toggle = page.locator('[role="switch"]:visible');
  if ((await toggle.getAttribute("aria-checked")) !== "true") await page.getByText("Image", { exact: true }).click();
  await page.waitForFunction(() => document.querySelector('[role="switch"][aria-checked="true"]'));
  // Closes the menu.
  await page.mouse.click(640, 650);
};

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
  await enableImages();
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
  await enableImages();
  const before = await page.locator('#messages-container img[src*="/api/v1/files/"]').getAttribute("src");
  await page.locator(".user-message").last().hover();
  await page.locator("button.edit-user-message-button").last().click();
  await page.locator('textarea[id^="message-edit-"]').fill("a red fox in the snow");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("a red fox in the snow").first().waitFor();
  await lastResponse().getByText(TEXT).waitFor();
  await page.waitForFunction((src) => !document.querySelector(`img[src="${src}"]`), before);
  await waitForImages(1);
});

await step("stop", async () => {
  await send("please wait");
  await lastResponse().getByText("Here is").waitFor();
  await stopButton().click();
  await stopButton().waitFor({ state: "detached" });
  await page.reload();
  await page.getByText("please wait").first().waitFor();
  await lastResponse().getByText("Here is").waitFor();
  assert.equal(await stopButton().count(), 0);
});

await step("second-chat", async () => {
  await page.goto(`${server}/`);
  await send("a wren");
  await lastResponse().getByText(TEXT).waitFor();
  await page.getByRole("button", { name: "Open Sidebar" }).first().click();
  for (const title of ["a red fox", "a wren"]) await page.locator("#sidebar").getByText(title, { exact: true }).waitFor();
});

/** Opens the page Images. Returns its list of engines that generate. */
const openImagesPage = async () => {
  await page.goto(`${server}/admin/settings/images`);
  const engines = page.locator("select").filter({ has: page.locator('option[value="automatic1111"]') }).first();
  await engines.locator('option[value="sketch"]').waitFor({ state: "attached" });
  return engines;
};

await step("images-page", async () => {
  const engines = await openImagesPage();
  assert.equal(await engines.inputValue(), "sketch");
  await page.getByRole("button", { name: "Save" }).last().click();
  await page.getByText("Settings saved successfully!").waitFor();
});

await step("images-page-again", async () => {
  const engines = await openImagesPage();
  assert.equal(await engines.inputValue(), "sketch");
});

await step("other-user", async () => {
  const status = await page.evaluate(async (account) => {
    const headers = { authorization: `Bearer ${localStorage.token}`, "content-type": "application/json" };
    return (await fetch("/api/v1/auths/add", { method: "POST", headers, body: JSON.stringify(account) })).status;
  }, { name: "Bob", email: "bob@example.com", password: PASSWORD, role: "user" });
  assert.equal(status, 200);
  await page.evaluate(() => localStorage.clear());
  await context.clearCookies();
  await page.goto(`${server}/auth`);
  await page.getByPlaceholder("Enter Your Email").fill("bob@example.com");
  await page.getByPlaceholder("Enter Your Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).first().click();
  await page.locator("#chat-input").waitFor();
  await enableImages();
  await send("a hen");
  await lastResponse().getByText(TEXT).waitFor();
  await waitForImages(1);
});

await browser.close();
