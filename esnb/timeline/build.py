"""The interval table: one row per event, with the state after it and how long it stood."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import duckdb

from esnb.errors import TimelineError
from esnb.timeline import merge
from esnb.timeline.fold import BOXED_NULL, Field, Fold, column, nested_value

__all__ = ["Table", "build", "exists", "interval_sql", "one_row"]

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


@dataclass(frozen=True)
class Table:
    """An interval table on a cursor: its SQL name, and the fold that it holds."""

    name: str
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


def build(cursor: duckdb.DuckDBPyConnection, fold: Fold) -> Table:
    """Make the interval table of `fold` on `cursor`, if it is not there yet.

    Raises
    ------
    TimelineError
        If a value does not fit the type declared for its field.
    """
    digest = hashlib.sha256(interval_sql(fold, "nested").encode()).hexdigest()[:16]
    name, nested = f"_esnb_timeline_{digest}", f"_esnb_nested_{digest}"
    if exists(cursor, name):
        return Table(name, fold)
    if fold.nested:
        cursor.register(nested, merge.states(cursor, fold))
    try:
        cursor.execute(f"CREATE TEMP TABLE {name} AS {interval_sql(fold, nested)}")
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
    return Table(name, fold)


def one_row(cursor: duckdb.DuckDBPyConnection, sql: str, *values: object) -> tuple[Any, ...]:
    """Return the one row of an aggregate query."""
    (row,) = cursor.execute(sql, list(values)).fetchall()
    return row


def exists(cursor: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Tell whether `cursor` knows a temporary table or view called `name`."""
    found = cursor.execute(
        "SELECT 1 FROM duckdb_tables() WHERE temporary AND table_name = $1 "
        "UNION ALL SELECT 1 FROM duckdb_views() WHERE temporary AND view_name = $1",
        [name],
    ).fetchone()
    return found is not None


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
