"""The official Python client's chats against a running server: `CLIENT_SERVER`, `CLIENT_KEY`."""

import os
import re
import urllib.request

import openai

SERVER, KEY = os.environ["CLIENT_SERVER"], os.environ["CLIENT_KEY"]
WORDS = "Here is your fox."
PICTURE = re.compile(r"^!\[generated-image\.png\]\((http://[^)]+/image\.png)\)\n\n")

client = openai.OpenAI(base_url=f"{SERVER}/v1", api_key=KEY, max_retries=0)
turn = {"model": "mock-chat", "messages": [{"role": "user", "content": "a fox"}]}
drawn = {**turn, "extra_body": {"features": {"image_generation": True}, "image_generation": {"n": 1}}}


def check_picture(text):
    """The picture in front of the words is there."""
    found = PICTURE.match(text)
    assert found and text[found.end():] == WORDS, text
    # As a browser opens it: without the key.
    assert urllib.request.urlopen(found[1]).read().startswith(b"\x89PNG\r\n\x1a\n")


def whole():
    answer = client.chat.completions.create(**turn)
    assert answer.choices[0].message.content == WORDS
    assert answer.usage.total_tokens == 7
    check_picture(client.chat.completions.create(**drawn).choices[0].message.content)


def stream():
    def text(request):
        chunks = client.chat.completions.create(**request, stream=True)
        choices = [choice for chunk in chunks for choice in chunk.choices]
        assert choices[-1].finish_reason == "stop"
        return "".join(choice.delta.content or "" for choice in choices)

    assert text(turn) == WORDS
    check_picture(text(drawn))


def models():
    assert client.models.retrieve("mock-chat").id == "mock-chat"
    assert "mock-chat" in [model.id for model in client.models.list()]


def errors():
    for kind, code, ask in [
        (openai.NotFoundError, "model_not_found", lambda: client.chat.completions.create(**{**turn, "model": "no/such"})),
        (openai.NotFoundError, "model_not_found", lambda: client.models.retrieve("no/such")),
        (openai.BadRequestError, None, lambda: client.chat.completions.create(**turn, extra_body={"image_generation": 5})),
        (openai.AuthenticationError, None, lambda: client.with_options(api_key="sk-no").chat.completions.create(**turn)),
    ]:
        try:
            ask()
        except kind as error:
            assert error.code == code, error
        else:
            raise AssertionError(f"no {kind}")


for check in [whole, stream, models, errors]:
    check()
    print(f"python openai {openai.__version__}: chat {check.__name__} ok", flush=True)
