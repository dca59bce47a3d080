"""An engine for an images API that has `POST /v1/images`. Change it to the API that you have."""

import pinhole_sdk
from pinhole_sdk import SECRET, URL, Description, Job, Output, Settings, bearer, setting, upstream

DEFAULT_BASE_URL = "https://images.example.com"
MAX_COUNT = 4


class ExampleApi(pinhole_sdk.Engine):
    def describe(self) -> Description:
        return pinhole_sdk.description(
            "my-engine",
            "My engine",
            "0.1.0",
            abilities=pinhole_sdk.abilities(seed=True, max_count=MAX_COUNT),
            settings=[
                setting(
                    "base-url",
                    URL,
                    "Base URL",
                    "URL of the API.",
                    default=DEFAULT_BASE_URL,
                    variables=["MY_ENGINE_BASE_URL"],
                ),
                setting(
                    "api-key",
                    SECRET,
                    "API key",
                    "Sent as a bearer token.",
                    variables=["MY_ENGINE_API_KEY"],
                ),
            ],
            upstreams=[upstream("api", "base-url", ["POST /v1/images"], credentials=[bearer("api-key")])],
        )

    def generate(self, job: Job, settings: Settings) -> Output:
        body: dict[str, object] = {"prompt": job.prompt, "n": job.count}
        if job.seed is not None:
            body["seed"] = job.seed
        if job.size is not None:
            body["size"] = f"{job.size.width}x{job.size.height}"
        response = pinhole_sdk.send("POST", "api", "/v1/images", json=body).success()
        # The host holds the images. The engine sees the JSON, in which long strings are cut.
        document = response.document()
        count = len(document.json().get("data", []))
        return pinhole_sdk.output([document.image(f"/data/{index}/b64_json") for index in range(count)])


Engine = pinhole_sdk.export(ExampleApi)
