// The first run, signing in and out, and what protects a session.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { lookAt, openPage, request, SERVER, step } from "./browser.mjs";

export const ADA = { name: "Ada Byron", email: "ada@example.com", password: "correct horse" };
const setup = process.env.CLIENT_SETUP;

export async function welcome(page) {
  await step("sign-in page of a new server says where the set-up link is", async () => {
    await page.goto(SERVER);
    await page.getByText("Open the link that the server printed").waitFor();
    await lookAt(page, "sign-in");
  });

  await step("a wrong code creates no account", async () => {
    const other = await openPage();
    await other.goto(`${SERVER}/setup#wrong`);
    await fillAccount(other);
    await other.getByRole("button", { name: "Create the account" }).click();
    await other.getByRole("alert").waitFor();
    await other.context().close();
  }, { statuses: [403] });

  await step("set-up creates the first administrator, an engine and an image", async () => {
    await page.goto(setup);
    await lookAt(page, "setup");
    await fillAccount(page);
    await page.getByRole("button", { name: "Create the account" }).click();
    await page.getByText("Built-in drawings").waitFor();
    assert.equal(new URL(page.url()).hash, "", "the code stays in the address");
    await lookAt(page, "setup-engine");
    await page.getByLabel("OpenAI, or a server").check();
    await page.getByLabel("URL").fill(`${process.env.CLIENT_UPSTREAM}/images/v1`);
    await page.getByRole("textbox", { name: "API key" }).fill("sk-test");
    await page.getByRole("button", { name: "Test" }).click();
    await page.getByRole("status").waitFor();
    await page.getByLabel("Built-in drawings").check();
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("button", { name: "Make the image" }).click();
    await page.getByRole("img", { name: "A lighthouse" }).waitFor();
    await lookAt(page, "setup-image");
    await page.getByRole("button", { name: "Open Pinhole" }).click();
    await page.getByRole("navigation", { name: "Main" }).waitFor();
  });

  await step("set-up is over after the first administrator", async () => {
    const response = await page.context().request.post(`${SERVER}/api/v1/setup`, { data: { code: "x", ...ADA } });
    assert.ok([403, 409, 410].includes(response.status()), String(response.status()));
  });

  await step("a page of another port cannot use the session", async () => {
    const before = await request(page, "GET", "/api/v1/settings");
    const attack = `<form method="post" enctype="text/plain" action="${SERVER}/api/v1/settings"><input name='{"IMAGE_STEPS":7,"x":"' value='"}'></form><script>document.forms[0].submit()</script>`;
    const site = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end(attack));
    await new Promise((done) => site.listen(0, "127.0.0.1", done));
    const other = await page.context().newPage();
    const refused = other.waitForResponse((it) => it.url().includes("/api/v1/settings"));
    await other.goto(`http://127.0.0.1:${site.address().port}/`).catch(() => undefined);
    assert.equal((await refused).status(), 403);
    await other.close();
    site.close();
    const after = await request(page, "GET", "/api/v1/settings");
    const steps = (list) => list.find((it) => it.name === "IMAGE_STEPS").value;
    assert.equal(steps(after), steps(before));
  });

  await step("signing out and in again", async () => {
    await page.getByRole("button", { name: ADA.name }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Email").fill(ADA.email);
    await page.getByLabel("Password").fill("wrong horse");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("Password").fill(ADA.password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("navigation", { name: "Main" }).waitFor();
  }, { statuses: [400, 401] });

  await step("an expired session asks to sign in above the page, and nothing typed is lost", async () => {
    await page.goto(`${SERVER}/create`);
    await page.getByLabel("Prompt", { exact: true }).fill("a prompt that stays");
    await page.context().clearCookies();
    // A request of the page itself may find it out first.
    await page.keyboard.press("Control+Enter");
    const dialog = page.getByRole("dialog", { name: "Your session has expired" });
    await dialog.waitFor();
    await dialog.getByLabel("Email").fill(ADA.email);
    await dialog.getByLabel("Password").fill(ADA.password);
    await dialog.getByRole("button", { name: "Sign in", exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    assert.equal(await page.getByLabel("Prompt", { exact: true }).inputValue(), "a prompt that stays");
    await page.getByLabel("Prompt", { exact: true }).fill("");
  }, { statuses: [401] });

  await step("the pages speak German", async () => {
    const german = await openPage({ locale: "de-DE", storageState: await page.context().storageState() });
    await german.goto(`${SERVER}/gallery`);
    await german.getByRole("heading", { name: "Galerie" }).waitFor();
    assert.equal(await german.evaluate(() => document.documentElement.lang), "de");
    await german.context().close();
  });
}

async function fillAccount(page) {
  await page.getByLabel("Name").fill(ADA.name);
  await page.getByLabel("Email").fill(ADA.email);
  await page.getByLabel("Password").fill(ADA.password);
}
