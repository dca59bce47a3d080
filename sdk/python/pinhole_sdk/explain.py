"""How an engine explains its settings. For engines with the world `image-engine-with-explain` only::

    from pinhole_sdk.explain import Explanation, export_explain, placement

    class MyEngine(pinhole_sdk.Engine):
        def explain(self, settings):
            return Explanation([placement("workflow", "prompt", node="6", input="text")], [])

    Engine = pinhole_sdk.export(MyEngine)
    Explain = export_explain(MyEngine)
"""

from __future__ import annotations

from typing import Protocol

from wit_world.exports.explain import Explanation, Placement
from wit_world.imports.types import SettingValue

from .engine import Settings, _guard, _read

__all__ = ["Explanation", "Placement", "export_explain", "placement"]


class Explains(Protocol):
    """An engine that explains its settings."""

    def explain(self, settings: Settings) -> Explanation:
        """Where the values of a job go, and what the settings do not do."""


def placement(
    setting: str,
    role: str,
    *,
    node: str = "",
    title: str = "",
    input: str = "",
    value: str = "",
) -> Placement:
    """Where a setting places a value of a job, such as `prompt`."""
    return Placement(setting, role, node, title, input, value)


def export_explain(implementation: type[Explains]) -> type:
    """The class with which the component exports `explain`. Name it `Explain` in the engine's module."""

    class Exported:
        def explain(self, settings: list[SettingValue]) -> Explanation:
            with _guard():
                return implementation().explain(_read(settings))

    return Exported
