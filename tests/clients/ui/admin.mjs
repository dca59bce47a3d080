// Administration: engines and their components, permissions, versions and logs; jobs, audit, settings history, configuration.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { lookAt, request, SERVER, settle, step } from "./browser.mjs";
import { releaseDraft, removeUpstream, setUpUpstream } from "./upstream.mjs";

const GUESTS = process.env.CLIENT_GUESTS;
/** An engine that asks for permissions, and that the server does not have yet. */
const GUEST = "replicate";
/** Of equal length, so that the component stays valid. */
const [OLD_PATH, NEW_PATH] = ["/account", "/billing"];

export async function admin(page) {
  await step("the list of engines has their state and figures", async () => {
    await page.goto(`${SERVER}/admin`);
    await engineRow(page, "sketch").getByText("Serving").waitFor();
    await settle(page);
    await lookAt(page, "engines");
  });

  await step("a file that is no component is refused with its reason", async () => {
    await install(page, { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no component") });
    await dialog(page).getByText("This file is not a WebAssembly component.").waitFor();
    const half = component().subarray(0, component().length / 2);
    await choose(page, { name: "broken.wasm", mimeType: "application/wasm", buffer: half });
    await dialog(page).getByRole("button", { name: "Install engine" }).click();
    await dialog(page).getByText("The component was refused").waitFor();
    await dialog(page).getByText("Nothing has changed.").waitFor();
    await lookAt(page, "engine-refused");
    await page.keyboard.press("Escape");
  }, { statuses: [400, 422] });

  await step("a new engine is installed from a file, and says what it may do", async () => {
    await install(page, path.join(GUESTS, `${GUEST}.wasm`));
    await dialog(page).getByRole("button", { name: "Install engine" }).click();
    await dialog(page).getByText(/^replicate \S+ serves$/).waitFor();
    await dialog(page).getByText("What it may do").waitFor();
    await lookAt(page, "engine-installed");
    await dialog(page).getByRole("button", { name: "Done" }).click();
    await engineRow(page, GUEST).getByText("Serving").waitFor();
  });

  await step("an update waits until its new permissions are allowed", async () => {
    await install(page, { name: "replicate-next.wasm", mimeType: "application/wasm", buffer: update() });
    await dialog(page).getByRole("button", { name: "Install engine" }).click();
    await dialog(page).getByText(/ waits for approval$/).waitFor();
    await dialog(page).getByText(NEW_PATH).first().waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("region", { name: "Waits for your decision" }).getByText(`${GUEST} 0.1.0 asks for 1 more permission`).waitFor();
    await lookAt(page, "engines-decision");
    await page.getByRole("button", { name: `Review: ${GUEST}` }).click();
    await dialog(page).getByText("You allow exactly this component").waitFor();
    await lookAt(page, "engine-review");
    await dialog(page).getByRole("button", { name: "Allow and serve" }).click();
    await page.getByRole("region", { name: "Waits for your decision" }).waitFor({ state: "detached" });
    await engineRow(page, GUEST).getByText(/Serving/).waitFor();
  });

  await step("each permission can be denied, in words and with its path", async () => {
    await page.goto(`${SERVER}/admin/engines/${GUEST}?tab=permissions`);
    const deny = page.getByRole("button", { name: /^Deny / }).first();
    await deny.waitFor();
    await lookAt(page, "engine-permissions");
    const name = (await deny.getAttribute("aria-label")).replace(/^Deny /, "");
    await deny.click();
    await page.getByRole("button", { name: `Allow ${name}` }).click();
    await page.getByRole("button", { name: `Deny ${name}` }).waitFor();
  });

  await step("the version before serves again, with a reason in the history", async () => {
    await page.goto(`${SERVER}/admin/engines/${GUEST}?tab=versions`);
    await page.getByRole("heading", { name: "History" }).waitFor();
    const serve = page.getByRole("button", { name: /^Serve this version/ });
    await serve.waitFor();
    await lookAt(page, "engine-versions");
    await serve.click();
    await dialog(page).getByLabel(/^Why/).fill("the new one draws too dark");
    await dialog(page).getByRole("button", { name: "Serve this version" }).click();
    await page.getByText("the new one draws too dark").first().waitFor();
    const { engine } = await request(page, "GET", `/api/v1/engines/${GUEST}`);
    const served = engine.versions.find((it) => it.state === "current");
    assert.equal(served.digest, createHash("sha256").update(component()).digest("hex"));
    await page.getByRole("button", { name: "Pin", exact: true }).click();
    await page.getByRole("button", { name: "Unpin", exact: true }).click();
    await page.getByRole("button", { name: "Pin", exact: true }).waitFor();
  });

  await step("jobs of all users are listed and stopped", async () => {
    await setUpUpstream(page);
    for (const prompt of ["a harbor that waits", "a fox that waits"]) await request(page, "POST", "/api/v1/jobs", { prompt, engine: "openai" });
    await page.goto(`${SERVER}/admin/jobs`);
    await page.getByText("a harbor that waits").waitFor();
    await page.getByRole("button", { name: "Stop the job of openai" }).nth(1).waitFor();
    await lookAt(page, "jobs");
    await page.getByRole("button", { name: "Stop the job of openai" }).first().click();
    await page.getByRole("list", { name: "Ended" }).getByText(/^a (harbor|fox) that waits$/).first().waitFor();
    await page.getByRole("button", { name: "Stop all jobs" }).click();
    await dialog(page).getByRole("button", { name: "Stop", exact: true }).click();
    await page.getByText("1 job stopped.").waitFor();
    await page.getByText("No job runs or waits").waitFor();
    for (let count = 0; count < 2; count += 1) await releaseDraft();
    await removeUpstream(page);
  });

  await step("an engine has figures, charts, traffic, jobs and a log", async () => {
    for (const prompt of ["a mill", "a bridge", "a ferry"]) await request(page, "POST", "/api/v1/jobs", { prompt, engine: "sketch" });
    const { jobs } = await request(page, "GET", "/api/v1/jobs?limit=3");
    for (const { id } of jobs) await request(page, "GET", `/api/v1/jobs/${id}?wait=30`);
    await page.goto(`${SERVER}/admin/engines/sketch`);
    await page.locator(".chart canvas").first().waitFor();
    await settle(page);
    await lookAt(page, "engine");
    await page.goto(`${SERVER}/admin/engines/openai`);
    for (const tab of ["Traffic", "Jobs", "Log"]) {
      await page.getByRole("tab", { name: tab }).click();
      await page.getByRole("tab", { name: tab, selected: true }).waitFor();
      await settle(page);
      await lookAt(page, `engine-${tab.toLowerCase()}`);
    }
  });

  await step("an engine is removed", async () => {
    await page.goto(`${SERVER}/admin/engines/${GUEST}`);
    await page.getByRole("main").getByRole("button", { name: "More", exact: true }).click();
    await page.getByRole("button", { name: "Remove…" }).click();
    await dialog(page).getByRole("button", { name: "Remove", exact: true }).click();
    await dialog(page).waitFor({ state: "detached" });
  });

  await step("the audit log says what was refused and what it means", async () => {
    await page.goto(`${SERVER}/admin/audit`);
    const entries = page.locator(".refusals details");
    await entries.first().waitFor();
    await page.getByLabel("Kind").selectOption("admission");
    await page.waitForURL(/kind=admission/);
    await entries.filter({ hasText: "broken.wasm" }).or(entries).first().locator("summary").click();
    await settle(page);
    await lookAt(page, "audit");
    await page.getByRole("button", { name: "Clear filters" }).click();
    await page.waitForURL((url) => !url.search.includes("kind"));
  });

  await step("the settings history names each change, with no secret", async () => {
    await page.getByRole("tab", { name: "Settings history" }).click();
    await page.getByRole("searchbox", { name: "Find a setting or a person" }).fill("IMAGES_OPENAI");
    await page.getByText("IMAGES_OPENAI_API_KEY").first().waitFor();
    assert.ok(!(await page.content()).includes("sk-test"));
    await lookAt(page, "settings-history");
  });

  await step("the configuration says what is in effect and why", async () => {
    await page.goto(`${SERVER}/admin/configuration`);
    await page.getByRole("heading", { name: "In effect" }).waitFor();
    await page.getByRole("searchbox", { name: "Find a setting" }).waitFor();
    await lookAt(page, "configuration");
    await page.getByRole("searchbox", { name: "Find a setting" }).fill("IMAGE_SIZE");
    await page.waitForURL(/q=IMAGE_SIZE/);
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "Export" }).click();
    const file = await (await download).path();
    await page.locator('input[type="file"]').setInputFiles({ name: "notes.json", mimeType: "application/json", buffer: Buffer.from("not json") });
    await page.getByText("it is not valid JSON").waitFor();
    await page.keyboard.press("Escape");
    await page.locator('input[type="file"]').setInputFiles(file);
    await dialog(page).getByRole("button", { name: "Replace settings" }).click();
    await page.getByText("The settings were replaced.").waitFor();
  });
}

function dialog(page) {
  return page.getByRole("dialog").last();
}

function engineRow(page, name) {
  return page.getByRole("row").filter({ has: page.getByRole("link", { name, exact: true }) });
}

/** Opens the dialog and chooses a file. */
async function install(page, file) {
  await page.getByRole("button", { name: "Install engine" }).first().click();
  await choose(page, file);
}

async function choose(page, file) {
  await dialog(page).locator('input[type="file"]').setInputFiles(file);
}

function component() {
  return readFileSync(path.join(GUESTS, `${GUEST}.wasm`));
}

/** The same component, but it sends one of its requests to another path. */
function update() {
  const bytes = component().toString("latin1");
  assert.ok(bytes.includes(OLD_PATH));
  return Buffer.from(bytes.replaceAll(OLD_PATH, NEW_PATH), "latin1");
}
