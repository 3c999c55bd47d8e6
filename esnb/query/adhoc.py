"""Running the text of an analyst, with a time limit, and telling what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from esnb.duck import interruptible
from esnb.errors import QueryError
from esnb.query.redact import redact

__all__ = ["run"]


def run(
    cursor: duckdb.DuckDBPyConnection,
    text: str,
    params: Sequence[Any] | Mapping[str, Any] | None,
    *,
    timeout: float | None,
    log_path: Path,
) -> duckdb.DuckDBPyRelation:
    """Run SQL that has passed the gate (or that the user takes the blame for).

    Raises
    ------
    QueryError
        With DuckDB's message, or when it took longer than `timeout` seconds.
    """
    # DuckDB takes an empty list for parameters that it then does not find.
    values = params if params is not None and len(params) else None
    try:
        with interruptible():
            if timeout is None:
                found = cursor.sql(text, params=values)
            else:
                found = _within(timeout, cursor, text, values)
        # A statement without rows (unsafe only) gives no relation.
        return cursor.sql("select true as done") if found is None else found
    except (duckdb.Error, RuntimeError) as error:  # RuntimeError: a value that is no SQL value
        told = redact(str(error)).replace(str(log_path), "<log>")
    # Raised here, so that the error DuckDB gave is not shown along with it.
    raise QueryError(f"DuckDB cannot run this: {told}")


def _within(
    timeout: float, cursor: duckdb.DuckDBPyConnection, text: str, values: Any
) -> duckdb.DuckDBPyRelation:
    if not timeout > 0:
        raise QueryError(f"timeout={timeout!r}: give seconds above 0, or None for no limit")
    late = threading.Event()

    def stop() -> None:
        late.set()
        cursor.interrupt()

    timer = threading.Timer(timeout, stop)
    timer.daemon = True
    timer.start()
    try:
        rows = cursor.execute(text, values).to_arrow_table()
    except duckdb.InterruptException:
        if not late.is_set():
            raise
        rows = None
    finally:
        timer.cancel()
        timer.join()
    if rows is None:
        raise QueryError(
            f"the query took longer than {timeout:g} s and was stopped; "
            "ask for less, or raise the timeout"
        )
    return cursor.from_arrow(rows)
