// Texts that want to run or to break the layout: prompts, file names, names of people, answers of a language model.
import assert from "node:assert/strict";
import { request, SERVER, settle, step } from "./browser.mjs";

const TEXTS = {
  markup: `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`,
  link: "[click](javascript:window.hacked=1) ![x](https://example.org/x.png)",
  direction: "\u202Egnp.exe \u2066 mixed \u2069 עברית",
  word: "w".repeat(3_000),
};

export async function hostile(page) {
  await step("hostile prompts and names neither run nor break the layout", async () => {
    for (const text of Object.values(TEXTS)) {
      await request(page, "POST", "/api/v1/images/generations", { prompt: text, size: "256x256" });
    }
    for (const path of ["/gallery", "/create"]) {
      await page.goto(SERVER + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await checkLayout(page, path);
    }
    const { images } = await request(page, "GET", "/api/v1/gallery?limit=4");
    for (const { id } of images) {
      await page.goto(`${SERVER}/gallery?image=${id}`);
      await page.getByRole("dialog").waitFor();
      await checkLayout(page, `image ${id}`);
    }
  });

  await step("hostile names of people, groups and keys are text", async () => {
    const name = `${TEXTS.markup.slice(0, 100)} ${"x".repeat(60)}`;
    const person = await request(page, "POST", "/api/v1/auths/add", { name, email: "mallory@example.com", password: "a long password", role: "user" });
    await request(page, "POST", "/api/v1/groups/create", { name, description: TEXTS.word.slice(0, 500) });
    for (const path of ["/admin/people", `/admin/people/${person.id}`, "/admin/groups", "/admin/audit", "/admin/bindings"]) {
      await page.goto(SERVER + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await checkLayout(page, path);
    }
  });

  await step("paths and queries of a link are no markup", async () => {
    const query = encodeURIComponent(TEXTS.markup);
    for (const path of [`/gallery?q=${query}`, `/c/${query}`, `/admin/engines/${query}`, `/${query}`]) {
      await page.goto(SERVER + path);
      await page.getByRole("heading", { level: 1 }).waitFor();
      await checkLayout(page, path);
    }
  }, { statuses: [400, 401, 404] });

  await step("no other page may show these pages in a frame", async () => {
    const response = await fetch(SERVER, { headers: { accept: "text/html" } });
    const policy = response.headers.get("content-security-policy");
    assert.match(policy, /frame-ancestors 'none'/);
    assert.match(policy, /require-trusted-types-for 'script'/);
    assert.doesNotMatch(policy, /unsafe/);
  });
}

async function checkLayout(page, name) {
  for (const viewport of [{ width: 1440, height: 900 }, { width: 320, height: 640 }]) {
    await page.setViewportSize(viewport);
    await settle(page);
    const width = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(width <= 0, `${name}: the page is ${width} px wider than the window`);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  assert.equal(await page.evaluate(() => window.hacked), undefined, `${name}: a text ran`);
}

