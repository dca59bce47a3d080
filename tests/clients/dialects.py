"""The official Python client's other ways to request an image: chat completions as OpenRouter has them, the responses
API, variations. `CLIENT_SERVER`, `CLIENT_KEY`."""

import base64
import os

import openai

SERVER, KEY = os.environ["CLIENT_SERVER"], os.environ["CLIENT_KEY"]
PNG = b"\x89PNG\r\n\x1a\n"
DATA_URL = "data:image/png;base64,"
IMAGE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
MODALITIES = {"modalities": ["image", "text"]}
TOOL = {"type": "image_generation"}

client = openai.OpenAI(base_url=f"{SERVER}/v1", api_key=KEY, max_retries=0)


def image_of(message):
    """The image of a message or a delta."""
    [image] = message.model_extra["images"]
    assert image["type"] == "image_url", image
    url = image["image_url"]["url"]
    assert url.startswith(DATA_URL), url[:40]
    return base64.b64decode(url.removeprefix(DATA_URL))


def size_of(png):
    assert png.startswith(PNG)
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


def chat():
    ask = {"model": "sketch", "messages": [{"role": "user", "content": "a fox"}]}
    config = {"image_config": {"aspect_ratio": "16:9", "image_size": "0.5K"}}
    made = client.chat.completions.create(**ask, n=2, extra_body={**MODALITIES, **config})
    assert [size_of(image_of(choice.message)) for choice in made.choices] == [(640, 360)] * 2
    assert made.usage.total_tokens == 0
    plain = client.chat.completions.create(**ask).choices[0].message
    assert "](http" in plain.content and "images" not in (plain.model_extra or {})


def chat_stream():
    ask = {"model": "sketch", "messages": [{"role": "user", "content": "a fox"}]}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(client.chat.completions.create(**ask, **options, extra_body=MODALITIES))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    [with_image] = [delta for delta in deltas if (delta.model_extra or {}).get("images")]
    assert size_of(image_of(with_image)) == (512, 512)
    assert chunks[-1].usage.total_tokens == 0
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices][-1] == "stop"


def chat_edit():
    url = {"url": DATA_URL + base64.b64encode(IMAGE).decode()}
    parts = [{"type": "text", "text": "bluer"}, {"type": "image_url", "image_url": url}]
    ask = {"model": "gpt-image-2", "messages": [{"role": "user", "content": parts}]}
    first = client.chat.completions.create(**ask, extra_body=MODALITIES)
    assert image_of(first.choices[0].message) == IMAGE
    assert first.usage.prompt_tokens == 3
    history = [*ask["messages"], first.choices[0].message, {"role": "user", "content": "and now red"}]
    second = client.chat.completions.create(model="gpt-image-2", messages=history, extra_body=MODALITIES)
    assert image_of(second.choices[0].message) == IMAGE


def response():
    made = client.responses.create(model="gpt-5", input="a fox", tools=[{**TOOL, "quality": "high"}], metadata={"a": "b"})
    [call] = made.output
    assert (made.status, made.model, made.metadata, made.store) == ("completed", "gpt-5", {"a": "b"}, False)
    assert (call.type, call.status) == ("image_generation_call", "completed")
    assert base64.b64decode(call.result) == IMAGE
    # What the upstream was sent.
    assert call.to_dict()["revised_prompt"] == "model prompt quality"
    assert made.usage.total_tokens == 7 and made.usage.input_tokens_details.cached_tokens == 0
    assert made.usage.output_tokens_details.reasoning_tokens == 0
    assert made.tools[0].quality == "high" and made.output_text == "" and made.error is None

    content = [{"type": "input_text", "text": "bluer"}, {"type": "input_image", "image_url": DATA_URL + call.result}]
    for turn in [[{"role": "user", "content": content}], [call.model_dump(), {"role": "user", "content": "bluer"}]]:
        edited = client.responses.create(model="gpt-5", input=turn, tools=[TOOL])
        assert edited.output[0].to_dict()["revised_prompt"].startswith("image model prompt"), edited
    sketched = client.responses.create(model="sketch", input="a fox")
    assert size_of(base64.b64decode(sketched.output[0].result)) == (512, 512)


def response_stream():
    made = client.responses.create(model="sketch", input="a fox", tools=[{**TOOL, "size": "64x48"}], stream=True)
    events = list(made)
    assert [event.type.removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "image_generation_call.in_progress",
        "image_generation_call.generating", "image_generation_call.completed", "output_item.done", "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(8))
    item = events[6].item
    assert size_of(base64.b64decode(item.result)) == (64, 48)
    assert events[7].response.output == [item]

    with client.responses.stream(model="sketch", input="a fox", tools=[TOOL]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert size_of(base64.b64decode(final.output[0].result)) == (512, 512)


def variation():
    made = client.images.create_variation(image=("a.png", IMAGE, "image/png"), n=1, size="1024x1024")
    assert base64.b64decode(made.data[0].b64_json) == IMAGE
    assert made.usage.input_tokens_details.image_tokens == 0


def refusals():
    user = [{"role": "user", "content": "a fox"}]
    asks = {
        "previous_response_id": lambda: client.responses.create(input="x", tools=[TOOL], previous_response_id="resp_1"),
        "store": lambda: client.responses.create(input="x", tools=[TOOL], store=True),
        "background": lambda: client.responses.create(input="x", tools=[TOOL], background=True),
        "tools[0]": lambda: client.responses.create(input="x", tools=[{"type": "web_search"}]),
        "image_config.strength": lambda: client.chat.completions.create(
            model="sketch", messages=user, extra_body={**MODALITIES, "image_config": {"strength": 1}}
        ),
        "input_images": lambda: client.images.generate(prompt="x", extra_body={"input_images": []}),
        "cfg_scale": lambda: client.images.edit(
            image=("a.png", IMAGE, "image/png"), prompt="x", extra_body={"cfg_scale": 7}
        ),
    }
    for param, ask in asks.items():
        try:
            ask()
        except openai.BadRequestError as error:
            assert error.param == param, error
        else:
            raise AssertionError(f"{param} was not refused")


for check in [chat, chat_stream, chat_edit, response, response_stream, variation, refusals]:
    check()
    print(f"python openai {openai.__version__}: {check.__name__} ok", flush=True)
