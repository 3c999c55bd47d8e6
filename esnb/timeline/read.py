"""A log as a timeline reads it: what it needs of one, and what it keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import duckdb

from esnb import instants
from esnb.errors import TimelineError, shown
from esnb.event import RecordedEvent
from esnb.timeline.build import SourceSession, Table, build
from esnb.timeline.fold import Fold
from esnb.timeline.moment import as_position, instant_sql
from esnb.timeline.text import unknown

__all__ = ["Read", "Source", "SourceSession", "SourceSnapshot"]


class SourceSnapshot(Protocol):
    @property
    def next_position(self) -> int: ...


class Source(Protocol):
    """What a timeline asks of a log: its snapshots, a session that reads them, its zone."""

    @property
    def session(self) -> SourceSession: ...

    @property
    def zone(self) -> str | None: ...

    def snapshot(self) -> SourceSnapshot: ...


@dataclass(frozen=True)
class Read:
    """The log at one position, read: a cursor, the fold, and the table once it is needed.

    The cursor is for what is answered at once.
    """

    snapshot: SourceSnapshot
    session: SourceSession
    cursor: duckdb.DuckDBPyConnection
    fold: Fold

    @property
    def next_position(self) -> int:
        return self.snapshot.next_position

    @cached_property
    def table(self) -> Table:
        return build(self.session, self.cursor, self.fold, self.next_position)

    def ask(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a SELECT over the interval table.

        It has a cursor of its own: a reader of it is not cut off by the next question.
        """
        return self.session.fresh().sql(sql)

    def ask_events(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a SELECT over ``events``."""
        return self.session.fresh(self.snapshot).sql(sql)

    def check_stream(self, stream: str) -> None:
        """Refuse a `stream` that is not there, naming near ones."""
        if not isinstance(stream, str):
            raise TimelineError(f"{shown(stream)} is not a stream; say its name as text")
        if stream.encode(errors="replace").decode() != stream:
            raise TimelineError(f"{shown(stream)} holds a lone surrogate, as no stream does")
        table = self.table.source
        found = self.cursor.execute(
            f"SELECT 1 FROM {table} AS t WHERE t.stream = ? LIMIT 1",  # noqa: S608 (our own text)
            [stream],
        ).fetchone()
        if found is None:
            near = self.cursor.execute(
                f"SELECT DISTINCT t.stream FROM {table} AS t"  # noqa: S608 (our own text)
                " ORDER BY jaro_winkler_similarity(t.stream, ?) DESC, t.stream LIMIT 20",
                [stream],
            ).fetchall()
            raise unknown("stream", stream, [name for (name,) in near])

    def occurred(self, when: object, zone: str | None) -> str:
        """Return SQL of an instant on the valid clock; an event stands for its own."""
        if isinstance(when, RecordedEvent):
            return instant_sql(when.occurred_on)
        position = as_position(when)
        if position is None:
            return instant_sql(instants.instant(when, declared=zone))
        found = self.cursor.execute(
            "SELECT e.occurred_on FROM events AS e WHERE e.position = ?", [position]
        ).fetchone()
        if found is None:
            raise TimelineError(
                f"there is no event at position {position}; the log has {self.next_position:,}"
            )
        return instant_sql(found[0])
