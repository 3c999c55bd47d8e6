"""Structured logs: one line of JSON for each thing that the write side did.

Nothing is written until `configure` is called.  A line says which command, stream, revision and
correlation, how it ended and how long it took; never what a command or an event says.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["active", "bound", "configure", "say", "silence"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_logger: Any = None


def configure(file: TextIO | None = None, *, level: str = "info", logger: Any = None) -> None:
    """Write lines from now on.

    Parameters
    ----------
    file
        Where to; standard error by default.  One line an entry, ASCII: whatever a stream is
        called, it stays text between quotes.
    level
        The least level that is written: ``"debug"``, ``"info"``, ``"warning"``, ``"error"``.
    logger
        A structlog logger of your own to write to instead; its processors decide the form.

    Raises
    ------
    ValueError
        If there is no such level.

    Examples
    --------
    >>> import io
    >>> file = io.StringIO()
    >>> configure(file)
    >>> say("info", "command", stream="order-17")
    >>> '"stream": "order-17"' in file.getvalue()
    True
    >>> silence()
    """
    global _logger
    if level not in _LEVELS:
        raise ValueError(f"there is no level {level!r}; say {', '.join(_LEVELS)}")
    if logger is not None:
        _logger = logger
        return
    import structlog

    _logger = structlog.wrap_logger(
        structlog.PrintLogger(file or sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=True, default=repr),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=True,
    )


def silence() -> None:
    """Write no lines any more."""
    global _logger
    _logger = None


def active() -> bool:
    """Return whether lines are written."""
    return _logger is not None


def say(level: str, event: str, **about: object) -> None:
    """Write a line, if lines are written.

    Parameters
    ----------
    event
        What it is about: ``"command"``, ``"projection"``.
    **about
        Names, numbers and times; nothing from a payload.
    """
    if _logger is not None:
        getattr(_logger, level)(event, **about)


@contextmanager
def bound(**about: object) -> Iterator[None]:
    """Say something in every line within the block, in this thread or task."""
    import structlog

    with structlog.contextvars.bound_contextvars(**about):
        yield
