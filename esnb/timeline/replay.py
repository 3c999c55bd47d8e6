"""One aggregate, event by event: each with the state after it, by either clock."""

from __future__ import annotations

from typing import Literal

import duckdb

from esnb.timeline import pipeline
from esnb.timeline.fold import CARRIED, Fold, column
from esnb.timeline.read import Read
from esnb.timeline.text import literal

__all__ = ["Order", "occurred_rows", "payload_name", "replayed"]

Order = Literal["recorded", "occurred"]

_FOLDED = "_esnb_replayed"


def replayed(read: Read, stream: str, clock: Order) -> duckdb.DuckDBPyRelation:
    """Return the events of a stream in the order of a clock, each with the state after it.

    Raises
    ------
    TimelineError
        If there is no such stream.
    """
    read.check_stream(stream)
    fold, cursor = read.fold, read.session.fresh(read.snapshot)
    if clock == "recorded":
        since, until, rows = "system_from", "system_to", read.table.of(stream)
        values = [f"t.{column(field)}" for field in fold.fields]
        order = "t.position"
    else:
        since, until, rows = "valid_from", "valid_to", _by_occurrence(cursor, fold, stream)
        values = [f"t.f{number} AS {column(field)}" for number, field in enumerate(fold.fields)]
        order = "t.occurred_on, t.position"
    own = ", ".join(f"t.{name}" for name in CARRIED)
    states = "".join(f", {value}" for value in values)
    return cursor.sql(
        f"SELECT {own}, t.system_from AS {since}, t.system_to AS {until}, t.ended,"  # noqa: S608
        f" e.data AS {payload_name(fold)}{states}\n"
        f"FROM {rows} AS t\n"
        f"LEFT JOIN (SELECT position, data FROM events WHERE stream = {literal(stream)}) AS e"
        f" ON e.position = t.position\nORDER BY {order}"
    )


def occurred_rows(fold: Fold, where: str) -> str:
    """Return the SELECT of the rows of `fold` to be folded by ``occurred_on`` and position.

    As `esnb.timeline.pipeline.system_rows` does for the other clock: all rows of the streams
    that `where` chooses, whenever they became known.
    """
    return pipeline.settled(
        fold,
        "SELECT e.*, false AS carried, e.occurred_on AS known, row_number() OVER"
        " (PARTITION BY e.stream ORDER BY e.occurred_on, e.position) AS turn\n"
        f"FROM ({fold.rows}) AS e WHERE {where}",
    )


def payload_name(fold: Fold) -> str:
    """Return the column of the payload: ``data``, or with a number where a field is called so."""
    taken = {field.name.casefold() for field in fold.fields}
    name, number = "data", 1
    while name in taken:
        number += 1
        name = f"data_{number}"
    return name


def _by_occurrence(cursor: duckdb.DuckDBPyConnection, fold: Fold, stream: str) -> str:
    """Fold a stream on a cursor of its own, and return the table of its states."""
    rows = f"({occurred_rows(fold, f'e.stream = {literal(stream)}')})"
    states = pipeline.every_sql(fold, pipeline.sided(cursor, fold, rows))
    # Kept as long as the cursor: who looks at some of the rows, and then at others, folds once.
    cursor.execute(f"CREATE TEMP TABLE {_FOLDED} AS {states}")
    return _FOLDED
