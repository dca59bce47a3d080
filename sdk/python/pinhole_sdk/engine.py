"""The class that an engine implements, and its results."""

from __future__ import annotations

import json
import traceback
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional, Sequence, Union

from wit_world.exports import engine
from wit_world.exports.engine import Cost, MadeImage, Output, Verification
from wit_world.imports import log, types
from wit_world.imports.images import Image
from wit_world.imports.types import Job, Model, ModelAbilities, SettingValue

from .error import EngineError, ErrorKind

__all__ = [
    "Engine",
    "Image",
    "Job",
    "MadeImage",
    "Model",
    "Output",
    "Settings",
    "Verification",
    "export",
    "made_image",
    "model",
    "output",
    "parameters",
]

Settings = Mapping[str, Any]
"""The settings of a call by key. Unset ones are absent; the host never passes secrets."""


class Engine:
    """An image engine. The host runs each call in a new instance, so no state survives a call."""

    def describe(self) -> engine.Description:
        """Describes the engine, with nothing granted. The host calls it once."""
        raise NotImplementedError

    def generate(self, job: Job, settings: Settings) -> Output:
        """Generates images from a prompt."""
        raise NotImplementedError

    def edit(self, job: Job, sources: Sequence[Image], mask: Optional[Image], settings: Settings) -> Output:
        """Edits images. The mask is transparent in the area that may change."""
        raise EngineError(ErrorKind.UNSUPPORTED, "the engine cannot edit images")

    def models(self, settings: Settings) -> Sequence[Model]:
        """Lists the models that the upstream offers; empty if there is no choice."""
        return []

    def verify(self, settings: Settings) -> Verification:
        """Checks the settings, then that the upstream responds and accepts the credentials."""
        return Verification(None, [])


def parameters(job: Job) -> dict[str, Any]:
    """The caller's values of the declared parameters."""
    return json.loads(job.parameters)


def model(id: str, name: Optional[str] = None, abilities: Optional[ModelAbilities] = None) -> Model:
    """A model that a job can name."""
    return Model(id, name or id, abilities)


def made_image(
    image: Image,
    *,
    seed: Optional[int] = None,
    flagged: bool = False,
    details: Optional[Mapping[str, Any]] = None,
) -> MadeImage:
    """One image of a result, with what is stored with it."""
    return MadeImage(image, seed, flagged, json.dumps(details or {}))


def output(
    images: Sequence[Union[Image, MadeImage]],
    *,
    revised_prompt: Optional[str] = None,
    details: Optional[Mapping[str, Any]] = None,
    usage: Optional[Mapping[str, Any]] = None,
    cost: Optional[Cost] = None,
    warnings: Sequence[str] = (),
) -> Output:
    """The result of a job."""
    made = [it if isinstance(it, MadeImage) else made_image(it) for it in images]
    usage_text = None if usage is None else json.dumps(usage)
    return Output(made, revised_prompt, json.dumps(details or {}), usage_text, cost, list(warnings))


def _read(settings: Sequence[SettingValue]) -> Settings:
    return {setting.key: json.loads(setting.value) for setting in settings}


@contextmanager
def _guard() -> Iterator[None]:
    """An `EngineError` becomes the contract's error, another exception a crash with a line in the log."""
    try:
        yield
    except EngineError as error:
        raise error.into_contract() from None
    except Exception:
        log.write(log.Level.ERROR, traceback.format_exc())
        raise


def export(implementation: type[Engine]) -> type:
    """The class with which the component exports an engine. Name it `Engine` in the engine's module."""

    class Exported:
        def describe(self) -> engine.Description:
            with _guard():
                return implementation().describe()

        def generate(self, job: Job, settings: list[SettingValue]) -> Output:
            with _guard():
                return implementation().generate(job, _read(settings))

        def edit(
            self, job: Job, sources: list[Image], mask: Optional[Image], settings: list[SettingValue]
        ) -> Output:
            with _guard():
                return implementation().edit(job, sources, mask, _read(settings))

        def models(self, settings: list[SettingValue]) -> list[types.Model]:
            with _guard():
                return list(implementation().models(_read(settings)))

        def verify(self, settings: list[SettingValue]) -> Verification:
            with _guard():
                return implementation().verify(_read(settings))

    return Exported
