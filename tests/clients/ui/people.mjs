// People, groups, and the own account: keys and sessions.
import assert from "node:assert/strict";
import { lookAt, openPage, request, SERVER, step } from "./browser.mjs";

const BOB = { name: "Bob", email: "bob@example.com", password: "battery staple" };

export async function people(page) {
  await step("a key is shown once, works, and is revoked", async () => {
    await page.goto(`${SERVER}/profile`);
    await page.getByRole("button", { name: "New key" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name").fill("laptop");
    await dialog.getByRole("button", { name: "Create the key" }).click();
    const key = await dialog.locator("code").textContent();
    const list = () => fetch(`${SERVER}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    assert.equal((await list()).status, 200);
    await dialog.getByRole("button", { name: "Done" }).click();
    await page.getByRole("cell", { name: "laptop", exact: true }).waitFor();
    await lookAt(page, "profile");
    await page.getByRole("button", { name: "Revoke laptop" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Revoke", exact: true }).click();
    await page.getByRole("cell", { name: "laptop", exact: true }).waitFor({ state: "detached" });
    assert.equal((await list()).status, 401);
  });

  await step("an administrator creates a person, who signs in and sees no console", async () => {
    await page.goto(`${SERVER}/admin/people`);
    await page.getByRole("button", { name: "New person" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Name").fill(BOB.name);
    await dialog.getByLabel("Email").fill(BOB.email);
    await dialog.getByLabel("First password").fill(BOB.password);
    await dialog.getByRole("button", { name: "Create" }).click();
    await page.getByRole("link", { name: BOB.name, exact: true }).waitFor();
    await lookAt(page, "people");
    const bob = await openPage();
    await signIn(bob);
    assert.equal(await bob.getByRole("link", { name: "Admin" }).count(), 0);
    await bob.goto(`${SERVER}/admin/people`);
    await bob.getByText("Only administrators can open this page.").first().waitFor();
    await bob.goto(`${SERVER}/gallery`);
    await bob.getByText("No images yet").waitFor();
    await lookAt(bob, "gallery-empty");
    await bob.context().close();
  });

  await step("a session is ended elsewhere", async () => {
    const bob = await openPage();
    await signIn(bob);
    await page.getByRole("link", { name: BOB.name, exact: true }).click();
    await page.getByRole("heading", { name: "Sessions" }).waitFor();
    await lookAt(page, "person");
    const sessions = page.getByRole("button", { name: "Sign out", exact: true });
    while ((await sessions.count()) > 0) {
      const before = await sessions.count();
      await sessions.first().click();
      await page.waitForFunction((n) => [...document.querySelectorAll("main button")].filter((it) => it.textContent === "Sign out").length < n, before);
    }
    const status = await bob.evaluate(() => fetch("/api/v1/auths/").then((it) => it.status));
    assert.equal(status, 401);
    await bob.context().close();
  }, { statuses: [401] });

  await step("a group gets a member", async () => {
    await page.goto(`${SERVER}/admin/groups`);
    await page.getByRole("button", { name: "New group" }).click();
    await page.getByRole("dialog").getByLabel("Name").fill("Designers");
    await page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
    await page.getByRole("button", { name: "Edit Designers" }).click();
    await page.getByRole("searchbox", { name: "Add a person" }).fill("Bo");
    await page.getByRole("button", { name: "Add Bob" }).click();
    await page.getByRole("button", { name: "Remove Bob" }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("cell", { name: "1", exact: true }).waitFor();
    await lookAt(page, "groups");
  });

  await step("a group is deleted after a question", async () => {
    await page.getByRole("button", { name: "Edit Designers" }).click();
    await page.getByRole("button", { name: "Delete the group" }).click();
    const question = page.getByRole("dialog", { name: "Delete Designers?" });
    await question.getByRole("button", { name: "Delete the group" }).click();
    await page.getByRole("button", { name: "Edit Designers" }).waitFor({ state: "detached" });
    await page.getByText("No groups").waitFor();
  });

  await step("a person who signs up waits for approval", async () => {
    await request(page, "POST", "/api/v1/settings", { ENABLE_SIGNUP: true });
    const eve = await openPage();
    await eve.goto(SERVER);
    await eve.getByRole("button", { name: "No account yet?" }).click();
    await eve.getByLabel("Name").fill("Eve");
    await eve.getByLabel("Email").fill("eve@example.com");
    await eve.getByLabel("Password").fill("a long password");
    await eve.getByRole("button", { name: "Create an account" }).click();
    await eve.getByText("Your account waits for approval").waitFor();
    await page.goto(`${SERVER}/admin/people`);
    await page.getByRole("button", { name: "Approve" }).click();
    await page.getByText("Eve waits for approval").waitFor({ state: "detached" });
    await eve.getByRole("button", { name: "Check again" }).click();
    await eve.getByRole("navigation", { name: "Main" }).waitFor();
    await eve.context().close();
    await request(page, "POST", "/api/v1/settings", { ENABLE_SIGNUP: null });
  }, { statuses: [401, 403] });
}

async function signIn(page) {
  await page.goto(SERVER);
  await page.getByLabel("Email").fill(BOB.email);
  await page.getByLabel("Password").fill(BOB.password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByRole("navigation", { name: "Main" }).waitFor();
}
