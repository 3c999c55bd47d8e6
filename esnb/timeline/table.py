"""The interval table as SQL: one row per event, with the state after it and how long it stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from esnb.timeline.fold import CARRIED, Fold, column
from esnb.timeline.moment import Bound, Moment
from esnb.timeline.parts import read_sql, restored
from esnb.timeline.state import Part, State
from esnb.timeline.text import literal

__all__ = ["OWN", "Table"]

OWN = (*CARRIED, "system_from", "system_to", "next_position", "ended")
# What open rows have in place of the columns that only closed ones have.
_OPEN = {
    "system_to": "NULL::TIMESTAMPTZ AS system_to",
    "next_position": "NULL::BIGINT AS next_position",
}


@dataclass(frozen=True)
class Table:
    """A generation of a store, to be read on any cursor of its session.

    Closed rows and open ones are apart: of the first only the files and row groups are read
    that both bounds of an interval allow.
    """

    fold: Fold
    folder: Path
    state: State

    @property
    def source(self) -> str:
        """SQL of all rows."""
        return self.where()

    def of(self, stream: str) -> str:
        """Return SQL of the rows of one stream."""
        return self.where(stream=stream)

    def has(self, cursor: duckdb.DuckDBPyConnection, stream: str) -> bool:
        """Tell whether there is such a stream: each has one open row."""
        parts = tuple(part for part in self.state.open if part.may_hold(stream))
        if not parts:
            return False
        rows = read_sql(self.folder, parts)
        found = cursor.execute(f"SELECT 1 FROM {rows} AS t WHERE t.stream = ? LIMIT 1", [stream])  # noqa: S608
        return found.fetchone() is not None

    def standing(self, at: Moment) -> str:
        """Return SQL of the rows that stood at a moment, ends that still held among them."""
        if at.clock == "position" and at.order >= self.state.next_position - 1:
            return self.where(None)
        return self.where((at.begun, at.unended), (at.begun,))

    def within(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `a` and not at `b`, and of those since, to `b`."""
        new = (a.unbegun, b.begun)
        # Two scans: each condition alone tells which row groups to read.
        return self.where(new, new, _left(a, b))

    def moved_from(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `a` and not at `b`."""
        return self.where(_left(a, b), None)

    def moved_to(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `b` and not at `a`."""
        new = (a.unbegun, b.begun)
        return self.where((*new, b.unended), new)

    def where(
        self,
        closed: Sequence[Bound] | None = (),
        open_: Sequence[Bound] | None = (),
        also_closed: Sequence[Bound] | None = None,
        *,
        stream: str | None = None,
    ) -> str:
        """Return SQL of the closed rows that meet some bounds, and of the open ones that do.

        Parameters
        ----------
        closed, also_closed
            Bounds that all hold; None for no row.  No row may meet both.
        open_
            Bounds on the begin of open rows; None for no row.
        stream
            The only stream to read.
        """
        columns = ", ".join(f"t.{name}" for name in OWN) + self._fields()
        selects = []
        for bounds in (closed, also_closed):
            # What a file says of itself is asked first: to look into its row groups, each with
            # all of its columns, takes longer than to read those that are wanted.
            parts = _met(self.state.closed, bounds, stream)
            if parts and bounds is not None:
                rows, condition = read_sql(self.folder, parts), self.condition(bounds, stream)
                selects.append(f"SELECT {columns} FROM {rows} AS t WHERE {condition}")  # noqa: S608
        own = ", ".join(_OPEN.get(name, f"t.{name}") for name in OWN)
        parts = _met(self.state.open, open_, stream)
        if parts or not selects:
            rows = self.open_rows(parts or self.state.open[:1])
            condition = self.condition(open_, stream) if parts and open_ is not None else "false"
            selects.append(f"SELECT {own}{self._fields()} FROM {rows} AS t WHERE {condition}")  # noqa: S608
        return f"({' UNION ALL '.join(selects)})"

    @staticmethod
    def condition(bounds: Sequence[Bound], stream: str | None) -> str:
        """Return SQL over ``t``: all `bounds` hold, and it is of the `stream`, if that is given."""
        named = [] if stream is None else [f"t.stream = {literal(stream)}"]
        return " AND ".join([*named, *(bound.sql("t") for bound in bounds)]) or "true"

    def open_rows(self, parts: tuple[Part, ...] | None = None) -> str:
        """Return SQL of a table of the open rows as they stand in the files."""
        rows = read_sql(self.folder, self.state.open if parts is None else parts)
        if self.state.gone is None:
            return rows
        gone = read_sql(self.folder, (self.state.gone,))
        return f"(SELECT o.* FROM {rows} AS o ANTI JOIN {gone} AS g ON g.slot = o.slot)"  # noqa: S608

    def _fields(self) -> str:
        # Names of fields may be any text, so the files have none of them.
        return "".join(
            f", {restored(field.type, f't.f{number}')} AS {column(field)}"
            for number, field in enumerate(self.fold.fields)
        )


def _left(a: Moment, b: Moment) -> Sequence[Bound]:
    """Return the bounds of a closed row that stood at `a` and ended up to `b`."""
    return a.begun, a.unended, b.ended


def _met(
    parts: tuple[Part, ...], bounds: Sequence[Bound] | None, stream: str | None
) -> tuple[Part, ...]:
    """Return the files that may have rows within `bounds`, and of the `stream` if one is given."""
    if bounds is None:
        return ()
    return tuple(
        part
        for part in parts
        if part.may_meet(bounds) and (stream is None or part.may_hold(stream))
    )
