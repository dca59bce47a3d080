// The main tasks with the keyboard only: sign in, chat, create, delete and undo, change a setting.
import assert from "node:assert/strict";
import { openPage, request, SERVER, step } from "./browser.mjs";
import { ADA } from "./welcome.mjs";

/** More Tab keys than a page has places. */
const MAX_TABS = 80;

export async function keyboard(signedIn) {
  const page = await openPage();
  const { keyboard: keys } = page;

  await step("keyboard: sign in", async () => {
    await page.goto(SERVER);
    await page.getByLabel("Email").waitFor();
    await tabTo(page, /^Email/);
    await keys.type(ADA.email);
    await tabTo(page, /^Password/);
    await keys.type(ADA.password);
    await keys.press("Enter");
    await page.getByRole("navigation", { name: "Main" }).waitFor();
  });

  await step("keyboard: a link skips the navigation", async () => {
    await request(page, "POST", "/api/v1/images/generations", { prompt: "a kite over a field", size: "512x512" });
    await page.goto(`${SERVER}/gallery`);
    await page.locator(".tile > a").first().waitFor();
    await tabTo(page, "Skip to content", "Shift+Tab");
    await keys.press("Enter");
    await keys.press("Tab");
    assert.ok(await page.evaluate(() => document.activeElement?.closest("main") !== null), await focused(page));
  });

  await step("keyboard: chat", async () => {
    await page.goto(SERVER);
    await page.getByText("What do you want to see?").waitFor();
    // The field has the focus.
    await page.waitForFunction(() => document.activeElement?.ariaLabel === "Message");
    await keys.type("a harbor at night");
    await keys.press("Enter");
    await page.getByRole("button", { name: /^Open image: / }).waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).waitFor();
    await tabTo(page, /^Open image: /, "Shift+Tab");
    await keys.press("Enter");
    await page.getByRole("dialog", { name: "Image details" }).waitFor();
    await keys.press("Escape");
    await page.waitForFunction(() => document.activeElement?.ariaLabel?.startsWith("Open image: "));
  });

  await step("keyboard: create", async () => {
    await page.goto(`${SERVER}/create`);
    await page.getByRole("button", { name: "Auto", exact: true }).waitFor();
    await tabTo(page, /^Prompt/);
    await keys.press("Control+a");
    await keys.type("a city of paper");
    await tabTo(page, /^1:1/);
    await keys.press("Space");
    await tabTo(page, /^Create/);
    await keys.press("Enter");
    await page.locator(".batch-prompt").filter({ hasText: "a city of paper" }).waitFor();
    await page.locator(".frame-link img").first().waitFor();
    await tabTo(page, /^More$/);
    await keys.press("Enter");
    await page.locator(".menu:popover-open").waitFor();
    await page.waitForFunction(() => document.activeElement?.closest(".menu") !== null);
    await keys.press("Escape");
    assert.equal(await focused(page), "More");
  });

  await step("keyboard: delete in the gallery, and undo", async () => {
    await page.goto(`${SERVER}/gallery`);
    await page.locator(".tile > a").first().waitFor();
    const name = await page.locator(".tile > a").first().getAttribute("aria-label");
    await tabTo(page, name);
    await keys.press("Delete");
    await page.getByText("1 image deleted.").waitFor();
    await tabTo(page, /^Undo$/);
    await keys.press("Enter");
    await page.getByRole("link", { name, exact: true }).first().waitFor();
  });

  await step("keyboard: change a setting", async () => {
    await page.goto(`${SERVER}/admin/settings`);
    const size = page.locator(".setting").filter({ hasText: "Size of generated images" }).locator("input");
    await size.waitFor();
    for (let count = 0; count < MAX_TABS * 2 && !(await size.evaluate((it) => it === document.activeElement)); count += 1) await keys.press("Tab");
    await keys.press("Control+a");
    await keys.type("768x512");
    await tabTo(page, /^Save$/);
    await keys.press("Enter");
    await page.locator(".save-bar").waitFor({ state: "detached" });
    const stored = await request(page, "GET", "/api/v1/settings");
    assert.equal(stored.find((it) => it.name === "IMAGE_SIZE").value, "768x512");
    await request(page, "POST", "/api/v1/settings", { IMAGE_SIZE: null });
  });

  await page.context().close();
  await signedIn.bringToFront();
}

/** Presses Tab until the focus is on what has this name. What has the focus is always visible. */
async function tabTo(page, name, key = "Tab") {
  const isWanted = (text) => (typeof name === "string" ? text === name : name.test(text));
  const passed = [];
  for (let count = 0; count < MAX_TABS; count += 1) {
    const text = await focused(page);
    if (isWanted(text)) return;
    passed.push(text);
    await page.keyboard.press(key);
    assert.ok(await page.evaluate(isFocusVisible), `the focus is not visible after ${passed.join(" → ")}`);
  }
  assert.fail(`${key} does not reach ${name}: ${passed.join(" → ")}`);
}

/** The name of what has the focus, as a reader of the screen says it. */
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const label = element?.labels?.[0]?.textContent;
    return (element?.ariaLabel ?? label ?? element?.textContent ?? "").trim();
  });
}

/** Runs in the browser. */
function isFocusVisible() {
  const element = document.activeElement;
  // The browser draws the focus of the parts of a date.
  if (element === null || element === document.body || element.matches('input[type="date"]')) return true;
  const shown = [element, element.closest(".message-box, .create-box, .search-field, label")].filter(Boolean);
  return shown.some((it) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(it);
    return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
  });
}
