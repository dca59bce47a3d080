"""The current job: progress, waiting, and the operator's log."""

from __future__ import annotations

from typing import Optional

from wit_world.imports import job, log
from wit_world.imports.images import Image

from .error import host_errors

__all__ = ["debug", "error", "info", "random", "remember", "remembered", "report", "sleep", "warn"]

sleep = job.sleep
random = job.random
remembered = job.remembered


def report(
    *,
    fraction: Optional[float] = None,
    queue_position: Optional[int] = None,
    note: Optional[str] = None,
    preview: Optional[Image] = None,
) -> None:
    """Reports progress. Name only what is known."""
    job.report(job.Progress(fraction, queue_position, note), preview)


def remember(text: str) -> None:
    """Stores a text with the job, for the next attempt if the host stops."""
    with host_errors():
        job.remember(text)


def debug(message: str) -> None:
    """For the engine's author."""
    log.write(log.Level.DEBUG, message)


def info(message: str) -> None:
    """For an interested operator."""
    log.write(log.Level.INFO, message)


def warn(message: str) -> None:
    """Unexpected, but the job continues."""
    log.write(log.Level.WARN, message)


def error(message: str) -> None:
    """The job fails because of this."""
    log.write(log.Level.ERROR, message)
