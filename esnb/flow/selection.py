"""Which events a flow is about, whose cases they belong to, and by which clock they go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol

import duckdb
import pyarrow as pa

from esnb import instants
from esnb.errors import FlowError, QueryError, shown
from esnb.flow.reading import Plain
from esnb.flow.steps import Ints
from esnb.query import gate
from esnb.query.select import Filters
from esnb.query.table import events_sql
from esnb.schema import NO_EVENTS
from esnb.show import visible
from esnb.sqltext import literal, quote
from esnb.timeline.moment import instant_sql

__all__ = ["CHOSEN", "Clock", "LogSelection", "Selection", "SourceLog"]

Clock = Literal["occurred", "recorded"]

_BATCH = 1_000_000
_SHOWN = 60
CHOSEN = "_esnb_chosen"


class SourceLog(Protocol):
    """What a flow asks of a log (see `esnb.eventlog.EventLog`)."""

    @property
    def session(self) -> Any: ...

    @property
    def zone(self) -> str | None: ...

    def snapshot(self) -> Any: ...


class Selection(Protocol):
    """Some events with their cases, wherever they come from."""

    @property
    def clock(self) -> Clock: ...

    @property
    def zone(self) -> str: ...

    @property
    def declared(self) -> str | None:
        """Zone of times that carry none, if one was declared."""
        ...

    @property
    def of(self) -> str:
        """What is selected, in a few words."""
        ...

    @property
    def described(self) -> str:
        """What is selected, whole: also clock, zone, window and position of the log."""
        ...

    @property
    def most(self) -> int | None:
        """How many events there may be at most, if that is known."""
        ...

    def batches(self) -> Iterator[Any]:
        """Yield the events as `esnb.flow.steps.ordered` takes them."""
        ...

    def matching(self, where: str | None, filters: Mapping[str, Any]) -> Ints:
        """Return the positions of all events that a condition and filters ask for."""
        ...

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new cursor for tables of results."""
        ...

    def events_cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new cursor on which ``events`` is the log."""
        ...


class LogSelection:
    """Events of a log, at one snapshot of it.

    Parameters
    ----------
    log
        The log.
    category
        Category, or several, of the streams; all without one.
    by
        Beginning of the tags whose cases are asked for, ``"customer:"``; each stream is a
        case without one.
    clock
        What the events of a case are ordered by, and what waits are measured on.
    window
        From an instant, and before another, on this clock; either may be None.
    streams
        Names of cases; or a table with a column ``stream`` or ``case_id``.
    where
        SQL condition on the columns of an event.
    filters
        See `esnb.query.select.Filters`.

    Raises
    ------
    FlowError
        If one of them cannot be.
    QueryError
        If there is no filter of this name, or the condition does not pass the gate.
    InstantError
        If a time is unreadable, or has no zone where the log declares none.
    """

    _also: tuple[str, ...] = ("position",)

    def __init__(
        self,
        log: SourceLog,
        category: str | Iterable[str] | None = None,
        *,
        by: str | None = None,
        clock: Clock = "occurred",
        window: tuple[object, object] | None = None,
        streams: Any = None,
        where: str | None = None,
        filters: Mapping[str, Any],
    ) -> None:
        if clock not in ("occurred", "recorded"):
            raise FlowError(f"{shown(clock)} is no clock; say 'occurred' or 'recorded'")
        if by is not None and (not isinstance(by, str) or not by):
            raise FlowError(f"by={shown(by)}: say how the tags begin, e.g. 'customer:'")
        given = dict(filters)
        if category is not None:
            given["category"] = category
        if window is not None:
            given |= _window(window, clock, given)
        self.clock: Clock = clock
        self.by = by
        self.zone = log.zone or "UTC"
        self.declared = log.zone
        self.snapshot = log.snapshot()
        # Held: a log that `esnb.read` made goes, with its files, when nothing holds it.
        self._log = log
        self._session = log.session
        self._filters = Filters.read(given, log.zone)
        first, last = (self._filters.instants.get(f"{clock}_{end}") for end in ("from", "to"))
        if first is not None and last is not None and first > last:
            raise FlowError("the window ends before it begins; swap its ends")
        self._where = None if where is None else self._condition(where)
        self._chosen = None if streams is None else _chosen(streams, by)

    @property
    def position(self) -> int:
        """How many events the log has."""
        return int(self.snapshot.next_position)

    @property
    def of(self) -> str:
        categories = ", ".join(self._filters.texts.get("category", ()))
        return f"{categories} by {self.by}" if self.by and categories else self.by or categories

    @property
    def described(self) -> str:
        parts = [visible(self.of, _SHOWN) or "all streams"]
        for name, texts in self._filters.texts.items():
            if name != "category":
                parts.append(f"{name} " + visible(", ".join(texts), _SHOWN))
        parts.append(f"by {self.clock}_on")
        for name, at in self._filters.instants.items():
            clock, _, side = name.partition("_")
            local = at.astimezone(instants.zone(self.zone)).isoformat(" ")
            which = "" if clock == self.clock else f"{clock}_on "
            parts.append(f"{which}{'from' if side == 'from' else 'before'} {local}")
        parts += [f"{name} {position}" for name, position in self._filters.positions.items()]
        if self._where is not None:
            parts.append("where " + visible(self._where.strip(), _SHOWN))
        if self._chosen is not None:
            parts.append(f"{self._chosen.num_rows:,} named {self._chosen.column_names[0]}s")
        parts.append(self.zone)
        return ", ".join(parts) + f"; log at position {self.position:,}"

    @property
    def most(self) -> int | None:
        return None if self.by else self.position

    def batches(self) -> Iterator[Any]:
        segments = self._filters.prune(self.snapshot.segments)
        tail = self._filters.tail(self.snapshot)
        self.snapshot.touch(segments)
        if self._plain and self._where is None and self._chosen is None:
            plain = Plain.of(self._filters, self.clock)
            if plain is not None:
                yield from plain.batches(segments, tail)
                return
        if self._where is not None:
            # It may ask the table events, too.
            cursor, events = self.events_cursor(), "FROM events"
        else:
            cursor = self.cursor()
            events = events_sql(cursor, segments, tail)
        if self._chosen is not None:
            cursor.register(CHOSEN, self._chosen)
        relation = cursor.sql(self._select(events))
        yield from relation.to_arrow_reader(_BATCH)

    @property
    def sql(self) -> str:
        """SQL of the same events over the table ``events`` of the log.

        ``case_id``, ``event_type``, ``time`` (microseconds since 1970) and ``position``; cases
        that were named are asked for as ``_esnb_chosen``.
        """
        return self._select("FROM events")

    def _select(self, events: str) -> str:
        conditions = [*conditions_sql(self._filters)]
        if self._where is not None:
            conditions.append(f"({self._where})")
        by_case = self._chosen is not None and self._chosen.column_names == ["case_id"]
        if self._chosen is not None and not by_case:
            conditions.append(f"e.stream IN (SELECT c.stream FROM {CHOSEN} AS c)")  # noqa: S608
        sql = (
            f"SELECT {self._case()} AS case_id, e.event_type,"  # noqa: S608
            f" epoch_us(e.{self.clock}_on) AS time,"
            f" {', '.join(f'e.{name}' for name in self._also)} FROM ({events}) AS e"
        )
        if conditions:
            sql += " WHERE " + " AND ".join(conditions)
        if by_case:
            sql = (
                f"SELECT s.* FROM ({sql}) AS s"  # noqa: S608
                f" WHERE s.case_id IN (SELECT c.case_id FROM {CHOSEN} AS c)"
            )
        return sql

    @property
    def _plain(self) -> bool:
        """Whether a case is a stream, and nothing else is asked of an event."""
        return self.by is None

    def _case(self) -> str:
        """Return SQL of the case, or the cases, of an event ``e``."""
        if self.by is None:
            return "e.stream"
        tags = f"lambda t: starts_with(t, {literal(self.by)})"
        return f"unnest(list_filter(list_distinct(e.tags), {tags}))"

    def matching(self, where: str | None, filters: Mapping[str, Any]) -> Ints:
        """Return the positions of the events of the log that a condition and filters ask for."""
        conditions = [*conditions_sql(Filters.read(filters, self.declared))]
        if where is not None:
            conditions.append(f"({self._condition(where)})")
        sql = f"SELECT e.position FROM events AS e WHERE {' AND '.join(conditions) or 'true'}"  # noqa: S608
        positions: Ints = self.events_cursor().sql(sql).to_arrow_table()["position"].to_numpy()
        return positions

    def cursor(self) -> duckdb.DuckDBPyConnection:
        cursor: duckdb.DuckDBPyConnection = self._session.fresh()
        return cursor

    def events_cursor(self) -> duckdb.DuckDBPyConnection:
        cursor: duckdb.DuckDBPyConnection = self._session.fresh(self.snapshot)
        return cursor

    def _condition(self, text: str) -> str:
        if not isinstance(text, str):
            raise FlowError(f"where={shown(text)}: say an SQL condition on the columns of an event")
        cursor = self.cursor()
        cursor.execute(f"CREATE TEMP VIEW events AS {events_sql(cursor, (), NO_EVENTS)}")
        # Alone as well as in brackets, so that it cannot close these.
        for one in (f"({text}\n)", f"{text}\n"):
            gate.check(cursor, f"SELECT {one} FROM events")  # noqa: S608 (looked at, not run)
        try:
            cursor.execute(f"SELECT 1 FROM events AS e WHERE ({text}\n) LIMIT 0")  # noqa: S608
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise QueryError(f"{shown(text)} is no condition on an event: {reason}") from None
        return f"{text}\n"


def conditions_sql(filters: Filters) -> Iterator[str]:
    """Yield filters as SQL over a row ``e`` of the events."""
    for name, values in filters.texts.items():
        texts = ", ".join(map(literal, values))
        if not values:
            yield "false"
        elif name == "tag":
            yield f"list_has_any(e.tags, [{texts}])"
        else:
            yield f"e.{name} IN ({texts})"
    for name, at in filters.instants.items():
        clock, _, side = name.partition("_")
        yield f"e.{clock}_on {'>=' if side == 'from' else '<'} {instant_sql(at)}"
    if "after" in filters.positions:
        yield f"e.position > {filters.positions['after']}"
    if "before" in filters.positions:
        yield f"e.position < {filters.positions['before']}"


def _window(
    window: tuple[object, object], clock: Clock, given: Mapping[str, Any]
) -> dict[str, object]:
    if isinstance(window, str | bytes) or not isinstance(window, Iterable):
        raise FlowError(f"window={shown(window)}: say a pair of instants, (from, to)")
    ends = tuple(window)
    if len(ends) != 2:
        raise FlowError(f"window={shown(window)}: say a pair of instants, (from, to)")
    names = (f"{clock}_from", f"{clock}_to")
    twice = [name for name in names if given.get(name) is not None]
    if twice:
        raise FlowError(f"window= and {twice[0]}= say the same thing; leave one out")
    return dict(zip(names, ends, strict=True))


def _chosen(streams: Any, by: str | None) -> Any:
    """Return the names that `streams` gives as a table of one column: ``case_id`` or ``stream``."""
    if isinstance(streams, str):
        streams = [streams]
    columns = getattr(streams, "column_names", None) or getattr(streams, "columns", None)
    if columns is not None:
        named = [name for name in ("stream", "case_id") if name in list(columns)]
        if not named:
            raise FlowError("streams=: the table has no column 'stream' or 'case_id'")
        if hasattr(streams, "to_arrow_table"):
            table = streams.project(quote(named[0])).to_arrow_table()
        else:
            table = pa.table(streams[[named[0]]] if hasattr(streams, "iloc") else streams)
        names = table.column(named[0]).cast(pa.string())
        # Without tags a case is a stream; a filter on streams is one that files can be read by.
        kind = "stream" if by is None else named[0]
        return pa.table({kind: names.unique().drop_null()})
    try:
        texts = list(dict.fromkeys(streams))
    except TypeError:
        texts = [None]
    for text in texts:
        if not isinstance(text, str):
            raise FlowError(
                f"streams={shown(streams)}: give names, or a table with a column 'stream'"
            )
    return pa.table({"stream" if by is None else "case_id": pa.array(texts, pa.string())})
