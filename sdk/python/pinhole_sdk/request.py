"""Requests to an upstream and their responses."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Union

from componentize_py_types import Err
from wit_world.imports import images, upstream
from wit_world.imports.images import Image
from wit_world.imports.upstream import Body, Field, Header, Part

from .error import EngineError, ErrorKind, from_host, host_errors

__all__ = ["DataUrl", "Document", "Pending", "Response", "Socket", "connect", "image_from_bytes", "send", "start"]

# Strings of a response's JSON that are longer are cut: they are images, and stay on the host.
_MAX_STRING_BYTES = 4096
# How much of an error response is read.
_MAX_ERROR_BYTES = 16384
# The kind of an error by the status of the response; any other status is `UPSTREAM`.
_KINDS = {
    400: ErrorKind.INVALID,
    401: ErrorKind.UNAUTHORIZED,
    402: ErrorKind.QUOTA,
    403: ErrorKind.FORBIDDEN,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    413: ErrorKind.INVALID,
    422: ErrorKind.INVALID,
    429: ErrorKind.RATE_LIMITED,
    502: ErrorKind.UNAVAILABLE,
    503: ErrorKind.UNAVAILABLE,
    504: ErrorKind.UNAVAILABLE,
}


@dataclass
class DataUrl:
    """In the JSON of a request: the image as a data URL. An `Image` alone is its base64."""

    image: Image


class Document:
    """A JSON document on the host."""

    def __init__(self, document: Any) -> None:
        self._document = document

    @property
    def event_name(self) -> Optional[str]:
        """The name of an event, if it has one."""
        return self._document.event_name()

    def json(self) -> Any:
        """The JSON, in which long strings are cut."""
        with host_errors():
            return json.loads(self._document.json(_MAX_STRING_BYTES))

    def text(self, pointer: str, max_bytes: int = _MAX_STRING_BYTES) -> str:
        """The whole string at a JSON pointer. Fails if it is longer."""
        with host_errors():
            return self._document.text_at(pointer, max_bytes)

    def image(self, pointer: str) -> Image:
        """The image in the base64 string or data URL at a JSON pointer."""
        with host_errors():
            return self._document.image_at(pointer)

    def fetch_image(self, pointer: str) -> Image:
        """The image at the URL in the string at a JSON pointer."""
        with host_errors():
            return self._document.fetch_image_at(pointer)

    def follow(
        self,
        pointer: str,
        method: str = "GET",
        *,
        headers: Optional[Mapping[str, str]] = None,
        json: Any = None,
    ) -> Response:
        """Sends a request to the URL in the string at a JSON pointer."""
        with host_errors():
            return Response(self._document.follow(pointer, method, _headers(headers), _body(json=json)))


class Response:
    """An upstream's response, of any status."""

    def __init__(self, response: upstream.Response) -> None:
        self._response = response
        self.status: int = response.status()

    @property
    def headers(self) -> dict[str, str]:
        """By name in lower case."""
        return {header.name: header.value for header in self._response.headers()}

    @property
    def ok(self) -> bool:
        """The status is 2xx."""
        return 200 <= self.status < 300

    def success(self) -> Response:
        """Raises the upstream's refusal unless the status is 2xx."""
        if self.ok:
            return self
        raise self.refusal()

    def refusal(self) -> EngineError:
        """The response as an error, with the upstream's message and the kind of its status."""
        text = self.text()
        try:
            reason = _find_message(json.loads(text))
        except ValueError:
            reason = "" if text.startswith("<") else text[:300]
        return EngineError(
            _KINDS.get(self.status, ErrorKind.UPSTREAM),
            reason or f"the upstream responded with status {self.status}",
            retry_after_ms=_milliseconds(self.headers.get("retry-after", "")),
        )

    def document(self) -> Document:
        """The body as a JSON document, from which images can be read."""
        with host_errors():
            return Document(self._response.document())

    def json(self) -> Any:
        """The body's JSON, in which long strings are cut."""
        return self.document().json()

    def image(self) -> Image:
        """The whole body as an image."""
        with host_errors():
            return self._response.image()

    def text(self, max_bytes: int = _MAX_ERROR_BYTES) -> str:
        """The beginning of the body."""
        with host_errors():
            return self._response.text(max_bytes)

    def events(self) -> Iterator[Document]:
        """The events of a stream."""
        while True:
            with host_errors():
                event = self._response.next_event()
            if event is None:
                return
            yield Document(event)


class Pending:
    """A request in progress."""

    def __init__(self, pending: upstream.Pending) -> None:
        self._pending = pending

    def wait(self, timeout_ms: int) -> Optional[Response]:
        """Waits for the response. `None` if it has not arrived in this time."""
        result = self._pending.wait(timeout_ms)
        if result is None:
            return None
        if isinstance(result, Err):
            raise from_host(result.value)
        return Response(result.value)


class Socket:
    """A WebSocket to an upstream."""

    def __init__(self, socket: upstream.Socket) -> None:
        self._socket = socket

    def send(self, message: Any) -> None:
        """Sends a text, or another value as JSON."""
        text = message if isinstance(message, str) else json.dumps(message)
        with host_errors():
            self._socket.send(text)

    def receive(self, timeout_ms: int) -> Union[Document, upstream.Message, None]:
        """Waits for a message. `None` if none arrives in this time."""
        with host_errors():
            frame = self._socket.receive(timeout_ms)
        if isinstance(frame, upstream.Frame_Text):
            return Document(frame.value)
        return None if frame is None else frame.value


def send(method: str, upstream_name: str, path: str, **content: Any) -> Response:
    """Sends a request and waits for its response, of any status.

    `headers` are additional ones. The body is `json` (which may contain an `Image` or a `DataUrl`), `form` (a multipart
    form; values may be an `Image`), `urlencoded`, or `image`.
    """
    request = _request(method, upstream_name, path, **content)
    with host_errors():
        return Response(upstream.send(request))


def start(method: str, upstream_name: str, path: str, **content: Any) -> Pending:
    """Sends a request without waiting. The arguments are those of `send`."""
    request = _request(method, upstream_name, path, **content)
    with host_errors():
        return Pending(upstream.start(request))


def connect(upstream_name: str, path: str) -> Socket:
    """Opens a WebSocket."""
    with host_errors():
        return Socket(upstream.connect(upstream_name, path))


def image_from_bytes(data: bytes) -> Image:
    """Stores an image that the engine made."""
    with host_errors():
        return images.from_bytes(data)


def _request(
    method: str,
    upstream_name: str,
    path: str,
    *,
    headers: Optional[Mapping[str, str]] = None,
    **body: Any,
) -> upstream.Request:
    return upstream.Request(upstream_name, method, path, _headers(headers), _body(**body))


def _headers(headers: Optional[Mapping[str, str]]) -> list[Header]:
    return [Header(name, value) for name, value in (headers or {}).items()]


def _body(
    *,
    json: Any = None,
    form: Optional[Mapping[str, Any]] = None,
    urlencoded: Optional[Mapping[str, Any]] = None,
    image: Optional[Image] = None,
) -> Body:
    if json is not None:
        return upstream.Body_Json(_json_parts(json))
    if form is not None:
        return upstream.Body_Form([_field(name, one) for name, value in form.items() for one in _each(value)])
    if urlencoded is not None:
        return upstream.Body_Urlencoded([(name, str(value)) for name, value in urlencoded.items()])
    if image is not None:
        return upstream.Body_Raw((image.media_type(), [upstream.Part_Image(image)]))
    return upstream.Body_None_()


def _json_parts(value: Any) -> list[Part]:
    """The parts of a JSON body: text, with the images between quotes."""
    inserted: list[Part] = []
    mark = "pinhole-image"

    def insert(it: Any) -> str:
        if isinstance(it, Image):
            inserted.append(upstream.Part_ImageBase64(it))
        elif isinstance(it, DataUrl):
            inserted.append(upstream.Part_ImageDataUrl(it.image))
        else:
            raise TypeError(f"{type(it).__name__} cannot be in the JSON of a request")
        return mark

    # The mark must not occur in the value itself.
    while mark in json.dumps(value, default=lambda _: ""):
        mark += "-"
    texts = json.dumps(value, default=insert).split(mark)
    parts: list[Part] = [upstream.Part_Text(texts[0])]
    for image, text in zip(inserted, texts[1:]):
        parts += [image, upstream.Part_Text(text)]
    return parts


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _field(name: str, value: Any) -> Field:
    if not isinstance(value, Image):
        return Field(name, None, None, [upstream.Part_Text(str(value))])
    media_type = value.media_type()
    extension = media_type.removeprefix("image/").replace("jpeg", "jpg")
    return Field(name, f"{name}.{extension}", media_type, [upstream.Part_Image(value)])


def _find_message(value: Any, depth: int = 0) -> str:
    """The message in the JSON of an error: `{"error": {"message": …}}`, `{"detail": …}` and the like."""
    if isinstance(value, str):
        return value if depth > 0 else ""
    if depth > 4:
        return ""
    if isinstance(value, list):
        return _find_message(value[0], depth + 1) if value else ""
    if not isinstance(value, dict):
        return ""
    for key in ("error", "message", "detail", "msg", "errors", "title"):
        if message := _find_message(value.get(key), depth + 1):
            return message
    return ""


def _milliseconds(retry_after: str) -> Optional[int]:
    try:
        seconds = float(retry_after)
    except ValueError:
        return None
    return math.ceil(seconds * 1000) if 0 < seconds < math.inf else None
