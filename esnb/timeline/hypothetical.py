"""The timeline of what would have been, and what differs from the one that was."""

from __future__ import annotations

from html import escape

import duckdb

from esnb.errors import TimelineError
from esnb.show import UNTYPESET, html_table
from esnb.timeline.altered import Altered
from esnb.timeline.definition import Definition
from esnb.timeline.moment import LATEST, Moment
from esnb.timeline.read import Read
from esnb.timeline.states import as_of_sql
from esnb.timeline.table import Table
from esnb.timeline.text import literal
from esnb.timeline.timeline import Timeline
from esnb.timeline.whatif import (
    Narrowed,
    TwoTables,
    consequences_sql,
    divergence_sql,
    touched,
)

__all__ = ["WhatIf"]


class _Read(Read):
    """The other history as it was read: its table is that of the log but for what it touches."""

    def __init__(self, source: Altered, given: Read, table: Table) -> None:
        super().__init__(source, source.snapshot())
        self.of(given.fold, given.store)
        self._table = table

    @property
    def table(self) -> Table:
        return self._table


class WhatIf(Timeline):
    """A timeline over another history of a log (see `Timeline.what_if`).

    It answers as any timeline does, for the log as it was when it was made.  Where events
    were put in, its positions are its own (see `esnb.timeline.altered`).

    Attributes
    ----------
    actual
        The timeline of the log as it is.
    aggregates
        Names of the aggregates whose events differ; None where another class folds all.
    """

    def __init__(
        self, actual: Timeline, read: Read, history: Altered, definition: Definition, *, same: bool
    ) -> None:
        super().__init__(history, definition)
        self.actual = actual
        self._history = history
        self._base = read
        self.aggregates: tuple[str, ...] | None = None
        if same:
            self.aggregates = touched(
                read.cursor, history.session.fresh(history.snapshot()), read.fold.rows, history
            )
            self._last = self._composed(read, self.aggregates)

    def _composed(self, read: Read, aggregates: tuple[str, ...]) -> Read | None:
        """Return a reading that takes the rows of all other aggregates from the timeline."""
        base = read.table
        narrowed = Timeline(self._history, Narrowed(self._definition, aggregates))
        other = narrowed._read()
        mine = [(field.name, field.type) for field in read.fold.fields]
        if mine != [(field.name, field.type) for field in other.fold.fields]:
            return None  # the other history knows other fields: all of it is folded again
        table = TwoTables(
            base.fold, base.folder, base.state, other.table, self._history, aggregates
        )
        return _Read(self._history, read, table)

    def _read(self) -> Read:
        return self._last if self._last is not None else super()._read()

    def _cube(self, read: Read, table: Table, by: str) -> str | None:
        return None if isinstance(table, TwoTables) else super()._cube(read, table, by)

    def diff(self, a: object, b: object = None) -> duckdb.DuckDBPyRelation:
        """Return what differs: from another timeline, or between two moments of this one.

        Parameters
        ----------
        a
            The other timeline, such as `actual`; or the first moment (see
            `Timeline.diff`).
        b
            The moment at which the two are compared (now, by default), an instant; or the
            second moment.

        Returns
        -------
        duckdb.DuckDBPyRelation
            Of two timelines: ``stream``, ``change`` (``added``, ``removed``,
            ``changed``), ``field``, ``before`` (in the other) and ``after`` (in this one), as
            text, of the fields that both have, of one type.  An aggregate without any
            field that came or went has a row whose ``field`` is NULL.
        """
        if not isinstance(a, Timeline):
            return super().diff(a, b)
        at = LATEST if b is None else self._moment(b)
        if b is not None and at.clock == "position":
            raise TimelineError("two histories are compared at an instant; positions differ")
        theirs, mine = a._read(), self._read()
        return self._fresh().sql(
            consequences_sql(_standing(theirs, at), _standing(mine, at), _common(theirs, mine))
        )

    def divergence(self) -> duckdb.DuckDBPyRelation:
        """Return for each aggregate the first event in which the two histories differ.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``stream``, ``found_in`` (``both``, ``actual`` or ``what if``: where the event is),
            ``event_id``, ``event_type``, ``actor``, ``occurred_on``, ``system_from``, and
            ``fields``: names of the fields that differ after it, or that it changed where
            only one history has it.
        """
        read, mine = self._base, self._read()
        where = "true"
        if self.aggregates is not None:
            names = ", ".join(map(literal, self.aggregates)) or "NULL"
            where = f"t.stream IN ({names})"
        moved = self._history.moved("t.position")
        return self._fresh().sql(
            divergence_sql(read.table, mine.table, _common(read, mine), moved, where)
        )

    def _fresh(self) -> duckdb.DuckDBPyConnection:
        return self._base.session.fresh()

    def __repr__(self) -> str:
        of = "all" if self.aggregates is None else f"{len(self.aggregates):,}"
        return f"WhatIf({self.actual!r}, aggregates={of})"

    def _repr_html_(self) -> str:
        gone, new = self._history.taken_out.num_rows, self._history.put_in.num_rows
        if self.aggregates is None:
            said = f"folded by {self._definition}"
        else:
            count = len(self.aggregates)
            said = f"{count:,} aggregate{'' if count == 1 else 's'} touched"
        changes = self.diff(self.actual).aggregate(
            'coalesce("field", \'(all of it)\') AS "field", count(DISTINCT "stream") AS n,'
            " min(stream) AS one",
            '"field"',
        )
        rows = changes.order('n DESC, "field"').fetchall()
        told = (
            "The states differ now in:</p>"
            + html_table(["field", "aggregates that differ", "one of them"], rows)
            if rows
            else "The states are the same now.</p>"
        )
        return (
            f"<p {UNTYPESET}><b>What if</b>, beside {escape(repr(self.actual))}: "
            f"{gone:,} event{'' if gone == 1 else 's'} taken out, {new:,} put in; "
            f"{escape(said)}.<br>{told}"
        )


def _standing(read: Read, at: Moment) -> str:
    return as_of_sql(read.table, at)


def _common(a: Read, b: Read) -> dict[str, str]:
    """Return the fields that both have, with their types; another class may have other types."""
    known = {field.name: field.type for field in b.fold.fields}
    return {
        field.name: field.type
        for field in a.fold.fields
        if field.name in known and _alike(field.type, known[field.name])
    }


def _alike(a: str, b: str) -> bool:
    return a == b or (a.startswith("DECIMAL") and b.startswith("DECIMAL"))
