"""SDK for authors of Pinhole image engines in Python.

An engine is a class that implements `Engine`. `export` makes the class that componentize-py looks for::

    class MyEngine(pinhole_sdk.Engine):
        def describe(self): ...
        def generate(self, job, settings): ...

    Engine = pinhole_sdk.export(MyEngine)

The types are those that componentize-py generates from `engine.wit` (module `wit_world`). The functions here fill in
their defaults and convert JSON and errors.
"""

from .description import (
    BOOLEAN,
    DOCUMENT,
    INTEGER,
    SECRET,
    TEXT,
    URL,
    Abilities,
    Description,
    abilities,
    basic,
    bearer,
    choice,
    description,
    header,
    parameter,
    query,
    setting,
    upstream,
)
from .engine import (
    Engine,
    Image,
    Job,
    MadeImage,
    Model,
    Output,
    Settings,
    Verification,
    export,
    made_image,
    model,
    output,
    parameters,
)
from .error import EngineError, ErrorKind
from .job import debug, error, info, random, remember, remembered, report, sleep, warn
from .request import (
    DataUrl,
    Document,
    Pending,
    Response,
    Socket,
    connect,
    image_from_bytes,
    send,
    start,
)

__all__ = [
    "BOOLEAN",
    "DOCUMENT",
    "INTEGER",
    "SECRET",
    "TEXT",
    "URL",
    "Abilities",
    "DataUrl",
    "Description",
    "Document",
    "Engine",
    "EngineError",
    "ErrorKind",
    "Image",
    "Job",
    "MadeImage",
    "Model",
    "Output",
    "Pending",
    "Response",
    "Settings",
    "Socket",
    "Verification",
    "abilities",
    "basic",
    "bearer",
    "choice",
    "connect",
    "debug",
    "description",
    "error",
    "export",
    "header",
    "image_from_bytes",
    "info",
    "made_image",
    "model",
    "output",
    "parameter",
    "parameters",
    "query",
    "random",
    "remember",
    "remembered",
    "report",
    "send",
    "setting",
    "sleep",
    "start",
    "upstream",
    "warn",
]
