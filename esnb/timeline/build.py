"""The interval table: one row per event, with the state after it and how long it stood."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import duckdb

from esnb.errors import TimelineError
from esnb.timeline import merge
from esnb.timeline.fold import BOXED_NULL, Field, Fold, column, nested_value
from esnb.timeline.text import literal

__all__ = ["SourceSession", "Table", "build", "interval_sql", "one_row"]

_CARRIED = (
    "stream",
    "revision",
    "position",
    "event_id",
    "event_type",
    "actor",
    "occurred_on",
    "recorded_on",
)
_OWN = (*_CARRIED, "system_from", "system_to", "next_position", "ended")
_PLAIN_TYPES = {"VARCHAR", "BOOLEAN", "BIGINT", "DOUBLE", "JSON", "DATE", "INTEGER", "TIMESTAMPTZ"}


class SourceSession(Protocol):
    """What a timeline asks of the session of a log (see `esnb.query.session.Session`)."""

    def cursor(self, snapshot: Any) -> duckdb.DuckDBPyConnection: ...

    def fresh(self, snapshot: Any = None) -> duckdb.DuckDBPyConnection: ...

    def keep(self, name: str, write: Callable[[Path], object]) -> Path: ...


@dataclass(frozen=True)
class Table:
    """An interval table: SQL that it is read from, on any cursor of its session, and the fold."""

    source: str
    fold: Fold


def interval_sql(fold: Fold, nested: str) -> str:
    """Return the SELECT of the interval table.

    Parameters
    ----------
    fold
        What is folded.
    nested
        Name of the table of `esnb.timeline.merge.states`; not read without nested fields.
    """
    carried = ", ".join(f"e.{name}" for name in _CARRIED)
    joined = f"\n    LEFT JOIN {nested} AS h ON h.position = e.position" if fold.nested else ""
    order = [field.name for field in fold.nested]
    said = "".join(
        f",\n        {_said(field, order, fold)} AS said_{i}" for i, field in enumerate(fold.fields)
    )
    # What an ending event says is not folded, so it need not fit the types either.
    extracts = "".join(
        f", CASE WHEN NOT {fold.ended} THEN {sql} END AS {name}"
        if fold.ends
        else f", {sql} AS {name}"
        for name, sql in fold.extracts
    )
    states = "".join(
        f",\n    {field.windowed(f's.said_{i}', 'so_far')} AS {column(field)}"
        for i, field in enumerate(fold.fields)
    )
    return f"""
WITH extracted AS (
    SELECT {carried}, e.data, {fold.ended} AS ended{extracts}
    FROM events AS e WHERE {fold.where}
), said AS (
    SELECT {carried}, e.ended{said}
    FROM extracted AS e{joined}
)
SELECT {", ".join(f"s.{name}" for name in _CARRIED)},
    max(s.recorded_on) OVER so_far AS system_from,
    CASE WHEN lead(s.position) OVER so_far IS NOT NULL
        THEN max(s.recorded_on) OVER and_next END AS system_to,
    lead(s.position) OVER so_far AS next_position,
    s.ended{states}
FROM said AS s
WINDOW so_far AS (PARTITION BY s.stream ORDER BY s.position
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
    and_next AS (PARTITION BY s.stream ORDER BY s.position
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING)
ORDER BY s.stream, s.position
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def build(
    session: SourceSession, cursor: duckdb.DuckDBPyConnection, fold: Fold, next_position: int
) -> Table:
    """Make the interval table of `fold` at a position, if it is not there yet.

    It is a Parquet file: rows that any number of cursors may read.

    Raises
    ------
    TimelineError
        If a value does not fit the type declared for its field.
    """
    sql = interval_sql(fold, "nested")
    digest = hashlib.sha256(sql.encode()).hexdigest()[:32]
    path = session.keep(
        f"{digest}-{next_position}.parquet", lambda place: _write(cursor, fold, place)
    )
    # Names of fields may be any text, so the file has none of them.
    columns = [
        *(f"t.{name}" for name in _OWN),
        *(
            f"{_restored(field, f't.f{number}')} AS {column(field)}"
            for number, field in enumerate(fold.fields)
        ),
    ]
    return Table(
        f"(SELECT {', '.join(columns)} FROM read_parquet({literal(str(path))}) AS t)",  # noqa: S608
        fold,
    )


def _write(cursor: duckdb.DuckDBPyConnection, fold: Fold, path: Path) -> None:
    nested = "_esnb_nested"
    kept = [
        *(f"t.{name}" for name in _OWN),
        *(
            f"{_stored(field, f't.{column(field)}')} AS f{number}"
            for number, field in enumerate(fold.fields)
        ),
    ]
    if fold.nested:
        cursor.register(nested, merge.states(cursor, fold))
    try:
        cursor.execute(
            f"COPY (SELECT {', '.join(kept)} FROM ({interval_sql(fold, nested)}) AS t)"  # noqa: S608
            f" TO {literal(str(path))} (FORMAT parquet)"
        )
    except (
        duckdb.ConversionException,
        duckdb.InvalidInputException,
        duckdb.OutOfRangeException,
    ) as error:
        reason = str(error).splitlines()[0]
        raise TimelineError(
            f"a payload does not fit the type declared for its field: {reason}. "
            "Declare another type, or name the field without one"
        ) from error
    finally:
        if fold.nested:
            cursor.unregister(nested)


def _stored(field: Field, value: str) -> str:
    return value if _same_in_parquet(field) else f"CAST({value} AS VARCHAR)"


def _restored(field: Field, value: str) -> str:
    return value if _same_in_parquet(field) else f"CAST({value} AS {field.type})"


def _same_in_parquet(field: Field) -> bool:
    """Tell whether a type comes back from Parquet as it went there."""
    kind = field.type.upper().rstrip("[]")
    return kind in _PLAIN_TYPES or kind.startswith("DECIMAL")


def one_row(cursor: duckdb.DuckDBPyConnection, sql: str, *values: object) -> tuple[Any, ...]:
    """Return the one row of an aggregate query."""
    (row,) = cursor.execute(sql, list(values)).fetchall()
    return row


def _said(field: Field, nested: list[str], fold: Fold) -> str:
    """Return SQL of what an event says of `field`, `nested` being the nested ones by number.

    An event that ends the aggregate says NULL of every field: that is all it takes
    for the next one to begin from nothing.
    """
    said = field.said
    if field.nested:
        i = nested.index(field.name)
        value = nested_value(field, f"h.h{i}")
        said = value if field.whole else f"CASE WHEN h.t{i} THEN {{'v': {value}}} END"
    if not fold.ends:
        return said
    return f"CASE WHEN e.ended THEN {'NULL' if field.whole else BOXED_NULL} ELSE {said} END"
