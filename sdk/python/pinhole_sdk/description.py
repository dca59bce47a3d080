"""What an engine declares: settings, upstreams, abilities and parameters."""

from __future__ import annotations

import json
from typing import Any, Optional, Sequence

from wit_world.exports import engine
from wit_world.exports.engine import Abilities, Description

__all__ = [
    "BOOLEAN",
    "DOCUMENT",
    "INTEGER",
    "SECRET",
    "TEXT",
    "URL",
    "Abilities",
    "Description",
    "abilities",
    "basic",
    "bearer",
    "choice",
    "description",
    "header",
    "parameter",
    "query",
    "setting",
    "upstream",
]

TEXT = engine.SettingKind_Text()
DOCUMENT = engine.SettingKind_Document()
URL = engine.SettingKind_Url()
INTEGER = engine.SettingKind_Integer()
BOOLEAN = engine.SettingKind_Boolean()
SECRET = engine.SettingKind_Secret()


def choice(*texts: str) -> engine.SettingKind:
    """One of these texts."""
    return engine.SettingKind_Choice(list(texts))


def setting(
    key: str,
    kind: engine.SettingKind,
    title: str,
    description: str = "",
    *,
    default: Any = None,
    variables: Sequence[str] = (),
    edit_variables: Sequence[str] = (),
) -> engine.Setting:
    """A setting that an operator can set. `default` is a value of its kind."""
    text = None if default is None else json.dumps(default)
    return engine.Setting(key, title, description, kind, text, list(variables), list(edit_variables))


def bearer(secret: str) -> engine.Credential:
    """`authorization: Bearer SECRET`. `secret` is the key of a secret setting, here and below."""
    return engine.Credential_Bearer(secret)


def basic(secret: str) -> engine.Credential:
    """`authorization: Basic`, with a secret that is `user:password`."""
    return engine.Credential_Basic(secret)


def header(name: str, secret: str, prefix: Optional[str] = None) -> engine.Credential:
    """A header, optionally with a word before the secret."""
    return engine.Credential_Header(engine.SecretHeader(name, prefix, secret))


def query(name: str, secret: str) -> engine.Credential:
    """A query parameter of every request."""
    return engine.Credential_Query(engine.SecretField(name, secret))


def upstream(
    name: str,
    base_url: str,
    requests: Sequence[str],
    *,
    credentials: Sequence[engine.Credential] = (),
    hosts: Sequence[str] = (),
    image_hosts: Sequence[str] = (),
) -> engine.Upstream:
    """A remote API. `base_url` is the key of a setting; `requests` are like `POST /v1/images`."""
    return engine.Upstream(name, base_url, list(credentials), list(requests), list(hosts), list(image_hosts))


def parameter(
    name: str,
    kind: engine.ParameterKind,
    title: str,
    description: str = "",
    *,
    default: Any = None,
    unit: Optional[str] = None,
) -> engine.Parameter:
    """A value that a caller can give with a job."""
    text = None if default is None else json.dumps(default)
    return engine.Parameter(name, title, description, kind, text, unit)


def abilities(
    *,
    edit: bool = False,
    mask: bool = False,
    progress: bool = False,
    cancel: bool = False,
    negative_prompt: bool = False,
    seed: bool = False,
    steps: bool = False,
    strength: bool = False,
    max_count: int = 1,
    max_sources: int = 0,
) -> Abilities:
    """What the engine supports; by default one image from a prompt."""
    return Abilities(
        edit, mask, progress, cancel, negative_prompt, seed, steps, strength, max_count, max_sources
    )


def description(
    name: str,
    title: str,
    version: str,
    *,
    abilities: Abilities,
    settings: Sequence[engine.Setting] = (),
    upstreams: Sequence[engine.Upstream] = (),
    parameters: Sequence[engine.Parameter] = (),
    other_parameters: bool = False,
) -> Description:
    """What the host must know before it runs the engine."""
    return Description(
        name, title, version, abilities, list(settings), list(upstreams), list(parameters), other_parameters
    )
