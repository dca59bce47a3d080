// An engine for an images API that has `POST /v1/images`. Change it to the API that you have.

import { defineEngine, send } from "./pinhole-sdk/index.js";

const DEFAULT_BASE_URL = "https://images.example.com";
const MAX_COUNT = 4;

export const engine = defineEngine({
  describe: () => ({
    name: "my-engine",
    title: "My engine",
    version: "0.1.0",
    abilities: { seed: true, maxCount: MAX_COUNT },
    settings: [
      {
        key: "base-url",
        kind: "url",
        title: "Base URL",
        description: "URL of the API.",
        default: DEFAULT_BASE_URL,
        variables: ["MY_ENGINE_BASE_URL"],
      },
      {
        key: "api-key",
        kind: "secret",
        title: "API key",
        description: "Sent as a bearer token.",
        variables: ["MY_ENGINE_API_KEY"],
      },
    ],
    upstreams: [
      { name: "api", baseUrl: "base-url", credentials: [{ bearer: "api-key" }], requests: ["POST /v1/images"] },
    ],
  }),

  generate(job) {
    // Fields that are undefined are not sent.
    const json = {
      prompt: job.prompt,
      n: job.count,
      seed: job.seed,
      size: job.size && `${job.size.width}x${job.size.height}`,
    };
    const response = send({ method: "POST", upstream: "api", path: "/v1/images", json }).success();
    // The host holds the images. The engine sees the JSON, in which long strings are cut.
    const document = response.document();
    const images = (document.json().data ?? []).map((_, index) => document.image(`/data/${index}/b64_json`));
    return { images };
  },
});
