// The official Node client's chats against a running server: `CLIENT_SERVER`, `CLIENT_KEY`.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

// The packages lie in a folder of the build.
const packages = path.join(process.env.CLIENT_PACKAGES, "node_modules");
const require = createRequire(packages);
const { OpenAI } = require("openai");
const { version } = require(path.join(packages, "openai/package.json"));

const { CLIENT_SERVER: server, CLIENT_KEY: apiKey } = process.env;
const client = new OpenAI({ baseURL: `${server}/v1`, apiKey, maxRetries: 0 });
const words = "Here is your fox.";
const turn = { model: "mock-chat", messages: [{ role: "user", content: "a fox" }] };
const drawn = { ...turn, features: { image_generation: true }, image_generation: { n: 1 } };

async function checkPicture(text) {
  const found = text.match(/^!\[generated-image\.png\]\((http:[^)]+\/image\.png)\)\n\n(.*)$/s);
  assert(found, text);
  assert.equal(found[2], words);
  // As a browser opens it: without the key.
  const kept = await fetch(found[1]);
  const start = Buffer.from(await kept.arrayBuffer()).subarray(0, 8);
  assert.equal(start.toString("latin1"), "\x89PNG\r\n\x1a\n");
}

const checks = {
  async whole() {
    const answer = await client.chat.completions.create(turn);
    assert.equal(answer.choices[0].message.content, words);
    assert.equal(answer.usage.total_tokens, 7);
    await checkPicture((await client.chat.completions.create(drawn)).choices[0].message.content);
  },

  async stream() {
    const text = async (request) => {
      let said = "";
      let last;
      for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
        for (const choice of chunk.choices) {
          said += choice.delta.content ?? "";
          last = choice.finish_reason;
        }
      }
      assert.equal(last, "stop");
      return said;
    };
    assert.equal(await text(turn), words);
    await checkPicture(await text(drawn));
  },

  async models() {
    assert.equal((await client.models.retrieve("mock-chat")).id, "mock-chat");
  },

  async errors() {
    const missing = (error) => {
      assert(error instanceof OpenAI.NotFoundError, error);
      assert.equal(error.code, "model_not_found");
      return true;
    };
    await assert.rejects(client.chat.completions.create({ ...turn, model: "no/such" }), missing);
    await assert.rejects(client.models.retrieve("no/such"), missing);
    const wrong = client.chat.completions.create({ ...turn, image_generation: 5 });
    await assert.rejects(wrong, (error) => error.param === "image_generation" && error.status === 400);
  },
};

for (const [name, check] of Object.entries(checks)) {
  await check();
  console.log(`node openai ${version}: chat ${name} ok`);
}
