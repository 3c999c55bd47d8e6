"""What would have been: the timeline of another history, beside the one that was.

Only aggregates that a change touches are folded again; the rows of all others are those of
the timeline as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb

from esnb.query.names import quote
from esnb.timeline.altered import Altered
from esnb.timeline.fold import Fold
from esnb.timeline.moment import NEVER, Bound
from esnb.timeline.payloads import Log
from esnb.timeline.table import Table
from esnb.timeline.text import literal, shown_sql

if TYPE_CHECKING:
    from esnb.timeline.definition import Definition
    from esnb.timeline.read import Read

__all__ = ["Narrowed", "TwoTables", "consequences_sql", "divergence_sql", "touched"]

_AFFECTED = "_esnb_affected"


@dataclass(frozen=True)
class Narrowed:
    """A definition that folds only some aggregates."""

    definition: Definition
    aggregates: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    def fold(self, log: Log) -> Fold:
        fold = self.definition.fold(log)
        names = ", ".join(map(literal, self.aggregates)) or "NULL"
        return replace(fold, rows=f"SELECT r.* FROM ({fold.rows}) AS r WHERE r.stream IN ({names})")  # noqa: S608

    def settled(self, read: Read) -> Narrowed:
        settled = self.definition.settled(read)
        return self if settled is self.definition else replace(self, definition=settled)


@dataclass(frozen=True)
class TwoTables(Table):
    """The rows of one table, but those of some aggregates from another one.

    Attributes
    ----------
    other
        Table of the aggregates that are folded again.
    history
        What was changed; tells how positions are spread out.
    aggregates
        Their names.
    """

    other: Table
    history: Altered
    aggregates: tuple[str, ...]

    def found(self, either: Sequence[Sequence[Bound]], stream: str | None) -> str:
        names = ", ".join(map(literal, self.aggregates)) or "NULL"
        rest = f"t.stream NOT IN ({names})" if self.aggregates else "true"
        again = self.other.found(either, stream)
        if self.history.scale == 1:
            kept = super().found(either, stream)
        else:
            # The conditions are about positions as they are here.
            moved = ", ".join(map(self._moved, ("position", "next_position")))
            every = f"(SELECT t.* REPLACE ({moved}) FROM {super().found([()], stream)} AS t)"  # noqa: S608
            conditions = " OR ".join(f"({self.condition(bounds, stream)})" for bounds in either)
            kept = f"(SELECT t.* FROM {every} AS t WHERE {conditions})"  # noqa: S608
        return (
            f"(SELECT t.* FROM {kept} AS t WHERE {rest}"  # noqa: S608 (our own text)
            f" UNION ALL BY NAME SELECT t.* FROM {again} AS t)"
        )

    @property
    def aged(self) -> bool:
        """No: in each table aggregates have numbers of its own."""
        return False

    def _moved(self, name: str) -> str:
        at = f"t.{name}"
        return f"CASE WHEN {at} = {NEVER} THEN {at} ELSE {self.history.moved(at)} END AS {name}"

    def has(self, cursor: duckdb.DuckDBPyConnection, stream: str) -> bool:
        if stream in self.aggregates:
            return self.other.has(cursor, stream)
        return super().has(cursor, stream)

    def open_rows(self) -> str:
        names = ", ".join(map(literal, self.aggregates)) or "NULL"
        return (
            f"(SELECT o.stream, o.revision FROM {super().open_rows()} AS o"  # noqa: S608
            f" WHERE o.stream NOT IN ({names})"
            f" UNION ALL SELECT o.stream, o.revision FROM {self.other.open_rows()} AS o)"
        )


def touched(
    actual: duckdb.DuckDBPyConnection,
    other: duckdb.DuckDBPyConnection,
    rows: str,
    history: Altered,
) -> tuple[str, ...]:
    """Return the names of the aggregates whose events differ in the two histories.

    Parameters
    ----------
    actual, other
        Cursors that know ``events``, as they were and as they are changed.
    rows
        SELECT of the rows that are folded.
    """
    found: set[str] = set()
    for cursor, positions in (
        (actual, history.taken_out),
        (other, history.put_in.select(["position"])),
    ):
        cursor.register(_AFFECTED, positions)
        try:
            found.update(
                stream
                for (stream,) in cursor.execute(
                    f"SELECT DISTINCT r.stream FROM ({rows}) AS r"  # noqa: S608 (our own text)
                    f" WHERE r.position IN (SELECT position FROM {_AFFECTED})"
                ).fetchall()
            )
        finally:
            cursor.unregister(_AFFECTED)
    return tuple(sorted(found))


def consequences_sql(actual: str, other: str, fields: Mapping[str, str]) -> str:
    """Return the SELECT of what differs between two tables of states.

    Parameters
    ----------
    actual, other
        SELECTs as of `esnb.timeline.states.as_of_sql`.
    fields
        Columns that both have, with their types.
    """
    rows = ", ".join(
        f"{{'field': {literal(name)}, 'place': {place},"
        f" 'before': {shown_sql(f'a.{quote(name)}', kind)},"
        f" 'after': {shown_sql(f'b.{quote(name)}', kind)},"
        f" 'differs': a.{quote(name)} IS DISTINCT FROM b.{quote(name)}}}"
        for place, (name, kind) in enumerate(fields.items())
    )
    whole = (
        "{'field': NULL::VARCHAR, 'place': -1, 'before': NULL::VARCHAR, 'after': NULL::VARCHAR,"
        " 'differs': (a.stream IS NULL) <> (b.stream IS NULL)"
        + "".join(f" AND a.{quote(n)} IS NULL AND b.{quote(n)} IS NULL" for n in fields)
        + "}"
    )
    every = ", ".join([whole, *([rows] if rows else [])])
    return f"""
WITH long AS (
    SELECT coalesce(a.stream, b.stream) AS stream,
        CASE WHEN a.stream IS NULL THEN 'added' WHEN b.stream IS NULL THEN 'removed'
            ELSE 'changed' END AS change,
        unnest([{every}]) AS row
    FROM ({actual}) AS a FULL JOIN ({other}) AS b ON b.stream = a.stream
)
SELECT l.stream, l.change, l.row.field AS field, l.row."before" AS "before",
    l.row."after" AS "after"
FROM long AS l WHERE l.row.differs
ORDER BY l.stream, l.row.place
""".strip()  # noqa: S608 (identifiers quoted, constants made by `literal`)


def divergence_sql(
    actual: Table, other: Table, fields: Iterable[str], moved: str, where: str
) -> str:
    """Return the SELECT of the first event of each aggregate in which the two differ.

    Parameters
    ----------
    moved
        SQL of the position, in the other history, of a row ``t`` of `actual`.
    where
        SQL over ``t`` that chooses among aggregates.
    """
    fields = list(fields)
    changed = ", ".join(
        f"CASE WHEN t.{quote(name)} IS DISTINCT FROM lag(t.{quote(name)}) OVER o"
        f" THEN {literal(name)} END"
        for name in fields
    )
    # Of an event that only one history has, what counts is what it changed there.
    own = f"list_filter([{changed or 'NULL'}], n -> n IS NOT NULL) AS changed"
    window = "WINDOW o AS (PARTITION BY t.stream ORDER BY t.position)"
    differs = " OR ".join(
        ["a.event_id IS NULL", "b.event_id IS NULL", "a.ended <> b.ended"]
        + [f"a.{quote(name)} IS DISTINCT FROM b.{quote(name)}" for name in fields]
    )
    names = ", ".join(
        f"CASE WHEN a.{quote(name)} IS DISTINCT FROM b.{quote(name)} THEN {literal(name)} END"
        for name in fields
    )
    both = ", ".join(
        f"coalesce(a.{name}, b.{name}) AS {name}"
        for name in ("event_id", "event_type", "actor", "occurred_on", "system_from")
    )
    return f"""
WITH a AS (
    SELECT t.*, {moved} AS place, {own} FROM {actual.source} AS t WHERE {where} {window}
), b AS (
    SELECT t.*, t.position AS place, {own} FROM {other.source} AS t WHERE {where} {window}
), apart AS (
    SELECT coalesce(a.stream, b.stream) AS stream, coalesce(a.place, b.place) AS place,
        CASE WHEN a.event_id IS NULL THEN 'what if' WHEN b.event_id IS NULL THEN 'actual'
            ELSE 'both' END AS found_in,
        {both}, CASE WHEN a.event_id IS NULL THEN b.changed WHEN b.event_id IS NULL THEN a.changed
            ELSE list_filter([{names or "NULL"}], n -> n IS NOT NULL) END AS fields
    FROM a FULL JOIN b ON b.stream = a.stream AND b.event_id = a.event_id
    WHERE {differs}
)
SELECT p.stream, p.found_in, p.event_id, p.event_type, p.actor, p.occurred_on, p.system_from,
    p.fields
FROM apart AS p
QUALIFY row_number() OVER (PARTITION BY p.stream ORDER BY p.place) = 1
ORDER BY p.stream
""".strip()  # noqa: S608 (identifiers quoted, constants made by `literal`)
