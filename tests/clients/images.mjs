// The official Node client against a running server: `CLIENT_SERVER`, `CLIENT_KEY`, `CLIENT_UPSTREAM`.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

// The packages lie in a folder of the build.
const packages = path.join(process.env.CLIENT_PACKAGES, "node_modules");
const require = createRequire(packages);
const { OpenAI, toFile } = require("openai");
const { version } = require(path.join(packages, "openai/package.json"));

const { CLIENT_SERVER: server, CLIENT_KEY: apiKey, CLIENT_UPSTREAM: upstream } = process.env;
const decode = (text) => Buffer.from(text, "base64");
const png = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
const image = decode(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC",
);
const mask = decode(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII=",
);
const file = (bytes, name) => toFile(bytes, name, { type: "image/png" });
const client = new OpenAI({ baseURL: `${server}/v1`, apiKey, maxRetries: 0 });

const checks = {
  async generate() {
    const made = await client.images.generate({ prompt: "a fox", model: "sketch", engine: "sketch", size: "64x64", n: 2 });
    assert.equal(made.data.length, 2);
    for (const item of made.data) assert(decode(item.b64_json).subarray(0, 8).equals(png));
    const stored = await client.images.generate({ prompt: "a fox", response_format: "url" });
    const kept = await fetch(stored.data[0].url);
    assert(Buffer.from(await kept.arrayBuffer()).equals(image));
    assert.equal(stored.usage.total_tokens, 7);
  },

  // LangChain's DallEAPIWrapper and LibreChat read a URL that they do not ask for, and open it without the key.
  async links() {
    const made = await client.images.generate({
      prompt: "a fox",
      model: "dall-e-3",
      size: "1024x1024",
      quality: "standard",
      n: 1,
    });
    const { url } = made.data[0];
    assert(url.startsWith(`${server}/api/v1/files/`), url);
    const opened = await fetch(url);
    assert(Buffer.from(await opened.arrayBuffer()).equals(image));
    assert.deepEqual(made.warnings, ["generated at 1x1 instead of 1024x1024"]);
    const forged = await fetch(url.replace("/content/", "/content/9"));
    assert.equal(forged.status, 403);
  },

  async edit() {
    const one = await client.images.edit({
      image: await file(image, "a.png"),
      mask: await file(mask, "m.png"),
      prompt: "bluer",
      quality: "high",
      n: 1,
    });
    assert(decode(one.data[0].b64_json).equals(image));
    assert.equal(one.data[0].revised_prompt, "image mask model prompt quality");
    const both = [await file(image, "a.png"), await file(image, "b.png")];
    const two = await client.images.edit({ image: both, prompt: "one of two" });
    assert.equal(two.data[0].revised_prompt, "image[] image[] model prompt");
  },

  async stream() {
    const drafts = { stream: true, partial_images: 1 };
    const source = await file(image, "a.png");
    for (const [operation, ask] of [
      ["image_generation", () => client.images.generate({ prompt: "a fox", ...drafts })],
      ["image_edit", () => client.images.edit({ image: source, prompt: "x", ...drafts })],
    ]) {
      const types = [];
      let last;
      for await (const event of await ask()) {
        types.push(event.type);
        last = event;
        if (event.type.endsWith(".partial_image")) {
          assert.equal(event.partial_image_index, 0);
          assert.equal(decode(event.b64_json).subarray(0, 6).toString(), "GIF89a");
          await (await fetch(`${upstream}/seen`)).text();
        }
      }
      assert.deepEqual(types, [`${operation}.partial_image`, `${operation}.completed`]);
      assert(decode(last.b64_json).equals(image));
      assert.equal(last.usage.total_tokens, 7);
    }
  },

  async errors() {
    for (const [param, code, ask] of [
      ["size", "invalid", { prompt: "x", size: "1x" }],
      [null, "moderation_blocked", { prompt: "refuse this" }],
      [null, "moderation_blocked", { prompt: "refuse this", stream: true }],
    ]) {
      const refused = (error) => {
        assert(error instanceof OpenAI.BadRequestError, error);
        assert.deepEqual([error.param, error.code], [param, code]);
        return true;
      };
      await assert.rejects(client.images.generate(ask), refused);
    }
    const stranger = client.withOptions({ apiKey: "sk-nobody" });
    await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  },

  // A call makes one order, whatever happens to it, although the client repeats what it may repeat.
  async orders() {
    const patient = client.withOptions({ maxRetries: 2 });
    const prompts = ["500", "502", "504", "524", "close"].map((how) => `fail ${how} node`);
    for (const prompt of prompts) await assert.rejects(patient.images.generate({ prompt }), OpenAI.APIError);
    const counted = await (await fetch(`${upstream}/orders`)).json();
    for (const prompt of prompts) assert.equal(counted[prompt], 1, prompt);
  },

  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids, ["gpt-image-2", "mock-chat"]);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`node openai ${version}: ${name} ok`);
}
