"""The interval table as SQL: one row per event, with the state after it and how long it stood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from esnb.timeline.fold import CARRIED, Fold, column
from esnb.timeline.moment import Moment
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
        is_it = f"t.stream = {literal(stream)}"
        return self.where(is_it, is_it, stream=stream)

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
            return self.where(None, "true")
        reached = at.reached("t")
        return self.where(f"{reached} AND {at.left('t')} > {at.sql}", reached)

    def within(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `a` and not at `b`, and of those since, to `b`."""
        new, old = _since(a, b), _left(a, b)
        # Two scans: each condition alone tells which row groups to read.
        return self.where(new, new, old)

    def moved_from(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `a` and not at `b`."""
        return self.where(_left(a, b), "false")

    def moved_to(self, a: Moment, b: Moment) -> str:
        """Return SQL of the rows that stood at `b` and not at `a`."""
        new = _since(a, b)
        return self.where(f"{new} AND {b.left('t')} > {b.sql}", new)

    def where(
        self,
        closed: str | None = "true",
        open_: str = "true",
        also_closed: str | None = None,
        *,
        stream: str | None = None,
    ) -> str:
        """Return SQL of the closed rows ``t`` for which one condition holds, and of the open ones.

        Parameters
        ----------
        closed, also_closed
            SQL over ``t``; None for no row.  No row may meet both.
        open_
            SQL over ``t``.
        stream
            The only stream that the conditions allow.
        """
        parts, open_parts = self.state.closed, self.state.open
        if stream is not None:
            parts = tuple(part for part in parts if part.may_hold(stream)) or parts[:1]
            open_parts = tuple(p for p in open_parts if p.may_hold(stream)) or open_parts[:1]
        columns = ", ".join(f"t.{name}" for name in OWN) + self._fields()
        rows = read_sql(self.folder, parts)
        selects = [
            f"SELECT {columns} FROM {rows} AS t WHERE {condition}"  # noqa: S608 (our own text)
            for condition in (closed, also_closed)
            if condition is not None
        ]
        own = ", ".join(_OPEN.get(name, f"t.{name}") for name in OWN)
        selects.append(
            f"SELECT {own}{self._fields()} FROM {self.open_rows(open_parts)} AS t WHERE {open_}"  # noqa: S608
        )
        return f"({' UNION ALL '.join(selects)})"

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


def _since(a: Moment, b: Moment) -> str:
    """Return the condition on a row that it began in (`a`, `b`]."""
    return f"{b.reached('t')} AND NOT {a.reached('t')}"


def _left(a: Moment, b: Moment) -> str:
    """Return the condition on a closed row that it stood at `a` and ended up to `b`."""
    return f"{a.reached('t')} AND {a.left('t')} > {a.sql} AND {b.left('t')} <= {b.sql}"
