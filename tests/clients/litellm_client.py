"""LiteLLM against a running server: `CLIENT_SERVER`, `CLIENT_KEY`. Gateways use it to reach one."""

import base64
import io
import os
from importlib.metadata import version

# It would load the prices of all models from a repository.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

SERVER, KEY = os.environ["CLIENT_SERVER"], os.environ["CLIENT_KEY"]
IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
PLACE = {"api_base": f"{SERVER}/v1", "api_key": KEY, "num_retries": 0}

litellm.telemetry = False


def generation():
    made = litellm.image_generation(model="openai/gpt-image-2", prompt="a fox", quality="high", **PLACE)
    assert base64.b64decode(made.data[0].b64_json) == IMAGE
    assert made.usage.total_tokens == 7, made.usage


def edit():
    image = io.BytesIO(IMAGE)
    image.name = "a.png"
    made = litellm.image_edit(model="openai/gpt-image-2", image=image, prompt="bluer", **PLACE)
    assert base64.b64decode(made.data[0].b64_json) == IMAGE
    assert dict(made.usage.input_tokens_details)["text_tokens"] == 0, made.usage


def chat():
    ask = {"model": "openai/sketch", "messages": [{"role": "user", "content": "a fox"}]}
    made = litellm.completion(**ask, extra_body={"modalities": ["image", "text"]}, **PLACE)
    [image] = made.choices[0].message.images
    assert image["image_url"]["url"].startswith("data:image/png;base64,"), image


def response():
    tool = {"type": "image_generation"}
    made = litellm.responses(model="openai/gpt-image-2", input="a fox", tools=[tool], **PLACE)
    assert base64.b64decode(made.output[0].result) == IMAGE


for check in [generation, edit, chat, response]:
    check()
    print(f"python litellm {version('litellm')}: {check.__name__} ok", flush=True)
