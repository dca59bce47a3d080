"""Errors of a call, and the conversion from errors of host functions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Optional

from componentize_py_types import Err
from wit_world.imports import types, upstream
from wit_world.imports.types import ErrorKind

__all__ = ["EngineError", "ErrorKind", "from_host", "host_errors"]


class EngineError(Exception):
    """Why a call failed. The message is for a person: what failed, on what, and what to do."""

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        code: Optional[str] = None,
        field: Optional[str] = None,
        retry_after_ms: Optional[int] = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.code = code
        self.field = field
        self.retry_after_ms = retry_after_ms

    def into_contract(self) -> Err[types.Error]:
        return Err(types.Error(self.kind, self.message, self.code, self.field, self.retry_after_ms))


def from_host(error: Any) -> EngineError:
    """The error of a host function as the error of a call."""
    if isinstance(error, str):
        return EngineError(ErrorKind.INVALID, error)
    if isinstance(error, upstream.Error_Denied):
        return EngineError(ErrorKind.FORBIDDEN, error.value)
    if isinstance(error, upstream.Error_Connect):
        return EngineError(ErrorKind.UNAVAILABLE, error.value)
    if isinstance(error, upstream.Error_Timeout):
        return EngineError(ErrorKind.TIMEOUT, "the upstream did not respond in time")
    if isinstance(error, upstream.Error_TooLarge):
        return EngineError(ErrorKind.PROTOCOL, "the request or its response exceeds its size limit")
    if isinstance(error, upstream.Error_Cancelled):
        return EngineError(ErrorKind.CANCELLED, "the job was cancelled")
    if isinstance(error, upstream.Error_Status):
        return EngineError(ErrorKind.PROTOCOL, f"the image URL returned status {error.value}")
    return EngineError(ErrorKind.PROTOCOL, error.value)


@contextmanager
def host_errors() -> Iterator[None]:
    """Errors of host functions become an `EngineError`."""
    try:
        yield
    except Err as failure:
        raise from_host(failure.value) from None
