"""The states that stood at a moment, and all of them: plain rows of the interval table."""

from __future__ import annotations

from collections.abc import Iterable

from esnb.timeline.fold import Fold, column
from esnb.timeline.moment import Moment
from esnb.timeline.table import Table

__all__ = ["as_of_sql", "history_sql"]

_AS_OF = (
    "stream",
    "revision",
    "position",
    "event_id",
    "event_type",
    "actor",
    "occurred_on",
    "system_from",
    "system_to",
    "next_position",
)


def as_of_sql(table: Table, at: Moment) -> str:
    """Return the SELECT of the states that stood at `at`."""
    columns = _columns(table.fold, _AS_OF)
    return f"SELECT {columns} FROM {table.standing(at)} AS t WHERE NOT t.ended"  # noqa: S608


def history_sql(table: Table, stream: str | None = None) -> str:
    """Return the SELECT of every state, or of those of one stream."""
    columns = _columns(table.fold, (*_AS_OF, "ended"))
    rows = table.source if stream is None else table.of(stream)
    return (
        f"SELECT {columns} FROM {rows} AS t"  # noqa: S608 (identifiers quoted)
        " ORDER BY t.stream, t.position"
    )


def _columns(fold: Fold, own: Iterable[str]) -> str:
    return ", ".join([f"t.{name}" for name in own] + [f"t.{column(f)}" for f in fold.fields])
