"""Opening DuckDB, and stopping it, the one way all of esnb does it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

__all__ = ["connect", "interruptible"]

# DuckDB 1.5 makes columns of times anew with `inplace`, which pandas 3.1 warns of, in the name of
# whoever called `.df()`: nothing that they could mend.
warnings.filterwarnings(
    "ignore", r"The inplace keyword in DataFrame\.drop", category=DeprecationWarning
)


def connect(path: str = ":memory:", **config: Any) -> duckdb.DuckDBPyConnection:
    """Open DuckDB without its progress bar.

    DuckDB draws one on standard output, even where that is a pipe, as soon as a
    statement takes two seconds: it would stand in the middle of JSON that a script reads.
    The setting belongs to one connection and is inherited by its cursors.

    Parameters
    ----------
    path
        File of the database; in memory without one.
    config
        DuckDB's own settings (``threads=2``).
    """
    connection = duckdb.connect(path, config=config)
    connection.execute("set enable_progress_bar = false")
    return connection


@contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt arrive as `KeyboardInterrupt`; also a decorator.

    DuckDB answers Ctrl-C, or the notebook's stop button, with a `RuntimeError` whose cause
    it is: a program that stops on `KeyboardInterrupt` would take it for a fault.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        raise
