// The official Node client's other ways to request an image, and the client in a browser: `CLIENT_SERVER`, `CLIENT_KEY`.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

// The packages lie in a folder of the build.
const packages = path.join(process.env.CLIENT_PACKAGES, "node_modules");
const require = createRequire(packages);
const { OpenAI, toFile } = require("openai");
const { version } = require(path.join(packages, "openai/package.json"));

const { CLIENT_SERVER: server, CLIENT_KEY: apiKey } = process.env;
const client = new OpenAI({ baseURL: `${server}/v1`, apiKey, maxRetries: 0 });
const decode = (text) => Buffer.from(text, "base64");
const dataUrl = "data:image/png;base64,";
const picture =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
const modalities = ["image", "text"];
const tool = { type: "image_generation" };
// An origin that the server allows.
const origin = "https://app.example";

function imageOf(message) {
  assert.equal(message.images.length, 1);
  const { url } = message.images[0].image_url;
  assert(url.startsWith(dataUrl), url.slice(0, 40));
  return decode(url.slice(dataUrl.length));
}

function sizeOf(png) {
  assert.equal(png.subarray(0, 8).toString("latin1"), "\x89PNG\r\n\x1a\n");
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
}

// Does what a browser does before and after a request of another origin.
async function browserFetch(url, options) {
  const headers = new Headers(options.headers);
  const names = [...headers.keys()].filter((name) => name !== "accept").join(",");
  const preflight = await fetch(url, {
    method: "OPTIONS",
    headers: { origin, "access-control-request-method": options.method, "access-control-request-headers": names },
  });
  const allowed = (name) => preflight.headers.get(`access-control-allow-${name}`);
  assert(preflight.ok && allowed("origin") === origin, `${url} ${preflight.status}`);
  assert.equal(allowed("headers"), names);
  assert.equal(allowed("methods"), options.method);
  headers.set("origin", origin);
  const response = await fetch(url, { ...options, headers });
  assert.equal(response.headers.get("access-control-allow-origin"), origin);
  const exposed = response.headers.get("access-control-expose-headers").split(/, */);
  const visible = [...response.headers].filter(([name]) => name === "content-type" || exposed.includes(name));
  return new Response(response.body, { status: response.status, headers: visible });
}

const checks = {
  async chat() {
    const ask = { model: "sketch", messages: [{ role: "user", content: "a fox" }], modalities };
    const made = await client.chat.completions.create({ ...ask, image_config: { aspect_ratio: "16:9" } });
    assert.deepEqual(sizeOf(imageOf(made.choices[0].message)), [1280, 720]);
    const deltas = [];
    let last;
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
      for (const choice of chunk.choices) {
        if (choice.delta.images) deltas.push(choice.delta);
        last = choice.finish_reason;
      }
    }
    assert.equal(deltas.length, 1);
    assert.deepEqual(sizeOf(imageOf(deltas[0])), [512, 512]);
    assert.equal(last, "stop");
    const content = [
      { type: "text", text: "bluer" },
      { type: "image_url", image_url: { url: dataUrl + picture } },
    ];
    const edited = await client.chat.completions.create({ ...ask, model: "gpt-image-2", messages: [{ role: "user", content }] });
    assert(imageOf(edited.choices[0].message).equals(decode(picture)));
  },

  async response() {
    const made = await client.responses.create({ model: "gpt-5", input: "a fox", tools: [tool] });
    const [call] = made.output;
    assert.deepEqual([made.status, call.type, call.status], ["completed", "image_generation_call", "completed"]);
    assert.equal(call.result, picture);
    assert.equal(made.usage.total_tokens, 7);
    const content = [
      { type: "input_text", text: "bluer" },
      { type: "input_image", image_url: dataUrl + picture, detail: "auto" },
    ];
    const edited = await client.responses.create({ input: [{ role: "user", content }], tools: [tool] });
    assert.equal(edited.output[0].action, "edit");
  },

  async responseStream() {
    const types = [];
    let final;
    const ask = { model: "sketch", input: "a fox", tools: [{ ...tool, partial_images: 1 }], stream: true };
    for await (const event of await client.responses.create(ask)) {
      assert.equal(event.sequence_number, types.length);
      types.push(event.type);
      final = event;
    }
    assert.deepEqual([types[0], types.at(-1)], ["response.created", "response.completed"]);
    assert(types.includes("response.image_generation_call.completed"));
    assert.deepEqual(sizeOf(decode(final.response.output[0].result)), [512, 512]);
  },

  async variation() {
    const image = await toFile(decode(picture), "a.png", { type: "image/png" });
    const made = await client.images.createVariation({ image, n: 1 });
    assert.equal(made.data[0].b64_json, picture);
  },

  async browser() {
    const page = new OpenAI({ baseURL: `${server}/v1`, apiKey, fetch: browserFetch, dangerouslyAllowBrowser: true });
    const made = await page.images.generate({ prompt: "a fox", model: "gpt-image-2" });
    assert.equal(made.data[0].b64_json, picture);
    assert((await page.models.list()).data.length > 0);
    const image = await toFile(decode(picture), "a.png", { type: "image/png" });
    assert((await page.images.edit({ image, prompt: "x" })).data[0].b64_json);
    assert((await page.images.createVariation({ image })).data[0].b64_json);
    await page.responses.create({ model: "gpt-5", input: "a fox", tools: [tool] });
    await page.chat.completions.create({ model: "sketch", messages: [{ role: "user", content: "x" }], modalities });
    // A failure whose header the page must see: the client would order twice.
    const failing = page.images.generate({ prompt: "fail 500 page" });
    await assert.rejects(failing, (error) => error.headers.get("x-should-retry") === "false");
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`node openai ${version}: ${name} ok`);
}
