"""One aggregate on both sides of a comparison, and the event behind each difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from esnb.timeline import pipeline
from esnb.timeline.fold import column
from esnb.timeline.moment import Moment
from esnb.timeline.read import Read
from esnb.timeline.table import Table
from esnb.timeline.text import literal, shown_sql

__all__ = ["EVENT", "Aggregate", "Side"]

EVENT = ("position", "event_id", "event_type", "actor", "occurred_on")


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes
    ----------
    known
        The moment up to which events were known.
    valid
        SQL of the instant on the valid clock, or None: states as they were known.
    """

    known: Moment
    valid: str | None = None


@dataclass
class _Steps:
    """The events of one aggregate on one side: their positions in order, and what they made."""

    positions: list[int]
    state: dict[str, Any] | None
    texts: list[str | None]
    causes: list[int | None]
    turned: int | None


class Aggregate:
    """One aggregate on both sides."""

    def __init__(self, read: Read, table: Table, stream: str, a: Side, b: Side) -> None:
        read.check_stream(stream)
        self.stream = stream
        self._read, self._table = read, table
        self._names = [field.name for field in read.fold.fields]
        self._cursor = read.session.fresh(read.snapshot)
        self.a, self.b = self._steps("a", a), self._steps("b", b)

    def rows(self) -> Iterator[dict[str, Any]]:
        a, b = self.a, self.b
        had, has = a.state is not None, b.state is not None
        if not had and not has:
            return
        change = "changed" if had and has else "added" if has else "removed"
        differs = self._differing()
        causes: list[tuple[int | None, int | None]] = [
            (i, self._cause(b.causes[i], a.causes[i], removed=not has)) for i in differs
        ]
        if not causes and had != has and not any(text is not None for text in (*a.texts, *b.texts)):
            causes = [(None, self._cause(b.turned, a.turned, removed=not has))]
        events = self._events({cause for _, cause in causes if cause is not None})
        for i, cause in causes:
            yield {
                "stream": self.stream,
                "change": change,
                "field": None if i is None else self._names[i],
                "before": None if i is None else a.texts[i],
                "after": None if i is None else b.texts[i],
                **(events[cause] if cause is not None else dict.fromkeys(EVENT)),
            }

    def _cause(self, b: int | None, a: int | None, *, removed: bool) -> int | None:
        """Choose the event: of the value on side b, or that of the one on side a, if only one
        side knows it."""
        in_a, in_b = set(self.a.positions), set(self.b.positions)
        if removed:
            b = self.b.turned
        if b is not None and b not in in_a:
            return b
        if a is not None and a not in in_b:
            return a
        alone = [p for p in self.b.positions if p not in in_a]
        alone = alone or [p for p in self.a.positions if p not in in_b]
        return alone[-1] if alone else None

    def _differing(self) -> list[int]:
        """Return numbers of the fields that differ: SQL decides, as it does for all others."""
        fields = self._read.fold.fields
        if not fields:
            return []
        tests = ", ".join(
            f"(SELECT f{i} FROM {_last('a')}) IS DISTINCT FROM (SELECT f{i} FROM {_last('b')})"  # noqa: S608
            for i in range(len(fields))
        )
        found = self._cursor.execute(f"SELECT {tests}").fetchone() or ()
        return [i for i, differs in enumerate(found) if differs]

    def _steps(self, name: str, of: Side) -> _Steps:
        fields = self._read.fold.fields
        if of.valid is None:
            order = "t.position"
            values = "".join(f", t.{column(f)} AS f{i}" for i, f in enumerate(fields))
            rows = (
                f"(SELECT t.position, t.occurred_on, t.ended{values}"  # noqa: S608 (quoted)
                f" FROM {self._table.of(self.stream)} AS t WHERE {of.known.reached('t')})"
            )
        else:
            order = "t.occurred_on, t.position"
            rows = f"({self._valid(of)})"
        changed = "".join(
            f", t.f{i} IS DISTINCT FROM lag(t.f{i}) OVER o AS c{i}" for i in range(len(fields))
        )
        self._cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE _esnb_{name} AS SELECT t.*,"  # noqa: S608 (our own)
            " t.ended IS DISTINCT FROM coalesce(lag(t.ended) OVER o, true) AS turned,"
            f" row_number() OVER o AS number{changed}"
            f" FROM {rows} AS t WINDOW o AS (ORDER BY {order})"
        )
        table = f"_esnb_{name}"
        places = self._cursor.execute(
            f"SELECT position FROM {table} ORDER BY number"  # noqa: S608
        ).fetchall()
        causes = ", ".join(
            [f"max(t.number) FILTER (t.c{i})" for i in range(len(fields))]
            + ["max(t.number) FILTER (t.turned)"]
        )
        numbers = self._cursor.execute(f"SELECT {causes} FROM {table} AS t").fetchone() or ()  # noqa: S608
        positions = [place for (place,) in places]
        found = [None if n is None else positions[n - 1] for n in numbers]
        cells = ", ".join(
            [f"f{i}" for i in range(len(fields))]
            + [shown_sql(f"f{i}", field.type) for i, field in enumerate(fields)]
            or ["1"]
        )
        last = self._cursor.execute(f"SELECT {cells} FROM {_last(name)}").fetchone()  # noqa: S608
        count = len(fields)
        return _Steps(
            positions,
            None if last is None else dict(zip(self._names, last[:count], strict=True)),
            [None] * count if last is None else list(last[count : 2 * count]),
            found[:count],
            found[count],
        )

    def _valid(self, of: Side) -> str:
        """Return the SELECT of the states after each event, in the order of the valid clock."""
        fold = self._read.fold
        rows = pipeline.settled(
            fold,
            "SELECT e.*, false AS carried, e.recorded_on AS known,"  # noqa: S608 (our own text)
            " row_number() OVER (ORDER BY e.occurred_on, e.position) AS turn FROM ("
            "SELECT e.*, max(e.recorded_on) OVER (ORDER BY e.position) AS system_from"
            f" FROM ({fold.rows}) AS e WHERE e.stream = {literal(self.stream)}"
            f") AS e WHERE {of.known.reached('e')} AND e.occurred_on <= {of.valid}",
        )
        source = pipeline.sided(self._cursor, fold, f"({rows})")
        return pipeline.every_sql(fold, source)

    def _events(self, positions: set[int]) -> dict[int, dict[str, Any]]:
        """Return what is to be said of events: a `WhatIf` has positions of its own."""
        if not positions:
            return {}
        rows = self._table.of(self.stream)
        names = ", ".join(f"t.{name}" for name in EVENT)
        found = self._cursor.execute(
            f"SELECT {names} FROM {rows} AS t WHERE t.position IN"  # noqa: S608 (numbers)
            f" ({', '.join(map(str, sorted(positions)))})"
        ).fetchall()
        return {row[0]: dict(zip(EVENT, row, strict=True)) for row in found}


def _last(name: str) -> str:
    return f"(SELECT * FROM _esnb_{name} ORDER BY number DESC LIMIT 1) AS t WHERE NOT t.ended"  # noqa: S608
