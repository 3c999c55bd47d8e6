"""The interval table as SQL: one row per event, with the state after it and how long it stood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from esnb.timeline import ages
from esnb.timeline.fold import CARRIED, Fold, column
from esnb.timeline.moment import NEVER, Bound, Moment
from esnb.timeline.parts import read_sql, restored
from esnb.timeline.state import Part, State
from esnb.timeline.text import literal

__all__ = ["OWN", "Table", "left", "reached", "since"]

OWN = (*CARRIED, "system_from", "system_to", "next_position", "ended")
_SHOWN = {
    "system_to": "nullif(t.system_to, 'infinity'::TIMESTAMPTZ) AS system_to",
    "next_position": f"nullif(t.next_position, {NEVER}) AS next_position",
}


@dataclass(frozen=True)
class Table:
    """A generation of a store, to be read on any cursor of its session.

    Of closed rows only the files and row groups are read that both bounds of an interval allow.
    """

    fold: Fold
    folder: Path
    state: State

    @property
    def source(self) -> str:
        """SQL of all rows."""
        return self.where(())

    def of(self, stream: str) -> str:
        """Return SQL of the rows of one stream."""
        return self.where((), stream=stream)

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
        return self.where((at.begun, at.unended))

    def within(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `a` and not at `b`, and of those since, to `b`."""
        # Two scans: each condition alone tells which row groups to read.
        return self.where(since(a, b), left(a, b))

    def moved_from(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `a` and not at `b`."""
        return self.where(left(a, b))

    def moved_to(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `b` and not at `a`."""
        return self.where(reached(a, b))

    @property
    def aged(self) -> bool:
        """Whether each row tells the ages of its fields, and all of them exactly."""
        return self.state.longest is not None and self.state.longest <= ages.MOST

    def where(self, *either: Sequence[Bound], stream: str | None = None) -> str:
        """Return SQL of the rows that meet all bounds of one of several sets.

        Parameters
        ----------
        *either
            No row may meet two of them.  Those without any bound are met by every row.
        stream
            The only stream to read.
        """
        return self._shown(self.found(either, stream))

    def filed(self, bounds: Sequence[Bound]) -> str:
        """Return SQL of the rows that meet all bounds, as they stand in the files."""
        return self.found([bounds], None)

    def found(self, either: Sequence[Sequence[Bound]], stream: str | None) -> str:
        """Return what `where` does, but as it stands in the files: the end of open rows `NEVER`."""
        selects = []
        for bounds in either:
            # What a file says of itself is asked first: to look into its row groups, each with
            # all of its columns, takes longer than to read those that are wanted.
            closed = _met(self.state.closed, bounds, stream)
            open_ = _met(self.state.open, bounds, stream)
            if closed or open_:
                asked = [bound for bound in bounds if not _all_meet((*closed, *open_), bound)]
                rows, condition = self.rows(closed, open_), self.condition(asked, stream)
                selects.append(f"SELECT t.* FROM {rows} AS t WHERE {condition}")  # noqa: S608
        if not selects:
            rows = self.rows((), self.state.open[:1])
            selects.append(f"SELECT t.* FROM {rows} AS t WHERE false")  # noqa: S608 (our own)
        return f"({' UNION ALL BY NAME '.join(selects)})"

    @staticmethod
    def condition(bounds: Sequence[Bound], stream: str | None) -> str:
        """Return SQL over ``t``: all `bounds` hold, and it is of the `stream`, if that is given."""
        named = [] if stream is None else [f"t.stream = {literal(stream)}"]
        return " AND ".join([*named, *(bound.sql("t") for bound in bounds)]) or "true"

    def open_rows(self) -> str:
        """Return SQL of a table of the open rows as they stand in the files."""
        return self.rows((), self.state.open)

    def rows(self, closed: tuple[Part, ...], open_: tuple[Part, ...]) -> str:
        """Return SQL of the rows in files as they stand there, without those that are gone."""
        gone = self.state.gone
        if gone is None or not open_:
            return read_sql(self.folder, (*closed, *open_))
        rows = read_sql(self.folder, (*closed, *open_), by_name=True)
        gone_rows = read_sql(self.folder, (gone,))
        # Closed rows have no slot, so none of them is gone.
        return f"(SELECT o.* FROM {rows} AS o ANTI JOIN {gone_rows} AS g ON g.slot = o.slot)"  # noqa: S608

    def _shown(self, rows: str) -> str:
        own = ", ".join(_SHOWN.get(name, f"t.{name}") for name in OWN)
        return f"(SELECT {own}{self._fields()} FROM {rows} AS t)"  # noqa: S608 (our own text)

    def _fields(self) -> str:
        # Names of fields may be any text, so the files have none of them.
        return "".join(
            f", {restored(field.type, f't.f{number}')} AS {column(field)}"
            for number, field in enumerate(self.fold.fields)
        )


def left(a: Moment, b: Moment) -> Sequence[Bound]:
    """Return the bounds of a row that stood at `a` and not at `b`."""
    return a.begun, a.unended, b.ended


def reached(a: Moment, b: Moment) -> Sequence[Bound]:
    """Return the bounds of a row that stood at `b` and not at `a`."""
    return a.unbegun, b.begun, b.unended


def since(a: Moment, b: Moment) -> Sequence[Bound]:
    """Return the bounds of a row that began after `a`, up to `b`."""
    return a.unbegun, b.begun


def _met(parts: tuple[Part, ...], bounds: Sequence[Bound], stream: str | None) -> tuple[Part, ...]:
    """Return the files that may have rows within `bounds`, and of the `stream` if one is given."""
    return tuple(
        part
        for part in parts
        if part.may_meet(bounds) and (stream is None or part.may_hold(stream))
    )


def _all_meet(parts: tuple[Part, ...], bound: Bound) -> bool:
    """Tell whether every row of `parts` meets a bound: its column need not be read."""
    return all(bound.holds(part.spans) for part in parts)
