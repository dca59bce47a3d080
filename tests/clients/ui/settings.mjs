// Settings, the ComfyUI workflow, bindings and fallbacks.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { lookAt, request, SERVER, step } from "./browser.mjs";

const WORKFLOW = new URL("../../../plugins/comfyui/src/default_workflow.json", import.meta.url);

export async function settings(page) {
  await step("a wrong value is named at its field, and a right one is stored with its author", async () => {
    await page.goto(`${SERVER}/admin/settings`);
    const size = page.getByLabel("Size", { exact: true });
    await size.fill("large");
    await page.locator(".setting .error").waitFor();
    assert.ok(await page.getByRole("button", { name: "Save" }).isDisabled());
    await size.fill("640x640");
    await page.locator(".setting .error").waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Discard" }).click();
    await page.goto(`${SERVER}/admin/settings`);
    await lookAt(page, "settings");
  });

  await step("what was typed stays while other pages are shown", async () => {
    const size = page.getByLabel("Size", { exact: true });
    await size.fill("640x640");
    await page.getByRole("link", { name: "Gallery" }).click();
    await page.getByRole("link", { name: "Admin" }).click();
    await page.getByRole("link", { name: "Settings" }).first().click();
    assert.equal(await size.inputValue(), "640x640");
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator(".save-bar").waitFor({ state: "detached" });
    const stored = await request(page, "GET", "/api/v1/settings");
    assert.equal(stored.find((it) => it.name === "IMAGE_SIZE").value, "640x640");
    await page.getByText(/^Ada Byron, /).first().waitFor();
    await request(page, "POST", "/api/v1/settings", { IMAGE_SIZE: null });
  });

  await step("a secret is never shown, and an engine is tested with values that are not stored", async () => {
    await page.goto(`${SERVER}/admin/settings/openai`);
    await page.locator(".setting").filter({ hasText: "API key" }).locator("input").first().fill("sk-secret");
    await page.locator(".setting").filter({ hasText: "base URL of the images API" }).locator("input").first().fill(`${process.env.CLIENT_UPSTREAM}/images/v1`);
    await page.getByRole("button", { name: "Test", exact: true }).click();
    await page.locator(".card[role=status], .trouble[role=status]").waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator(".save-bar").waitFor({ state: "detached" });
    await page.reload();
    await page.getByRole("button", { name: "Replace API key" }).waitFor();
    assert.ok(!(await page.content()).includes("sk-secret"));
    await lookAt(page, "settings-engine");
  });

  await step("a workflow shows where each value of a job goes", async () => {
    await page.goto(`${SERVER}/admin/settings/comfyui`);
    await page.locator(".drop-zone input").setInputFiles(WORKFLOW.pathname);
    await page.getByRole("cell", { name: "prompt", exact: true }).first().waitFor();
    await lookAt(page, "settings-comfyui");
    const editor = JSON.stringify({ nodes: [], links: [] });
    await page.locator(".drop-zone input").setInputFiles({ name: "editor.json", mimeType: "application/json", buffer: Buffer.from(editor) });
    await page.getByText("has the format of ComfyUI's editor").waitFor();
    await page.getByRole("button", { name: "Discard" }).click();
    assert.ok(readFileSync(WORKFLOW).length > 0);
  });

  await step("fallbacks are ordered with the keyboard, and the tester says who gets what", async () => {
    await page.goto(`${SERVER}/admin/bindings`);
    const add = page.getByLabel("Add a fallback");
    await add.selectOption("sketch");
    await page.getByRole("button", { name: "Move sketch up" }).waitFor();
    await add.selectOption("openai");
    const saved = page.waitForResponse((it) => it.url().endsWith("/fallbacks") && it.request().postDataJSON().fallbacks[0] === "openai");
    await page.getByRole("button", { name: "Move openai up" }).press("Enter");
    await page.getByText("1. openai").waitFor();
    await saved;
    const { fallbacks } = await request(page, "GET", "/api/v1/bindings");
    assert.deepEqual(fallbacks, ["openai", "sketch"]);
    await page.getByRole("button", { name: "Find out" }).click();
    await page.getByRole("region", { name: "Who gets what" }).getByRole("status").waitFor();
    await page.evaluate(() => scrollTo(0, 0));
    await lookAt(page, "bindings");
    await request(page, "PUT", "/api/v1/fallbacks", { fallbacks: [] });
  });

  await step("a configuration is created and removed", async () => {
    await page.getByRole("button", { name: "New configuration" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name").fill("garage");
    await dialog.getByLabel("Engine").selectOption("sketch");
    await dialog.getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "Edit garage" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    const question = page.getByRole("dialog", { name: "Delete the configuration “garage”?" });
    await question.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Edit garage" }).waitFor({ state: "detached" });
  });
}
