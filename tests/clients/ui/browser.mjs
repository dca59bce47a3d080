// A browser in which any fault of a page fails the test: an error in the console, a report of the policy, an exception, a
// request to another origin, a response that nobody expected.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const { CLIENT_PACKAGES: packages, CLIENT_SERVER: server, CLIENT_SCREENSHOTS: screenshots } = process.env;
const require = createRequire(path.join(packages, "node_modules"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const SERVER = server;
/** How long a step waits for one state of the page. A machine that builds something else is slow. */
export const PATIENCE_MS = Number(process.env.CLIENT_PATIENCE_MS ?? 120_000);
/** Quality of screenshots, from 1 to 100. */
const JPEG_QUALITY = 82;

/** The sizes and schemes in which each page is looked at. */
export const LOOKS = [
  { name: "light", viewport: { width: 1440, height: 900 }, colorScheme: "light" },
  { name: "dark", viewport: { width: 1440, height: 900 }, colorScheme: "dark" },
  { name: "tablet", viewport: { width: 768, height: 1024 }, colorScheme: "light" },
  { name: "phone-light", viewport: { width: 390, height: 844 }, colorScheme: "light", hasTouch: true },
  { name: "phone-dark", viewport: { width: 390, height: 844 }, colorScheme: "dark", hasTouch: true },
  { name: "small-phone", viewport: { width: 320, height: 640 }, colorScheme: "light", hasTouch: true },
];
/** The looks whose screenshots are published. */
const PUBLISHED = ["light", "dark", "phone-light", "phone-dark"];

mkdirSync(screenshots, { recursive: true });

export const browser = await chromium.launch({
  executablePath: process.env.CLIENT_BROWSER ?? "/usr/bin/chromium",
  args: ["--no-sandbox"],
});

const faults = [];
/** Statuses that the running step expects, such as 401. */
let expectedStatuses = [];

/** Opens a page in a new context, that is, without a session. */
export async function openPage(options = {}) {
  const context = await browser.newContext({ locale: "en-US", ...LOOKS[0], ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  watch(page);
  return page;
}

function watch(page) {
  page.on("pageerror", (error) => faults.push(`exception: ${error.stack ?? error.message}`));
  page.on("console", (message) => {
    const text = message.text();
    const isExpected = expectedStatuses.some((status) => text.includes(`status of ${status}`));
    if (message.type() === "error" && !isExpected) faults.push(`console: ${text}`);
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (!["data:", "blob:"].includes(protocol) && origin !== server) faults.push(`request to another origin: ${request.url()}`);
  });
  page.on("response", (response) => {
    const status = response.status();
    if (status >= 400 && !expectedStatuses.includes(status)) faults.push(`${status} ${response.request().method()} ${response.url()}`);
  });
}

let page;

/** The page that the steps use. A step that fails leaves a screenshot of it. */
export function usePage(next) {
  page = next;
}

/** A named step. `statuses` are the failures of requests that it provokes. */
export async function step(name, run, { statuses = [] } = {}) {
  expectedStatuses = statuses;
  const start = performance.now();
  try {
    await run();
    assert.deepEqual(faults, [], `faults of the page: ${faults.join("\n")}`);
  } catch (error) {
    const file = path.join(screenshots, `failed-${name.replaceAll(/\W+/g, "-")}.png`);
    await page?.screenshot({ path: file }).catch(() => undefined);
    console.error(`step "${name}" failed; its screenshot is ${file}`);
    console.error(faults.join("\n"));
    throw error;
  } finally {
    expectedStatuses = [];
  }
  console.log(`ok: ${name} (${((performance.now() - start) / 1_000).toFixed(1)} s)`);
}

/** Looks at the page in all sizes and both schemes: no scroll bar at the bottom, no violation of axe. */
export async function lookAt(target, name) {
  const before = target.viewportSize();
  await target.locator("main:not([aria-busy]) h1").first().waitFor({ state: "attached" });
  for (const look of LOOKS) {
    await target.setViewportSize(look.viewport);
    await target.emulateMedia({ colorScheme: look.colorScheme, reducedMotion: "reduce" });
    await settle(target);
    const width = await target.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(width <= 0, `${name}, ${look.name}: the page is ${width} px wider than the window: ${await widestElements(target)}`);
    await checkAccessibility(target, `${name}, ${look.name}`);
    if (!PUBLISHED.includes(look.name)) continue;
    const file = path.join(screenshots, `${name}-${look.name}.jpg`);
    await target.screenshot({ path: file, type: "jpeg", quality: JPEG_QUALITY });
  }
  await target.setViewportSize(before);
  await target.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
}

/** The elements that reach beyond the window. */
function widestElements(target) {
  return target.evaluate(() => {
    const wide = [...document.querySelectorAll("body *")].filter((it) => it.getBoundingClientRect().right > innerWidth + 1);
    return wide.slice(0, 5).map((it) => `${it.localName}.${it.className}`).join(", ");
  });
}

/** Waits until the images in the window are there and the layout rests. */
export async function settle(target) {
  await target.evaluate(async () => {
    const shown = [...document.images].filter((it) => {
      const { bottom, top } = it.getBoundingClientRect();
      return bottom > 0 && top < innerHeight;
    });
    const images = Promise.all(shown.map((it) => it.decode().catch(() => undefined)));
    // An image that the layout hides again is never loaded.
    await Promise.race([images, new Promise((done) => setTimeout(done, 5_000))]);
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  });
}

export async function checkAccessibility(target, name) {
  // The policy of the page allows no script of a string, but DevTools may evaluate one.
  await target.evaluate(axe);
  const violations = await target.evaluate(async () => {
    const { violations: found } = await window.axe.run(document, { resultTypes: ["violations"] });
    return found.map((it) => `${it.id}: ${it.nodes.map((node) => `${node.target.join(" ")} (${node.any[0]?.message ?? node.all[0]?.message ?? ""})`).join("; ")}`);
  });
  assert.deepEqual(violations, [], `${name}: violations of accessibility`);
}

/** Requests JSON with the session of the page. */
export async function request(target, method, url, data) {
  const response = await target.context().request.fetch(SERVER + url, {
    method,
    ...(data === undefined ? {} : { data }),
    headers: { origin: SERVER, "sec-fetch-site": "same-origin" },
    timeout: PATIENCE_MS,
  });
  assert.ok(response.ok(), `${method} ${url}: ${response.status()} ${await response.text()}`);
  return response.json();
}
