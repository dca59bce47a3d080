// Unit tests of the SDK: `node --test sdk/js/tests/index.test.mjs`.

import assert from "node:assert/strict";
import { register } from "node:module";
import { beforeEach, test } from "node:test";

register("./modules.mjs", import.meta.url);
const sdk = await import("../index.js");
const { Image, host, hostError, response } = await import("./host.mjs");

beforeEach(() => {
  Object.assign(host, { requests: [], logged: [], reports: [], sent: [], frames: [], response: response(200, "{}") });
});

const job = (changes) => ({ prompt: "a fox", count: 1, seed: null, size: null, parameters: "{}", ...changes });

function thrownBy(run) {
  try {
    run();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

test("describe fills in what an engine leaves out", () => {
  const engine = sdk.defineEngine({
    describe: () => ({
      name: "fox",
      title: "Fox",
      version: "1.0.0",
      abilities: { seed: true },
      settings: [{ key: "quality", title: "Quality", kind: { choice: ["low", "high"] }, default: "low" }],
      upstreams: [{ name: "api", baseUrl: "base-url", requests: [], credentials: [{ bearer: "api-key" }] }],
      parameters: [{ name: "guidance", title: "Guidance", kind: { number: { min: 0, max: 20 } }, default: 3.5 }],
    }),
  });
  const { abilities, settings, upstreams, parameters, otherParameters } = engine.describe();
  assert.equal(abilities.seed, true);
  assert.equal(abilities.edit, false);
  assert.equal(abilities.maxCount, 1);
  assert.equal(settings[0].default, '"low"');
  assert.deepEqual(settings[0].kind, { tag: "choice", val: ["low", "high"] });
  assert.deepEqual(settings[0].editVariables, []);
  assert.deepEqual(upstreams[0].credentials, [{ tag: "bearer", val: "api-key" }]);
  assert.deepEqual(upstreams[0].imageHosts, []);
  assert.deepEqual(parameters[0].kind, { tag: "number", val: { min: 0, max: 20 } });
  assert.equal(parameters[0].default, "3.5");
  assert.equal(otherParameters, false);
});

test("generate gets plain values and returns those of the contract", () => {
  let seen;
  const engine = sdk.defineEngine({
    generate: (job, settings) => {
      seen = { job, settings };
      return { images: [new Image(), { image: new Image(), seed: 7, flagged: true }], cost: { amount: 0.04, unit: "USD" } };
    },
  });
  const output = engine.generate(job({ parameters: '{"style": "vivid"}' }), [{ key: "steps", value: "30" }]);
  assert.deepEqual(seen.job.parameters, { style: "vivid" });
  assert.equal("seed" in seen.job, false);
  assert.deepEqual(seen.settings, { steps: 30 });
  assert.deepEqual(
    output.images.map(({ seed, flagged, details }) => ({ seed, flagged, details })),
    [
      { seed: undefined, flagged: false, details: "{}" },
      { seed: 7, flagged: true, details: "{}" },
    ],
  );
  assert.deepEqual(output.warnings, []);
  assert.equal(output.cost.amount, 0.04);
});

test("seeds that a number cannot hold are refused", () => {
  const engine = sdk.defineEngine({ generate: () => ({ images: [] }) });
  const error = thrownBy(() => engine.generate(job({ seed: 2 ** 53 }), []));
  assert.equal(error.kind, "invalid");
  assert.equal(error.field, "seed");
});

test("functions that an engine lacks have a result", () => {
  const engine = sdk.defineEngine({});
  assert.equal(thrownBy(() => engine.edit(job(), [], null, [])).kind, "unsupported");
  assert.deepEqual(engine.models([]), []);
  assert.deepEqual(engine.verify([]), { problems: [] });
});

test("models and their abilities are completed", () => {
  const engine = sdk.defineEngine({ models: () => [{ id: "small", abilities: { sizes: [{ width: 64, height: 64 }] } }] });
  const [model] = engine.models([]);
  assert.equal(model.name, "small");
  assert.equal(model.abilities.edit, false);
  assert.deepEqual(model.abilities.aspectRatios, []);
});

test("explain completes its rows", () => {
  const { explain } = sdk.defineExplain({ explain: (settings) => ({ rows: [{ setting: "workflow", role: settings.role }] }) });
  const explanation = explain([{ key: "role", value: '"prompt"' }]);
  const row = { setting: "workflow", role: "prompt", node: "", title: "", input: "", value: "" };
  assert.deepEqual(explanation, { rows: [row], problems: [] });
});

test("an error of the engine is the contract's error, and another one is logged", () => {
  const fail = (error) => sdk.defineEngine({ generate: () => { throw error; } });
  const expected = new sdk.EngineError("blocked", "refused", { code: "moderation", retryAfterMs: 5 });
  assert.deepEqual(thrownBy(() => fail(expected).generate(job(), [])), {
    kind: "blocked", message: "refused", code: "moderation", field: undefined, retryAfterMs: 5,
  });
  assert.deepEqual(host.logged, []);
  const bug = new TypeError("x is undefined");
  assert.equal(thrownBy(() => fail(bug).generate(job(), [])), bug);
  assert.match(host.logged[0].message, /x is undefined/);
});

test("JSON bodies have images between quotes, and no undefined fields", () => {
  const image = new Image();
  const json = { prompt: 'a "fox"', seed: undefined, images: [image, sdk.dataUrl(image)], n: null };
  sdk.send({ method: "POST", upstream: "api", path: "/x", headers: { prefer: "wait" }, json });
  assert.deepEqual(host.requests, [
    {
      upstream: "api",
      method: "POST",
      path: "/x",
      headers: [{ name: "prefer", value: "wait" }],
      body: {
        tag: "json",
        val: [
          { tag: "text", val: '{"prompt":"a \\"fox\\"","images":["' },
          { tag: "image-base64", val: image },
          { tag: "text", val: '","' },
          { tag: "image-data-url", val: image },
          { tag: "text", val: '"],"n":null}' },
        ],
      },
    },
  ]);
});

test("forms have a field for each entry of a list, and files for images", () => {
  const image = new Image("image/jpeg");
  sdk.send({ upstream: "api", path: "/x", form: { n: 2, image: [image, image], unset: undefined } });
  const { tag, val } = host.requests[0].body;
  assert.equal(tag, "form");
  assert.deepEqual(val.map(({ name, fileName, mediaType }) => [name, fileName, mediaType]), [
    ["n", undefined, undefined],
    ["image", "image.jpg", "image/jpeg"],
    ["image", "image.jpg", "image/jpeg"],
  ]);
});

test("other bodies keep their type", () => {
  sdk.send({ upstream: "api", path: "/x", urlencoded: { prompt: "a fox", n: 2 } });
  sdk.send({ upstream: "api", path: "/x", image: new Image("image/webp") });
  sdk.send({ upstream: "api", path: "/x" });
  const [urlencoded, raw, none] = host.requests.map(({ body }) => body);
  assert.deepEqual(urlencoded, { tag: "urlencoded", val: [["prompt", "a fox"], ["n", "2"]] });
  assert.equal(raw.val[0], "image/webp");
  assert.deepEqual(none, { tag: "none" });
});

test("refusals have the kind of the status and the upstream's message", () => {
  const refusals = [
    [429, '{"error": {"message": "slow down"}}', "rate-limited", "slow down"],
    [422, '{"detail": [{"msg": "too large"}]}', "invalid", "too large"],
    [500, "<html>", "upstream", "the upstream responded with status 500"],
    [401, "wrong key", "unauthorized", "wrong key"],
  ];
  for (const [status, text, kind, message] of refusals) {
    host.response = response(status, text, { "retry-after": "1.5" });
    const error = thrownBy(() => sdk.send({ upstream: "api", path: "/x" }).success());
    assert.deepEqual([error.kind, error.message, error.retryAfterMs], [kind, message, 1500]);
  }
});

test("errors of the host have a kind", () => {
  const payloads = [
    [{ tag: "denied", val: "not granted" }, "forbidden"],
    [{ tag: "connect", val: "refused" }, "unavailable"],
    [{ tag: "timeout" }, "timeout"],
    [{ tag: "too-large" }, "protocol"],
    [{ tag: "cancelled" }, "cancelled"],
    [{ tag: "status", val: 404 }, "protocol"],
    [{ tag: "malformed", val: "not JSON" }, "protocol"],
    ["no image", "invalid"],
  ];
  for (const [payload, kind] of payloads) {
    host.response = { ...response(200, ""), document: () => { throw hostError(payload); } };
    assert.equal(thrownBy(() => sdk.send({ upstream: "api", path: "/x" }).document()).kind, kind);
  }
});

test("start returns a response when it has arrived", () => {
  host.response = null;
  const pending = sdk.start({ upstream: "api", path: "/x" });
  assert.equal(pending.wait(10), undefined);
  host.response = { tag: "ok", val: response(204, "") };
  assert.equal(pending.wait(10).status, 204);
  host.response = { tag: "err", val: { tag: "cancelled" } };
  assert.equal(thrownBy(() => pending.wait(10)).kind, "cancelled");
});

test("a WebSocket sends JSON and receives documents", () => {
  const socket = sdk.connect("api", "/ws");
  socket.send({ prompt: "a fox" });
  socket.send("ping");
  assert.deepEqual(host.sent, ['{"prompt":"a fox"}', "ping"]);
  host.frames = [{ tag: "text", val: { json: () => '{"n": 1}', eventName: () => null } }];
  assert.deepEqual(socket.receive(10).json(), { n: 1 });
  assert.equal(socket.receive(10), undefined);
});

test("random numbers are exact, and reports name what is known", () => {
  assert.equal(sdk.random(), 2 ** 31);
  sdk.report({ fraction: 0.5 });
  assert.deepEqual(host.reports, [{ fraction: 0.5, queuePosition: undefined, note: undefined, preview: undefined }]);
});
