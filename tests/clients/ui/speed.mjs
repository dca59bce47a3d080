// Size of the first page, time until it can be used, a long gallery, and pages that do nothing while nothing happens.
import assert from "node:assert/strict";
import { openPage, PATIENCE_MS, SERVER, settle, step } from "./browser.mjs";

const MAX_FIRST_PAGE_BYTES = 60 * 1024;
/**
 * Processor time of the page for each frame of a scroll, in milliseconds. A machine that is busy with other programs needs a
 * third of it; work for each image of the list would need far more.
 */
const MAX_FRAME_MS = 60;
const IMAGES = 10_000;
/** How often the first page is opened; the fastest counts. */
const ATTEMPTS = 3;
const PAGES = ["/", "/create", "/gallery", "/profile", "/admin", "/admin/settings", "/admin/bindings", "/admin/people", "/admin/groups", "/admin/jobs", "/admin/audit", "/admin/configuration"];

export async function speed(page) {
  const storageState = await page.context().storageState();

  await step("the first page is small and usable soon", async () => {
    const times = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const fresh = await openPage({ storageState });
      const session = await fresh.context().newCDPSession(fresh);
      await session.send("Network.enable");
      // The person's own chats and images are as long as they are.
      const ownTypes = ["Fetch", "Image", "EventSource"];
      let [bytes, ownBytes] = [0, 0];
      const own = new Set();
      const urls = new Map();
      const files = [];
      session.on("Network.responseReceived", ({ requestId, type, response }) => {
        urls.set(requestId, response.url);
        if (ownTypes.includes(type)) own.add(requestId);
      });
      session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
        if (own.has(requestId)) ownBytes += encodedDataLength;
        else {
          bytes += encodedDataLength;
          files.push(`${encodedDataLength} ${urls.get(requestId)}`);
        }
      });
      await fresh.goto(SERVER);
      await fresh.getByRole("textbox", { name: "Message" }).waitFor();
      times.push(await fresh.evaluate(() => performance.now()));
      await fresh.waitForLoadState("load");
      assert.ok(bytes <= MAX_FIRST_PAGE_BYTES, `the first page has ${bytes} bytes:\n${files.join("\n")}`);
      if (attempt === 0) console.log(`first page: ${bytes} bytes, and ${ownBytes} bytes of chats and images`);
      await fresh.context().close();
    }
    console.log(`first page can be used after ${Math.round(Math.min(...times))} ms`);
  });

  await step("a gallery of 10 000 images scrolls with little work and no shifts", async () => {
    const result = await scrollLongGallery(storageState);
    console.log(`gallery of ${IMAGES} images: ${result.frames} frames, ${result.frameMs.toFixed(1)} ms of processor time each, ${result.tiles} tiles rendered, shift ${result.shift}`);
    assert.ok(result.frameMs <= MAX_FRAME_MS, `a frame takes ${result.frameMs} ms of processor time`);
    assert.ok(result.tiles < 200, `${result.tiles} tiles are rendered at once`);
    assert.equal(result.shift, 0, "the layout shifts");
  });

  await step("no page sends a request while nothing happens", async () => {
    const idle = await openPage({ storageState });
    await idle.clock.install();
    const pending = new Set();
    idle.on("request", (it) => void (it.resourceType() !== "eventsource" && pending.add(it)));
    for (const name of ["requestfinished", "requestfailed"]) idle.on(name, (it) => pending.delete(it));
    for (const path of PAGES) {
      pending.clear();
      await idle.goto(SERVER + path);
      await idle.locator("main:not([aria-busy]) h1").first().waitFor({ state: "attached" });
      await idle.clock.runFor(2_000);
      for (let quiet = 0; quiet < 3; quiet = pending.size === 0 ? quiet + 1 : 0) await settle(idle);
      const sent = [];
      const note = (request) => sent.push(`${path}: ${request.method()} ${request.url()}`);
      idle.on("request", note);
      await idle.clock.runFor(10 * 60 * 1000);
      await settle(idle);
      idle.off("request", note);
      assert.deepEqual(sent, []);
    }
    await idle.context().close();
  });
}

/** Scrolls from the start to the end of a gallery whose images exist only here. */
async function scrollLongGallery(storageState) {
  const page = await openPage({ storageState });
  const image = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkqPlfDwAEOQHzUyxLxQAAAABJRU5ErkJggg==", "base64");
  await page.route("**/thumbnail?*", (route) => route.fulfill({ contentType: "image/png", body: image }));
  await page.route(/\/api\/v1\/gallery\?/, (route) => {
    const url = new URL(route.request().url());
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const count = Math.min(Number(url.searchParams.get("limit")), IMAGES - start);
    const images = Array.from({ length: count }, (_, index) => entry(start + index));
    const next = start + count < IMAGES ? String(start + count) : null;
    return route.fulfill({ json: { images, next } });
  });
  await page.goto(`${SERVER}/gallery`);
  await page.locator(".tile").first().waitFor();
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const before = await processorMs(session);
  const result = await page.evaluate(async ({ last, stalledMs }) => {
    let shift = 0;
    new PerformanceObserver((list) => {
      for (const it of list.getEntries()) if (!it.hadRecentInput) shift += it.value;
    }).observe({ type: "layout-shift" });
    let frames = 0;
    let tiles = 0;
    let movedAt = performance.now();
    // At the end of what is loaded, the next page of the list is awaited.
    while (!document.querySelector(`[data-index="${last}"]`) && performance.now() - movedAt < stalledMs) {
      const before = scrollY;
      scrollBy(0, 600);
      await new Promise(requestAnimationFrame);
      tiles = Math.max(tiles, document.querySelectorAll(".tile").length);
      if (scrollY === before) continue;
      movedAt = performance.now();
      frames += 1;
    }
    return { shift, frames, tiles, height: document.documentElement.scrollHeight };
  }, { last: IMAGES - 1, stalledMs: PATIENCE_MS });
  const frameMs = ((await processorMs(session)) - before) / result.frames;
  const last = await page.locator(`[data-index="${IMAGES - 1}"]`).count();
  assert.equal(last, 1, `the last image is not there: the page is ${result.height} px high`);
  await page.context().close();
  return { ...result, frameMs };
}

/** The processor time that the tasks of the page have used, in milliseconds. */
async function processorMs(session) {
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find((it) => it.name === "TaskDuration").value * 1_000;
}

function entry(index) {
  const sizes = [[512, 512], [768, 512], [512, 768], [1024, 576]];
  const [width, height] = sizes[index % sizes.length];
  return {
    id: `image-${index}`,
    url: `/api/v1/files/image-${index}/content`,
    name: `${index}.png`,
    content_type: "image/png",
    size_bytes: 1000,
    width,
    height,
    created_at: 1_790_000_000 - index,
    starred: index % 50 === 0,
    sha256: null,
    source: "generated",
    prompt: `image ${index}`,
  };
}
