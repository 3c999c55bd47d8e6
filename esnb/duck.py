"""Opening DuckDB, the one way all of esnb does it."""

from __future__ import annotations

from typing import Any

import duckdb

__all__ = ["connect"]


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
