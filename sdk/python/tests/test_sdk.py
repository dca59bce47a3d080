"""Unit tests of the SDK: `python3 -m unittest discover sdk/python/tests`.

They need the modules that `componentize-py bindings` writes for the world `image-engine-with-explain`, and the SDK, in
`PYTHONPATH`. The functions of the host are replaced.
"""

from __future__ import annotations

import json
import unittest
from typing import Any, Optional
from unittest import mock

import pinhole_sdk
from componentize_py_types import Err, Ok
from pinhole_sdk import EngineError, ErrorKind
from pinhole_sdk.explain import Explanation, export_explain, placement
from wit_world.exports import engine
from wit_world.imports import types, upstream
from wit_world.imports.images import Image
from wit_world.imports.types import Job, SettingValue


class FakeImage(Image):
    def __init__(self, media_type: str = "image/png") -> None:
        self._media_type = media_type

    def media_type(self) -> str:
        return self._media_type


class FakeDocument:
    def __init__(self, text: str) -> None:
        self._text = text

    def json(self, max_string: int) -> str:
        return self._text


class FakeResponse:
    def __init__(self, status: int, text: str, headers: Optional[dict[str, str]] = None) -> None:
        self._status, self._text, self._headers = status, text, headers or {}

    def status(self) -> int:
        return self._status

    def headers(self) -> list[upstream.Header]:
        return [upstream.Header(name, value) for name, value in self._headers.items()]

    def text(self, max_bytes: int) -> str:
        return self._text

    def document(self) -> FakeDocument:
        return FakeDocument(self._text)


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "prompt": "a fox",
        "negative_prompt": None,
        "model": None,
        "size": None,
        "count": 1,
        "steps": None,
        "seed": None,
        "strength": None,
        "parameters": "{}",
    }
    return Job(**{**fields, **changes})


class Fox(pinhole_sdk.Engine):
    def describe(self) -> engine.Description:
        return pinhole_sdk.description(
            "fox",
            "Fox",
            "1.0.0",
            abilities=pinhole_sdk.abilities(seed=True),
            settings=[pinhole_sdk.setting("steps", pinhole_sdk.INTEGER, "Steps", default=30)],
            upstreams=[pinhole_sdk.upstream("api", "base-url", ["POST /x"], credentials=[pinhole_sdk.bearer("key")])],
        )

    def generate(self, job: Job, settings: pinhole_sdk.Settings) -> engine.Output:
        style = pinhole_sdk.parameters(job).get("style")
        if style == "refused":
            raise EngineError(ErrorKind.BLOCKED, "refused", code="moderation", retry_after_ms=5)
        if style == "broken":
            raise ValueError("a bug")
        made = pinhole_sdk.made_image(FakeImage(), seed=7, details={"style": style})
        return pinhole_sdk.output([FakeImage(), made], usage={"steps": settings["steps"]})

    def explain(self, settings: pinhole_sdk.Settings) -> Explanation:
        return Explanation([placement("workflow", settings["role"], node="6")], [])


Exported = pinhole_sdk.export(Fox)


class EngineTest(unittest.TestCase):
    def test_describe_fills_in_what_is_left_out(self) -> None:
        description = Exported().describe()
        self.assertEqual(description.abilities.max_count, 1)
        self.assertFalse(description.abilities.edit)
        self.assertEqual(description.settings[0].default, "30")
        self.assertEqual(description.upstreams[0].credentials, [engine.Credential_Bearer("key")])
        self.assertEqual(description.upstreams[0].hosts, [])
        self.assertEqual(description.parameters, [])

    def test_generate_gets_plain_values_and_returns_those_of_the_contract(self) -> None:
        parameters = json.dumps({"style": "vivid"})
        output = Exported().generate(job(parameters=parameters), [SettingValue("steps", "30")])
        self.assertEqual([made.seed for made in output.images], [None, 7])
        self.assertEqual(output.images[0].details, "{}")
        self.assertEqual(json.loads(output.images[1].details), {"style": "vivid"})
        self.assertEqual(json.loads(output.usage or ""), {"steps": 30})
        self.assertEqual(output.warnings, [])

    def test_functions_that_an_engine_lacks_have_a_result(self) -> None:
        self.assertEqual(Exported().models([]), [])
        self.assertEqual(Exported().verify([]).problems, [])
        with self.assertRaises(Err) as raised:
            Exported().edit(job(), [FakeImage()], None, [])
        self.assertEqual(raised.exception.value.kind, ErrorKind.UNSUPPORTED)

    def test_error_of_the_engine_is_the_error_of_the_contract(self) -> None:
        with self.assertRaises(Err) as raised:
            Exported().generate(job(parameters='{"style": "refused"}'), [])
        expected = types.Error(ErrorKind.BLOCKED, "refused", "moderation", None, 5)
        self.assertEqual(raised.exception.value, expected)

    def test_other_exceptions_are_logged(self) -> None:
        with mock.patch("wit_world.imports.log.write") as write, self.assertRaises(ValueError):
            Exported().generate(job(parameters='{"style": "broken"}'), [])
        self.assertIn("a bug", write.call_args.args[1])

    def test_explain_returns_rows(self) -> None:
        explanation = export_explain(Fox)().explain([SettingValue("role", '"prompt"')])
        row = explanation.rows[0]
        self.assertEqual((row.setting, row.role, row.node, row.input), ("workflow", "prompt", "6", ""))

    def test_model_has_its_id_as_name(self) -> None:
        self.assertEqual(pinhole_sdk.model("flux").name, "flux")


class RequestTest(unittest.TestCase):
    def send(self, response: Any = None, **content: Any) -> tuple[pinhole_sdk.Response, upstream.Request]:
        with mock.patch("wit_world.imports.upstream.send") as send:
            send.return_value = response or FakeResponse(200, "{}")
            sent = pinhole_sdk.send("POST", "api", "/x", **content)
            return sent, send.call_args.args[0]

    def test_json_has_images_between_quotes(self) -> None:
        image = FakeImage()
        body = {"prompt": "pinhole-image", "images": [image, pinhole_sdk.DataUrl(image)]}
        _, request = self.send(headers={"prefer": "wait"}, json=body)
        self.assertEqual(request.headers, [upstream.Header("prefer", "wait")])
        texts = [part.value if isinstance(part, upstream.Part_Text) else type(part) for part in request.body.value]
        self.assertEqual(
            texts,
            [
                '{"prompt": "pinhole-image", "images": ["',
                upstream.Part_ImageBase64,
                '", "',
                upstream.Part_ImageDataUrl,
                '"]}',
            ],
        )

    def test_forms_have_a_field_for_each_entry_of_a_list(self) -> None:
        image = FakeImage("image/jpeg")
        _, request = self.send(form={"n": 2, "image": [image, image]})
        fields = [(field.name, field.file_name, field.media_type) for field in request.body.value]
        file = ("image", "image.jpg", "image/jpeg")
        self.assertEqual(fields, [("n", None, None), file, file])

    def test_other_bodies_have_their_type(self) -> None:
        _, request = self.send(urlencoded={"prompt": "a fox", "n": 2})
        self.assertEqual(request.body.value, [("prompt", "a fox"), ("n", "2")])
        _, request = self.send(image=FakeImage("image/webp"))
        self.assertEqual(request.body.value[0], "image/webp")
        _, request = self.send()
        self.assertIsInstance(request.body, upstream.Body_None_)

    def test_refusals_have_the_kind_of_the_status_and_the_message_of_the_upstream(self) -> None:
        for status, text, kind, message in [
            (429, '{"error": {"message": "slow down"}}', ErrorKind.RATE_LIMITED, "slow down"),
            (422, '{"detail": [{"msg": "too large"}]}', ErrorKind.INVALID, "too large"),
            (500, "<html>", ErrorKind.UPSTREAM, "the upstream responded with status 500"),
            (401, "wrong key", ErrorKind.UNAUTHORIZED, "wrong key"),
        ]:
            with self.subTest(status=status):
                response, _ = self.send(FakeResponse(status, text, {"retry-after": "1.5"}))
                with self.assertRaises(EngineError) as raised:
                    response.success()
                error = raised.exception
                self.assertEqual((error.kind, error.message, error.retry_after_ms), (kind, message, 1500))

    def test_errors_of_the_host_have_a_kind(self) -> None:
        for error, kind in [
            (upstream.Error_Denied("not granted"), ErrorKind.FORBIDDEN),
            (upstream.Error_Connect("refused"), ErrorKind.UNAVAILABLE),
            (upstream.Error_Timeout(), ErrorKind.TIMEOUT),
            (upstream.Error_TooLarge(), ErrorKind.PROTOCOL),
            (upstream.Error_Cancelled(), ErrorKind.CANCELLED),
            (upstream.Error_Status(404), ErrorKind.PROTOCOL),
            (upstream.Error_Malformed("not JSON"), ErrorKind.PROTOCOL),
        ]:
            with self.subTest(kind=kind), mock.patch("wit_world.imports.upstream.send", side_effect=Err(error)):
                with self.assertRaises(EngineError) as raised:
                    pinhole_sdk.send("GET", "api", "/x")
                self.assertEqual(raised.exception.kind, kind)

    def test_start_returns_a_response_when_it_has_arrived(self) -> None:
        with mock.patch("wit_world.imports.upstream.start") as start:
            results = iter([None, Ok(FakeResponse(204, "")), Err(upstream.Error_Cancelled())])
            start.return_value.wait = lambda timeout_ms: next(results)
            pending = pinhole_sdk.start("POST", "api", "/x")
            self.assertIsNone(pending.wait(10))
            response = pending.wait(10)
            self.assertEqual(response and response.status, 204)
            with self.assertRaises(EngineError):
                pending.wait(10)

    def test_socket_sends_json_and_receives_documents(self) -> None:
        with mock.patch("wit_world.imports.upstream.connect") as connect:
            raw = connect.return_value
            raw.receive.side_effect = [upstream.Frame_Text(FakeDocument('{"n": 1}')), None]
            socket = pinhole_sdk.connect("api", "/ws")
            socket.send({"prompt": "a fox"})
            raw.send.assert_called_with('{"prompt": "a fox"}')
            message = socket.receive(10)
            self.assertIsInstance(message, pinhole_sdk.Document)
            self.assertEqual(message.json(), {"n": 1})
            self.assertIsNone(socket.receive(10))


if __name__ == "__main__":
    unittest.main()
