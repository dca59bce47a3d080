"""The official Python client against a running server: `CLIENT_SERVER`, `CLIENT_KEY`, `CLIENT_UPSTREAM`."""

import base64
import json
import os
import urllib.error
import urllib.request

import openai

SERVER, KEY = os.environ["CLIENT_SERVER"], os.environ["CLIENT_KEY"]
UPSTREAM = os.environ["CLIENT_UPSTREAM"]
PNG = b"\x89PNG\r\n\x1a\n"
IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
MASK = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII="
)

client = openai.OpenAI(base_url=f"{SERVER}/v1", api_key=KEY, max_retries=0)


def generate():
    made = client.images.generate(prompt="a fox", model="sketch", extra_body={"engine": "sketch"}, size="64x64", n=2)
    assert len(made.data) == 2
    assert all(base64.b64decode(item.b64_json).startswith(PNG) for item in made.data)
    stored = client.images.generate(prompt="a fox", response_format="url")
    assert urllib.request.urlopen(stored.data[0].url).read() == IMAGE
    assert stored.usage.total_tokens == 7


def links():
    """LangChain's DallEAPIWrapper and LibreChat read a URL that they do not ask for, and open it without the key."""
    made = client.images.generate(prompt="a fox", model="dall-e-3", size="1024x1024", quality="standard", n=1)
    url = made.data[0].url
    assert url.startswith(f"{SERVER}/api/v1/files/"), url
    assert urllib.request.urlopen(url).read() == IMAGE
    assert made.model_extra["warnings"] == ["generated at 1x1 instead of 1024x1024"]
    for forged in [url.replace("/content/", "/content/9"), url.replace("/content/", "/thumbnail/")]:
        try:
            urllib.request.urlopen(forged)
        except urllib.error.HTTPError as error:
            assert error.code in (401, 403, 404), error
        else:
            raise AssertionError(f"{forged} was opened")
    assert client.images.generate(prompt="a fox", model="gpt-image-1").data[0].b64_json


def habits():
    made = client.images.generate(
        prompt="a fox", model="sketch", extra_body={"engine": "sketch"}, quality="auto", background="auto",
        moderation="auto", size="auto", output_format="png", response_format="b64_json", user="u",
    )
    assert made.output_format == "png"


def edit():
    one = client.images.edit(
        image=("a.png", IMAGE, "image/png"), mask=("m.png", MASK, "image/png"),
        prompt="bluer", quality="high", n=1,
    )
    assert base64.b64decode(one.data[0].b64_json) == IMAGE
    assert one.data[0].revised_prompt == "image mask model prompt quality"
    two = client.images.edit(image=[("a.png", IMAGE), ("b.png", IMAGE)], prompt="one of two")
    assert two.data[0].revised_prompt == "image[] image[] model prompt"


def stream():
    image = ("a.png", IMAGE, "image/png")
    for operation, events in [
        ("image_generation", client.images.generate(prompt="a fox", stream=True, partial_images=1)),
        ("image_edit", client.images.edit(image=image, prompt="x", stream=True, partial_images=1)),
    ]:
        types = []
        for event in events:
            types.append(event.type)
            if event.type.endswith(".partial_image"):
                assert event.partial_image_index == 0
                assert base64.b64decode(event.b64_json).startswith(b"GIF89a")
                urllib.request.urlopen(UPSTREAM + "/seen").read()
        assert types == [operation + ".partial_image", operation + ".completed"], types
        assert base64.b64decode(event.b64_json) == IMAGE
        assert event.usage.total_tokens == 7 and event.size == "1x1"
    [only] = client.images.generate(prompt="a fox", model="sketch", extra_body={"engine": "sketch"}, stream=True)
    assert only.type == "image_generation.completed"


def errors():
    for kind, param, code, ask in [
        (openai.BadRequestError, "size", "invalid", {"prompt": "x", "size": "1x"}),
        (openai.BadRequestError, None, "moderation_blocked", {"prompt": "refuse this"}),
        (openai.BadRequestError, None, "moderation_blocked", {"prompt": "refuse this", "stream": True}),
        (openai.BadRequestError, "n", "invalid", {"prompt": "x", "n": 99}),
    ]:
        try:
            client.images.generate(**ask)
        except kind as error:
            assert (error.param, error.code) == (param, code), error
        else:
            raise AssertionError(f"{ask} was not refused")
    try:
        client.with_options(api_key="sk-nobody").models.list()
    except openai.AuthenticationError as error:
        assert "the API key is unknown" in error.message
    else:
        raise AssertionError("nobody was let in")


def orders():
    """A call makes one order, whatever happens to it, although the client repeats what it may repeat."""
    patient = openai.OpenAI(base_url=f"{SERVER}/v1", api_key=KEY)
    assert patient.max_retries == 2
    image = ("a.png", IMAGE, "image/png")

    def chat(prompt):
        patient.chat.completions.create(model="mock-chat", messages=[{"role": "user", "content": prompt}])

    asks = {
        "generate": lambda prompt: patient.images.generate(prompt=prompt),
        "stream": lambda prompt: list(patient.images.generate(prompt=prompt, stream=True)),
        "edit": lambda prompt: patient.images.edit(prompt=prompt, image=image),
        "chat": chat,
    }
    sent = {f"fail {how} {name}": ask for how in ["500", "502", "504", "524", "close"] for name, ask in asks.items()}
    for prompt, ask in sent.items():
        try:
            ask(prompt)
        except openai.APIError:
            pass
        else:
            raise AssertionError(f"{prompt} did not fail")
    with urllib.request.urlopen(UPSTREAM + "/orders") as answer:
        counted = json.load(answer)
    assert counted == dict.fromkeys(sent, 1), counted


def models():
    assert [model.id for model in client.models.list()] == ["gpt-image-2", "mock-chat"]


for check in [generate, links, habits, edit, stream, errors, orders, models]:
    check()
    print(f"python openai {openai.__version__}: {check.__name__} ok", flush=True)
