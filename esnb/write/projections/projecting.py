"""From a batch of events to changes of rows: by handlers, by SELECTs, or from states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from esnb import duck, instants
from esnb.errors import EsnbError, ProjectionError, shown
from esnb.event import RecordedEvent
from esnb.log import Log
from esnb.log.finder import events_of
from esnb.log.subscription import Batch, Wanted
from esnb.sqltext import quote
from esnb.write.projections.changes import Changes, Columns, Group, Work
from esnb.write.projections.columns import SCALE
from esnb.write.projections.projection import Description, Table
from esnb.write.projections.readmodels.sink import DeadLetter

if TYPE_CHECKING:
    from esnb.timeline import Timeline

__all__ = ["Made", "Method", "method_of"]

_SQL = {
    "text": "VARCHAR",
    "int": "BIGINT",
    "decimal": f"DECIMAL(38, {SCALE})",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "instant": "TIMESTAMPTZ",
    "date": "DATE",
    "json": "VARCHAR",
}
_WHOLE = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
# So many streams are looked up; of more, all states are read.
_FEW = 500
# Columns of a state beside its fields.
_OF_STATE = ("revision", "position")


@dataclass(frozen=True, eq=False)
class Made:
    """What became of a batch.

    Attributes
    ----------
    through
        Position up to which `changes` and `letters` speak; below the batch's where an event
        stopped it.
    error
        What stopped it, or None.
    """

    changes: Changes
    through: int
    letters: tuple[DeadLetter, ...] = ()
    error: ProjectionError | None = None


class Method(ABC):
    """How changes are made of events.

    Attributes
    ----------
    tables
        Columns by table.
    wanted
        Which events it reads.
    size
        Events in a batch, unless said otherwise.
    by_event
        Whether one event can be taken alone, as a dead letter is.
    """

    size: int
    by_event: bool = True

    def __init__(self, description: Description) -> None:
        self.name = description.name
        self.tables: Mapping[str, Columns] = {
            name: table.columns for name, table in description.tables.items()
        }
        self.wanted = Wanted(description.categories, description.event_types)

    @abstractmethod
    def make(self, batch: Batch, *, nul: bool, keep: bool) -> Made:
        """Return what a batch does; with `keep`, events at fault become dead letters."""

    def blame(self, event: RecordedEvent, handler: str, error: BaseException) -> ProjectionError:
        """Return the error for an event that cannot be taken."""
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return ProjectionError(
            f"projection {self.name!r} stopped before position {event.position}: {handler} cannot "
            f"take {shown(event.event_type)} of {shown(event.stream)} (event id "
            f"{shown(event.event_id)}): {told}. Mend the handler and run it again, or set such "
            "events aside with on_error='dead_letter'",
            projection=self.name,
            position=event.position,
            event_id=event.event_id,
            event_type=event.event_type,
            stream=event.stream,
            handler=handler,
        )


def letter_of(error: ProjectionError) -> DeadLetter:
    """Return the dead letter for an event that cannot be taken."""
    assert error.position is not None and error.event_id is not None  # noqa: S101, PT018
    cause = error.__cause__
    told = str(error) if cause is None else f"{type(cause).__name__}: {cause}"
    return DeadLetter(
        error.position,
        error.event_id,
        str(error.stream),
        str(error.event_type),
        str(error.handler),
        told[:2000],
        instants.iso(instants.now()),
    )


def method_of(description: Description, log: Log) -> Method:
    """Return how a projection makes changes of the events of a log."""
    if description.states is not None:
        return States(description, log)
    return Selects(description) if description.set_based else Handlers(description)


class Handlers(Method):
    """Python, event by event."""

    size = 5000

    def __init__(self, description: Description) -> None:
        super().__init__(description)
        self._description = description

    def make(self, batch: Batch, *, nul: bool, keep: bool) -> Made:
        work = Work(nul=nul)
        projection = self._description.instance(work)
        handlers, rest = self._description.handlers, self._description.rest
        letters: list[DeadLetter] = []
        for event in batch.events():
            kind, function = handlers.get(event.event_type, (None, rest))
            if function is None:
                continue
            try:
                function(projection, event if kind is None else kind.from_recorded(event))
                work.keep()
            except Exception as error:
                work.forget()
                name = f"{type(projection).__name__}.{function.__name__}"
                blamed = self.blame(event, name, error)
                blamed.__cause__ = error
                if not keep:
                    return Made(work.changes(), event.position - 1, tuple(letters), blamed)
                letters.append(letter_of(blamed))
        return Made(work.changes(), batch.through, tuple(letters))


class Selects(Method):
    """SQL, a batch at once."""

    size = 200_000

    def __init__(self, description: Description) -> None:
        super().__init__(description)
        self._tables = description.tables
        self._connection = duck.connect()
        self._connection.execute(
            "set global TimeZone='UTC'; set global enable_external_access=false"
        )

    def make(self, batch: Batch, *, nul: bool, keep: bool) -> Made:
        events = batch.table
        letters: list[DeadLetter] = []
        while True:
            try:
                return Made(self._changes(events), batch.through, tuple(letters))
            except _Failed as failed:
                row, culprit = self._culprit(events, failed)
                event = next(events_of(events.slice(row, 1).combine_chunks().to_reader()))
                blamed = self.blame(event, culprit.handler, culprit.reason)
                blamed.__cause__ = culprit.reason
            if not keep:
                before = self._changes(events.slice(0, row))
                return Made(before, event.position - 1, tuple(letters), blamed)
            letters.append(letter_of(blamed))
            events = pa.concat_tables([events.slice(0, row), events.slice(row + 1)])

    def _culprit(self, events: pa.Table, failed: _Failed) -> tuple[int, _Failed]:
        """Return the row of the event without which those before it go well."""
        good, bad = 0, events.num_rows
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                self._changes(events.slice(0, middle))
                good = middle
            except _Failed as one:
                bad, failed = middle, one
        if not events.num_rows:
            raise ProjectionError(
                f"projection {self.name!r}: {failed.handler} fails even without events: "
                f"{failed.reason}",
                projection=self.name,
                handler=failed.handler,
            )
        return bad - 1, failed

    def _changes(self, events: pa.Table) -> Changes:
        if not events.num_rows:
            return Changes()
        groups, gone = [], {}
        for name, table in self._tables.items():
            try:
                group, keys = self._selected(name, table, events)
            except (duckdb.Error, ValueError) as error:
                raise _Failed(f"the select of {name!r}", error) from error
            groups.append(group)
            if keys:
                gone[name] = keys
        return Changes(groups, gone)

    def _selected(self, name: str, table: Table, events: pa.Table) -> tuple[Group, list[str]]:
        connection = self._connection
        connection.register("events", events)
        found = connection.sql(str(table.select))
        unknown = set(found.columns) - {"key", *table.columns, table.deleted}
        if "key" not in found.columns or unknown:
            raise ProjectionError(
                f"projection {self.name!r}: the select of {name!r} must give a column key and "
                f"columns of the table; it gives {', '.join(map(shown, found.columns))}",
                projection=self.name,
            )
        given = [column for column in found.columns if column in table.columns]
        listed = [f"{quote('key')}::VARCHAR as key"]
        listed += [f"{quote(c)}::{_SQL[table.columns[c]]} as {quote(c)}" for c in given]
        deleted = "false" if table.deleted is None else f"coalesce({quote(table.deleted)}, false)"
        rows = found.project(f"{', '.join(listed)}, {deleted} as _esnb_deleted").to_arrow_table()
        keys = rows["key"]
        if keys.null_count or len(keys.unique()) < len(keys):
            raise ValueError("a key is NULL, or stands twice; group by it")
        removed = rows.filter(rows["_esnb_deleted"])["key"].to_pylist()
        if removed:
            rows = rows.filter(pc.invert(rows["_esnb_deleted"]))
        sets = {column: rows[column] for column in given if column not in table.add}
        adds = {column: rows[column] for column in given if column in table.add}
        return Group(name, False, rows["key"], sets, adds, sparse=True), removed


class States(Method):
    """The newest state of each aggregate that a batch touches, from its timeline."""

    size = 1_000_000
    by_event = False

    def __init__(self, description: Description, log: Log) -> None:
        super().__init__(description)
        assert description.states is not None  # noqa: S101 (the caller has looked)
        states, self._table, options = description.states
        if isinstance(states, type):
            if not hasattr(log, "timeline"):
                raise ProjectionError("open the log with esnb.open to project states")
            self._timeline: Timeline = log.timeline(states, **options)
        else:
            self._timeline = states
        self.wanted = Wanted((self._timeline.category,))
        self._selected: dict[str, str] = {}
        columns: dict[str, str] = {}
        found = self._timeline.as_of(-1)
        fields = set(self._timeline.fields)
        for name, kind in zip(found.columns, found.types, strict=True):
            if name in fields or name in _OF_STATE:
                columns[name], self._selected[name] = _column(name, kind)
        self.tables = {self._table: columns}

    def make(self, batch: Batch, *, nul: bool, keep: bool) -> Made:
        if not batch.table.num_rows:
            return Made(Changes(), batch.through)
        try:
            return Made(self._changes(batch), batch.through)
        except (EsnbError, duckdb.Error) as error:
            raise ProjectionError(
                f"projection {self.name!r} stopped after position {batch.after}: the states as of "
                f"position {batch.through} cannot be told: {error}",
                projection=self.name,
            ) from error

    def _changes(self, batch: Batch) -> Changes:
        touched = batch.table["stream"].unique()
        states = self._timeline.as_of(batch.through)
        listed = ", ".join(["stream as key", *self._selected.values()])
        if len(touched) <= _FEW:
            values = [duckdb.ConstantExpression(stream) for stream in touched.to_pylist()]
            states = states.filter(duckdb.ColumnExpression("stream").isin(*values))
        rows = states.project(listed).to_arrow_table()
        if len(touched) > _FEW and batch.after >= 0:
            rows = rows.filter(pc.is_in(rows["key"], touched))
        gone = sorted(set(touched.to_pylist()) - set(rows["key"].to_pylist()))
        columns = {name: rows[name] for name in self._selected}
        return Changes([Group(self._table, True, rows["key"], columns, {})], {self._table: gone})


class _Failed(Exception):
    """A SELECT that fails over some events."""

    def __init__(self, handler: str, reason: Exception) -> None:
        super().__init__(str(reason))
        self.handler = handler
        self.reason = reason


def _column(name: str, kind: Any) -> tuple[str, str]:
    """Return the kind of a column of a timeline, and the SQL that gives it."""
    column, text = quote(name), str(kind)
    if text == "VARCHAR":
        return "text", column
    if text in _WHOLE:
        return "int", f"{column}::BIGINT as {column}"
    if text.startswith("DECIMAL") and kind.children[1][1] <= SCALE:
        return "decimal", f"{column}::{_SQL['decimal']} as {column}"
    plain = {"DOUBLE": "float", "FLOAT": "float", "BOOLEAN": "bool", "DATE": "date",
             "TIMESTAMP WITH TIME ZONE": "instant"}  # fmt: skip
    if text in plain:
        return plain[text], f"{column}::{_SQL[plain[text]]} as {column}"
    if text.startswith(("STRUCT", "MAP", "JSON")) or text.endswith("[]"):
        return "json", f"to_json({column})::VARCHAR as {column}"
    return "text", f"{column}::VARCHAR as {column}"
