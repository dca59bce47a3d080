import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultUrls, groupRights, mostTelling, parseRight, purposeOf, requestLine } from "./rights.ts";

test("a permission of each kind is parsed", () => {
  assert.deepEqual(parseRight("api POST /v2/edits/"), { kind: "request", upstream: "api", method: "POST", path: "/v2/edits/", purpose: "edit" });
  assert.deepEqual(parseRight("api at base-url"), { kind: "url", upstream: "api", setting: "base-url" });
  assert.deepEqual(parseRight("api at https://api.example.com/v1, by default"), { kind: "default-url", upstream: "api", url: "https://api.example.com/v1" });
  assert.deepEqual(parseRight("api with authorization: Bearer from api-key"), { kind: "credential", upstream: "api", form: "authorization: Bearer", setting: "api-key" });
  assert.deepEqual(parseRight("api with an AWS signature (bedrock) from key-id, secret-key, region"), {
    kind: "credential",
    upstream: "api",
    form: "an AWS signature (bedrock)",
    setting: "key-id, secret-key, region",
  });
  assert.deepEqual(parseRight("api also at *.example.com"), { kind: "host", upstream: "api", host: "*.example.com" });
  assert.deepEqual(parseRight("api images from any public host"), { kind: "images", upstream: "api", host: null });
  assert.deepEqual(parseRight("api images from *.example.com"), { kind: "images", upstream: "api", host: "*.example.com" });
  assert.deepEqual(parseRight("secret api-key from OPENAI_KEY"), { kind: "variable", setting: "api-key", variable: "OPENAI_KEY", isSecret: true });
  assert.deepEqual(parseRight("a form of a later version"), { kind: "unknown", text: "a form of a later version" });
});

test("the purpose of a request is in its method and path", () => {
  const purposes = {
    "POST /images/": "images",
    "POST /v1/images/generations": "generate",
    "POST /sdapi/v1/img2img": "edit",
    "POST /chat/completions": "chat",
    "POST /interrupt": "cancel",
    "POST /upload/image": "upload",
    "GET /models": "models",
    "GET /ws": "live",
    "GET /history": "progress",
    "GET /view": "fetch",
    "GET /": "read",
    "POST /telemetry": "send",
    "PUT /telemetry": "change",
    "DELETE /anything": "delete",
  };
  for (const [request, purpose] of Object.entries(purposes)) {
    const [method = "", path = ""] = request.split(" ");
    assert.equal(purposeOf(method, path), purpose, request);
  }
});

test("permissions are grouped by upstream, and variables by setting", () => {
  const { upstreams, settings } = groupRights([
    { right: "api POST /images/", state: "new" },
    { right: "azure POST /images/", state: "granted" },
    { right: "api GET /models", state: "granted" },
    { right: "secret api-key from A", state: "granted" },
    { right: "secret api-key from B", state: "new" },
  ]);
  assert.deepEqual(upstreams.map((it) => [it.upstream, it.rights.length]), [["api", 2], ["azure", 1]]);
  assert.deepEqual(settings.map((it) => [it.setting, it.variables.length]), [["api-key", 2]]);
});

test("what says most comes first, and each request once", () => {
  const rights = ["setting size from SIZE", "api GET /models", "azure POST /v2/edits", "api POST /v2/edits"];
  const texts = mostTelling(rights.map((right) => ({ right, state: "new" }))).map((it) => it.right);
  assert.deepEqual(texts, ["azure POST /v2/edits", "api GET /models", "setting size from SIZE"]);
});

test("a request is shown with its host", () => {
  assert.equal(requestLine("POST", "/v2/edits", "https://api.example.com/"), "POST api.example.com/v2/edits");
  assert.equal(requestLine("POST", "/v2/edits", undefined), "POST /v2/edits");
  assert.deepEqual(defaultUrls([{ right: "api at https://a.example, by default", state: "new" }]), { api: "https://a.example" });
});
