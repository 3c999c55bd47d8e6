"""Running the text of an analyst, with a time limit, and telling what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from esnb.duck import interruptible, stoppable
from esnb.errors import QueryError
from esnb.query.redact import redact

__all__ = ["rows", "run"]

_BATCH = 10_000


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
                found = stoppable(cursor, lambda: cursor.sql(text, params=values))
            else:
                found = _within(timeout, cursor, text, values)
        # A statement without rows (unsafe only) gives no relation.
        return cursor.sql("select true as done") if found is None else found
    except (duckdb.Error, RuntimeError) as error:  # RuntimeError: a value that is no SQL value
        told = redact(str(error)).replace(str(log_path), "<log>")
    # Raised here, so that the error DuckDB gave is not shown along with it.
    raise QueryError(f"DuckDB cannot run this: {told}")


def rows(
    cursor: duckdb.DuckDBPyConnection,
    text: str,
    params: Sequence[Any] | Mapping[str, Any] | None,
    *,
    limit: int | None,
    timeout: float | None,
    log_path: Path,
) -> tuple[pa.Table, bool]:
    """Run SQL that has passed the gate, and return its first rows and whether there are more.

    Raises
    ------
    QueryError
        As `run` does; with a caret below the place in the text where DuckDB tells it.
    """
    values = params if params is not None and len(params) else None
    try:
        with interruptible(), _stopped(cursor, timeout) as late:
            return stoppable(cursor, lambda: _first(cursor, text, values, limit))
    except (duckdb.Error, RuntimeError, OSError, pa.ArrowException) as error:
        told = redact(str(error)).replace(str(log_path), "<log>")
    if late.is_set():
        raise _took_too_long(timeout)
    raise QueryError(f"DuckDB cannot run this: {told}")


def _first(
    cursor: duckdb.DuckDBPyConnection, text: str, values: Any, limit: int | None
) -> tuple[pa.Table, bool]:
    reader = cursor.execute(text, values).to_arrow_reader(_BATCH)
    batches, count = [], 0
    for batch in reader:
        batches.append(batch)
        count += batch.num_rows
        if limit is not None and count > limit:
            break
    table = pa.Table.from_batches(batches, reader.schema)
    return (table, False) if limit is None else (table.slice(0, limit), count > limit)


def _took_too_long(timeout: float | None) -> QueryError:
    return QueryError(
        f"the query took longer than {timeout:g} s and was stopped; "
        "ask for less, or raise the timeout"
    )


@contextmanager
def _stopped(cursor: duckdb.DuckDBPyConnection, timeout: float | None) -> Iterator[threading.Event]:
    """Interrupt `cursor` when the block takes longer than `timeout`; the event tells so."""
    late = threading.Event()
    if timeout is None:
        yield late
        return
    if not timeout > 0:
        raise QueryError(f"timeout={timeout!r}: give seconds above 0, or None for no limit")

    def stop() -> None:
        late.set()
        cursor.interrupt()

    timer = threading.Timer(timeout, stop)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        timer.join()


def _within(
    timeout: float, cursor: duckdb.DuckDBPyConnection, text: str, values: Any
) -> duckdb.DuckDBPyRelation:
    with _stopped(cursor, timeout) as late:
        try:
            rows = stoppable(cursor, lambda: cursor.execute(text, values).to_arrow_table())
        except duckdb.InterruptException:
            if not late.is_set():
                raise
            rows = None
    if rows is None:
        raise _took_too_long(timeout)
    return cursor.from_arrow(rows)
