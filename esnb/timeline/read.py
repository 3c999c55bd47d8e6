"""A log as a timeline reads it: what it needs of one, and what it keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import duckdb

from esnb import instants
from esnb.errors import QueryError, TimelineError, shown
from esnb.event import RecordedEvent
from esnb.query import gate
from esnb.query.names import quote
from esnb.timeline.fold import Fold
from esnb.timeline.moment import as_position, instant_sql
from esnb.timeline.store import Notes, Store
from esnb.timeline.table import Table
from esnb.timeline.text import unknown

__all__ = ["Read", "Source", "SourceSession", "SourceSnapshot"]


class SourceSession(Protocol):
    """What a timeline asks of the session of a log (see `esnb.query.session.Session`)."""

    @property
    def derived(self) -> Path: ...

    @property
    def temporary(self) -> Path: ...

    def fresh(self, snapshot: Any = None) -> duckdb.DuckDBPyConnection: ...


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


class Read:
    """The log at one position: its events, what was noted of them, the states.

    The cursor is for what is answered at once.
    """

    def __init__(self, source: Source, snapshot: SourceSnapshot) -> None:
        self.snapshot = snapshot
        self.session = source.session
        self._source = source
        self._notes = Notes(self.session.derived)
        self._store: Store | None = None
        self._fold: Fold | None = None

    @cached_property
    def cursor(self) -> duckdb.DuckDBPyConnection:
        return self.session.fresh(self.snapshot)

    @property
    def next_position(self) -> int:
        return self.snapshot.next_position

    def recall(self, key: str) -> Mapping[str, Any] | None:
        return self._notes.recall(key)

    def note(self, key: str, content: Mapping[str, Any]) -> None:
        self._notes.note(key, content)

    @property
    def fold(self) -> Fold:
        """What is folded; see `of`."""
        if self._fold is None:
            raise AssertionError("the definition was not asked yet")
        return self._fold

    def of(self, fold: Fold, store: Store | None) -> Read:
        """Say what is folded; a `store` of the same fold knows its files already."""
        self._fold = fold
        if store is None or store.fingerprint != fold.fingerprint:
            store = Store(self.session.derived, fold)
        self._store = store
        return self

    @property
    def store(self) -> Store:
        if self._store is None:
            raise AssertionError("the definition was not asked yet")
        return self._store

    @property
    def table(self) -> Table:
        """The interval table; its files are looked after at each question."""
        return self.store.table(
            lambda: self.session.fresh(self.snapshot),
            self.next_position,
            lambda: self._source.snapshot().next_position,
        )

    def ask(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a SELECT over the interval table.

        It has a cursor of its own: a reader of it is not cut off by the next question.
        """
        return self.session.fresh().sql(sql)

    def ask_events(self, sql: str) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a SELECT over ``events``."""
        return self.session.fresh(self.snapshot).sql(sql)

    def condition(self, text: str, fields: list[str]) -> str:
        """Return SQL of a condition on the fields of a row ``t``, after a look at it.

        Raises
        ------
        QueryError
            If it is not one condition on the fields.
        """
        cursor = self.session.fresh()
        columns = ", ".join(f"t.{quote(name)}" for name in fields) or "1"
        rows = f"(SELECT {columns} FROM {self.table.source} AS t LIMIT 0)"  # noqa: S608 (quoted)
        gate.check(cursor, f"SELECT ({text}\n) FROM states")  # noqa: S608 (looked at, not run)
        try:
            cursor.execute(f"SELECT 1 FROM {rows} AS t WHERE ({text}\n)")  # noqa: S608
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise QueryError(f"{shown(text)} is no condition on the fields: {reason}") from None
        return f"{text}\n"

    def check_stream(self, stream: str) -> None:
        """Refuse a `stream` that is not there, naming near ones."""
        if not isinstance(stream, str):
            raise TimelineError(f"{shown(stream)} is not a stream; say its name as text")
        if stream.encode(errors="replace").decode() != stream:
            raise TimelineError(f"{shown(stream)} holds a lone surrogate, as no stream does")
        table = self.table
        cursor = self.session.fresh()
        if not table.has(cursor, stream):
            near = cursor.execute(
                f"SELECT t.stream FROM {table.open_rows()} AS t"  # noqa: S608 (our own text)
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
