// The gallery: filters, selection, keyboard, details, deletion and its undo.
import assert from "node:assert/strict";
import { lookAt, request, SERVER, settle, step } from "./browser.mjs";

const PROMPTS = ["a red fox at dawn", "a lighthouse in a storm", "an old harbor in the fog", "blue mountains", "a city of paper"];
const SIZES = ["512x512", "768x512", "512x768", "1024x576"];
const COUNT = 24;

export async function gallery(page) {
  await step("images of any proportion fill the rows of the gallery", async () => {
    for (let index = 0; index < COUNT; index += 1) {
      const prompt = `${PROMPTS[index % PROMPTS.length]}, number ${index}`;
      await request(page, "POST", "/api/v1/images/generations", { prompt, size: SIZES[index % SIZES.length], seed: index });
    }
    await page.goto(`${SERVER}/gallery`);
    await tiles(page).first().waitFor();
    await settle(page);
    const ends = await page.evaluate(() => {
      const rows = new Map();
      for (const tile of document.querySelectorAll(".tile")) {
        const { top, right } = tile.getBoundingClientRect();
        rows.set(Math.round(top), Math.max(right, rows.get(Math.round(top)) ?? 0));
      }
      const { right } = document.querySelector(".gallery-grid").getBoundingClientRect();
      return [...rows.values()].slice(0, -1).map((it) => Math.abs(it - right));
    });
    assert.ok(ends.length > 0 && ends.every((it) => it < 1.5), `rows that do not end at the grid's end: ${ends}`);
    await lookAt(page, "gallery");
  });

  await step("search and filters are in the address", async () => {
    await page.getByRole("searchbox").fill("lighthouse in");
    await page.waitForURL(/q=lighthouse/);
    await page.waitForFunction(() => [...document.querySelectorAll(".tile a")].every((it) => it.ariaLabel.includes("lighthouse")));
    await page.getByRole("searchbox").fill("lighthouse ");
    await page.waitForURL((url) => url.searchParams.get("q") === "lighthouse");
    assert.equal(await page.getByRole("searchbox").inputValue(), "lighthouse ", "a space that is typed stays");
    await page.getByRole("searchbox").fill("lighthouse in");
    await page.waitForURL(/q=lighthouse\+in/);
    await page.reload();
    await tiles(page).first().waitFor();
    assert.equal(await page.getByRole("searchbox").inputValue(), "lighthouse in");
    await page.getByRole("searchbox").fill("no image has this");
    await page.getByText("No image matches").waitFor();
    await page.getByRole("link", { name: "Clear filters" }).first().click();
    await tiles(page).first().waitFor();
  });

  await step("keyboard moves, opens, stars and deletes; undo brings back", async () => {
    await tiles(page).first().focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("s");
    await page.locator(".tile-star").waitFor();
    const name = await page.evaluate(() => document.activeElement.ariaLabel);
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.getByText("Prompt", { exact: true }).first().waitFor();
    await page.keyboard.press("Escape");
    const total = await countImages(page);
    await tiles(page).nth(1).focus();
    await page.keyboard.press("Delete");
    await page.getByText("1 image deleted.").waitFor();
    assert.equal(await page.getByRole("link", { name, exact: true }).count(), 0);
    assert.equal(await countImages(page), total - 1);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("link", { name, exact: true }).waitFor();
    assert.equal(await countImages(page), total);
  });

  await step("several images are selected, compared, starred and downloaded together", async () => {
    await page.getByRole("button", { name: "Select", exact: true }).click();
    await tiles(page).nth(2).click();
    await tiles(page).nth(3).click();
    await page.getByText("2 selected").waitFor();
    await page.getByRole("button", { name: "Compare" }).click();
    await page.getByRole("slider").press("ArrowRight");
    await page.keyboard.press("Escape");
    const download = page.waitForEvent("download");
    await page.getByRole("toolbar").getByRole("link", { name: "Download" }).click();
    assert.match((await download).suggestedFilename(), /\.zip$/);
    await page.getByRole("button", { name: "Clear", exact: true }).click();
    await page.getByRole("button", { name: "Done" }).click();
  });

  await step("details show what made the image, a command and a link", async () => {
    await tiles(page).nth(4).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("Seed", { exact: true }).waitFor();
    await lookAt(page, "image");
    await dialog.getByRole("button", { name: "Copy as curl" }).click();
    const command = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(command, /^curl '.*\/api\/v1\/images\/generations'/);
    await dialog.getByRole("button", { name: "More", exact: true }).click();
    await page.getByRole("button", { name: "Share link" }).click();
    const share = page.getByRole("dialog", { name: "Share link" });
    await share.getByText(/^The link works until/).waitFor();
    const anonymous = await fetch(await share.getByLabel("Link to the image").inputValue());
    assert.equal(anonymous.status, 200);
    assert.match(anonymous.headers.get("content-type"), /^image\//);
    // Keys belong to the dialog above.
    await share.getByRole("button", { name: "Close" }).press("s");
    await page.keyboard.press("Escape");
    await share.waitFor({ state: "detached" });
    await dialog.getByRole("button", { name: "Star", exact: true }).waitFor();
    await page.keyboard.press("Escape");
  });
}

function tiles(page) {
  return page.locator(".tile > a");
}

async function countImages(page) {
  const { total } = await request(page, "GET", "/api/v1/gallery/facets");
  return total;
}
