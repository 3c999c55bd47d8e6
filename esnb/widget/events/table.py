"""Events, or any other rows, as a table of any length: sorted, searched, looked at one by one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import duckdb
import numpy as np
import traitlets

from esnb.duck import interruptible
from esnb.errors import QueryError, shown
from esnb.eventlog import EventLog
from esnb.flow.selection import conditions_sql
from esnb.query.select import Filters
from esnb.sqltext import quote
from esnb.widget.base.piece import Piece, intent
from esnb.widget.base.session import Session
from esnb.widget.events.jsontree import tree
from esnb.widget.events.keptrows import KeptRows
from esnb.widget.events.logrows import LogRows
from esnb.widget.events.rows import KINDS, Filter, Ints, Order, Rows, nearest

__all__ = ["EventTable"]

_CELL = 300  # characters of a cell; all of them are in the details
_FIRST, _PAGE = 100, 1_000
_STALE: Mapping[str, Any] = {"stale": True}
_ORDERS = 3  # that are kept: the way back is short
_COLUMNS = 60
_FEW_STREAMS = 50
_CHOSEN = "chosen_streams"
_EVENT_COLUMNS = ("position", "occurred_on", "stream", "event_type", "actor", "data")
_WORDS = 20_000  # characters of a field in the details
_NUMBERS = ("INT", "DECIMAL", "DOUBLE", "FLOAT", "UTINYINT", "USMALLINT", "UBIGINT")


@dataclass(frozen=True, eq=False)
class _Now:
    """What the browser shows: questions about it carry its number."""

    age: int
    rows: Rows
    order: Order
    names: list[str]


class _Opened(Protocol):
    """What gives the rows of a table, as they are now."""

    what: str
    variable: str

    def rows(self) -> Rows: ...


class _OfLog:
    what = "events"

    def __init__(self, log: EventLog, variable: str) -> None:
        self.log = log
        self.variable = variable
        self._rows: LogRows | None = None

    def rows(self) -> Rows:
        snapshot = self.log.snapshot()
        if self._rows is None or self._rows.snapshot is not snapshot:
            self._rows = LogRows(self.log, snapshot)
        return self._rows


class _OfTable:
    what = "rows"

    def __init__(self, source: Any) -> None:
        self._source: Any = source
        self.variable = "rows" if hasattr(source, "to_arrow_reader") else "frame"
        self._rows: KeptRows | None = None

    def rows(self) -> Rows:
        if self._rows is None:
            self._rows = KeptRows(self._source)
            self._source = None
        return self._rows


class EventTable(Piece):
    """A table of events, or of any other rows, of which only those in sight are in the browser.

    Parameters
    ----------
    source
        `EventLog`, `Session` (its events, narrowed as it says), relation of DuckDB, or frame of
        pandas, Polars or Arrow.
    sort, descending
        Column to sort by, and in which direction; missing values are last, rows of one value
        stay as they come.
    where
        SQL condition on the columns, as `EventLog.flow` takes it.
    columns
        Columns to show, in this order; all of them, for events the usual ones, without.
    filters
        Triples ``(column, kind, value)``, all of which hold: kind is ``"contains"``, ``"is"`` or
        ``"is not"``, the value a text as the table shows it, None for a missing one.
    find, find_in
        Text to look for, in any case of letters, in the columns that are shown, or in one.
    session
        Session to which the chosen row goes (``event_id``), and from which it comes.
    key
        As in `Piece`.

    Attributes
    ----------
    chosen
        Number of the chosen row, which of an event is its position, or None.  It can be set, and
        observed.

    Raises
    ------
    QueryError
        If there is no such column, or a filter or `where` cannot be one.
    """

    name = "table"
    follows = ("window", "event_types", "streams", "event_id", "clock")
    defaults: ClassVar[Mapping[str, Any]] = {
        "sort": None,
        "descending": False,
        "columns": None,
        "filters": [],
        "find": "",
        "find_in": None,
    }

    chosen = traitlets.Int(None, allow_none=True)

    def __init__(
        self,
        source: Any,
        *,
        sort: str | None = None,
        descending: bool = False,
        where: str = "",
        columns: Sequence[str] | None = None,
        filters: Iterable[tuple[str | None, str, str | None]] = (),
        find: str = "",
        find_in: str | None = None,
        session: Session | None = None,
        key: str | None = None,
    ) -> None:
        self._narrowed = isinstance(source, Session)
        if isinstance(source, Session):
            session = session or source
            self._narrowing: Session | None = source
        else:
            # A log beside a session is looked at as the session says.
            same = session is not None and source is session.log
            self._narrowing = session if same else None
        self._source: _Opened
        if isinstance(source, Session):
            self._source = _OfLog(source.log, "session")
        elif isinstance(source, EventLog):
            self._source = _OfLog(source, "log")
        else:
            self._source = _OfTable(source)
        self._where = where
        self._condition = self._source.rows().checked(where) if where else ""
        self._orders: dict[Any, tuple[Rows, Order, object]] = {}
        self._shows: _Now | None = None
        self._by = ""
        given = {
            "sort": sort,
            "descending": descending and sort is not None,
            "columns": None if columns is None else list(columns),
            "filters": [list(one) for one in filters],
            "find": find,
            "find_in": find_in,
        }
        self._check(given)
        super().__init__(session=session, key=key, **given)
        try:
            self._check(self.settings)
        except QueryError:
            # What was kept under the key was of another table.
            self.change(**given)

    # --- settings ----------------------------------------------------------------------------

    def change(self, **settings: Any) -> None:
        """Change settings, from Python; the browser follows.

        Raises
        ------
        QueryError
            If there is no such column, or a filter cannot be one.  Nothing was changed.
        """
        self._check({**self.settings, **settings})
        super().change(**settings)

    def _check(self, settings: Mapping[str, Any]) -> None:
        names = self._source.rows().names
        columns = settings["columns"]
        if columns is not None and (
            not isinstance(columns, list)
            or not columns
            or len(set(map(str, columns))) < len(columns)
        ):
            raise QueryError(f"columns={shown(columns)}: say some columns, each once")
        used = [settings["sort"], settings["find_in"], *(columns or ())]
        for one in settings["filters"]:
            if not isinstance(one, list | tuple) or len(one) != 3 or one[1] not in KINDS:
                kinds = ", ".join(map(repr, KINDS))
                raise QueryError(f"{shown(one)} is no filter: say (column, one of {kinds}, text)")
            if not (one[2] is None or isinstance(one[2], str)):
                raise QueryError(f"{shown(one)}: say the value as a text, as the table shows it")
            if one[0] is None and one[1] != "contains":
                raise QueryError(f"{shown(one)}: name the column")
            used.append(one[0])
        for name in used:
            if name is not None and name not in names:
                raise QueryError(nearest(name, names))
        if not isinstance(settings["find"], str):
            raise QueryError(f"find={shown(settings['find'])}: say a text")

    def _shown(self, rows: Rows) -> list[str]:
        columns = self.settings["columns"]
        if columns is not None:
            return list(columns)
        if self._source.what == "events":
            return list(_EVENT_COLUMNS)
        return list(rows.names[:_COLUMNS])

    def _filters(self) -> list[Filter]:
        found = [Filter(*one) for one in self.settings["filters"]]
        if self.settings["find"]:
            found.append(Filter(self.settings["find_in"], "contains", self.settings["find"]))
        return found

    def _conditions(self, rows: Rows) -> list[str]:
        found = [self._condition] if self._condition else []
        found += [rows.condition(one, self._shown(rows)) for one in self._filters()]
        session = self._narrowing
        if session is not None:
            given = session.filters()
            streams = given.get("stream")
            if streams is not None and len(streams) > _FEW_STREAMS:
                del given["stream"]
                found.append(f"e.stream IN (SELECT c.stream FROM {_CHOSEN} AS c)")  # noqa: S608
            found += conditions_sql(Filters.read(given, session.log.zone))
        return found

    def _cursor(self, rows: Rows) -> duckdb.DuckDBPyConnection:
        cursor = rows.cursor()
        if self._narrowing is not None and self._narrowing.streams is not None:
            cursor.register(_CHOSEN, self._narrowing.streams.table)
        return cursor

    def _ordered(self) -> tuple[Rows, Order]:
        """Return the rows as they are now, and those that are shown in their order."""
        rows = self._source.rows()
        conditions = self._conditions(rows)
        session = self._narrowing
        streams = None if session is None else session.streams
        sort, descending = self.settings["sort"], bool(self.settings["descending"])
        # What is kept holds on to both, so that no other gets their identity.
        key = (id(rows), id(streams), tuple(conditions), sort, descending)
        found = self._orders.pop(key, None)
        if found is None:
            order = rows.order(self._cursor(rows), conditions, sort, descending)
            found = (rows, order, streams)
        self._orders[key] = found
        while len(self._orders) > _ORDERS:
            self._orders.pop(next(iter(self._orders)))
        return found[0], found[1]

    # --- without a browser -------------------------------------------------------------------

    @property
    def sql(self) -> str:
        """SQL of `data`: over ``events``, as `EventLog.sql` takes it, or over ``rows``."""
        rows = self._source.rows()
        columns = ", ".join(f"e.{quote(name)}" for name in self._shown(rows))
        sql = f"SELECT {columns} FROM {rows.table} AS e"  # noqa: S608
        conditions = self._conditions(rows)
        if conditions:
            sql += f" WHERE {' AND '.join(conditions)}"
        by = [f"e.{rows.number}"]
        if self.settings["sort"] is not None:
            direction = "DESC" if self.settings["descending"] else "ASC"
            by.insert(0, f"e.{quote(self.settings['sort'])} {direction} NULLS LAST")
        return f"{sql} ORDER BY {', '.join(by)}"

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the rows that are shown, with the columns that are shown, in their order."""
        return self._cursor(self._source.rows()).sql(self.sql)

    @property
    def selected(self) -> dict[str, Any] | None:
        """All columns of the chosen row, by name; None without one."""
        rows = self._source.rows()
        self._follow_event(rows)
        if self.chosen is None:
            return None
        columns = ", ".join(f"e.{quote(name)}" for name in rows.names)
        sql = f"SELECT {columns} FROM {rows.table} AS e WHERE e.{rows.number} = ?"  # noqa: S608
        with interruptible():
            row = rows.cursor().execute(sql, [self.chosen]).fetchone()
        return None if row is None else dict(zip(rows.names, row, strict=True))

    @property
    def code(self) -> str:
        given = [self._source.variable]
        if self._where:
            given.append(f"where={self._where!r}")
        for name, default in self.defaults.items():
            value = self.settings[name]
            idle = name == "descending" and self.settings["sort"] is None
            if value != default and not idle:
                if name == "filters":
                    value = [tuple(one) for one in value]
                given.append(f"{name}={value!r}")
        if self.session is not None and not self._narrowed:
            given.append("session=session")
        if self._key is not None:
            given.append(f"key={self._key[1]!r}")
        return f"esnb.widget.EventTable({', '.join(given)})"

    def close(self) -> None:
        """Let go of the session, the browser and the rows."""
        super().close()
        self._orders = {}
        self._shows = None

    def title(self) -> str:
        rows = self._source.rows()
        return f"{rows.total:,} {self._source.what}"

    # --- with one ----------------------------------------------------------------------------

    def _session_changed(self, change: Any) -> None:
        if change["name"] == "event_id":
            if change["new"] is None:
                self.chosen = None
            if not self._by:
                super()._session_changed(change)
        elif self._narrowing is not None:
            super()._session_changed(change)

    @traitlets.observe("chosen")
    def _chosen_changed(self, change: Any) -> None:
        rows = self._source.rows()
        if self.session is not None and change["new"] is not None and "event_id" in rows.names:
            (row,) = rows.texts(np.array([change["new"]]), ["event_id"])
            self.session.event_id = row[0]
        # Who chose it by a key or click is at the next row already, maybe.
        self.say({"event": "chosen", "by": self._by})

    @intent
    def ask_open(self) -> Mapping[str, Any]:
        """Return what is shown, and its first page."""
        rows, order = self._ordered()
        names = self._shown(rows)
        shows = self._shows
        if shows is None or shows.order is not order or shows.names != names:
            shows = self._shows = _Now(1 if shows is None else shows.age + 1, rows, order, names)
        types = [rows.type_of(name) for name in names]
        return {
            "age": shows.age,
            "what": self._source.what,
            "columns": [
                {"name": name, "type": kind, "right": _right(kind)}
                for name, kind in zip(names, types, strict=True)
            ],
            "all": list(rows.names),
            "count": order.count,
            "total": rows.total,
            "zone": rows.zone,
            "where": self._where,
            "narrowed": self._narrowed_by(),
            "rows": rows.texts(order.part(0, _FIRST), names, _CELL + 1),
            "place": self._place(rows, order),
        }

    def _narrowed_by(self) -> list[str]:
        """Return in words how the session narrows the events."""
        session = self._narrowing
        if session is None:
            return []
        narrowing = ("window", "event_types", "streams")
        words = [chip["words"] for chip in session.chips() if chip["trait"] in narrowing]
        return words if session.category is None else [session.category, *words]

    @intent
    def ask_page(self, age: int, first: int, count: int) -> Mapping[str, Any]:
        """Return rows from a place on; nothing if they were asked for in another order."""
        shows = self._shows
        if shows is None or shows.age != age:
            return _STALE
        part = shows.order.part(max(0, first), max(0, min(count, _PAGE)))
        return {"rows": shows.rows.texts(part, shows.names, _CELL + 1)}

    @intent
    def ask_row(self, age: int, place: int, by: str = "") -> Mapping[str, Any]:
        """Choose a row, and return all its fields; `by` names the view in which it was chosen."""
        found = self._at(age, place)
        if found is None:
            return _STALE
        rows, number = found
        (texts,) = rows.texts(number, rows.names)
        self._by = by
        try:
            self.chosen = int(number[0])
        finally:
            self._by = ""
        return {
            "number": self.chosen,
            "fields": [
                {
                    "name": name,
                    "type": kind,
                    "text": None if text is None else text[:_WORDS],
                    "length": 0 if text is None else len(text),
                    "tree": None if text is None else tree(text),
                }
                for name, kind, text in zip(rows.names, rows.types, texts, strict=True)
            ],
        }

    @intent
    def ask_text(self, age: int, place: int, column: str | None = None) -> Mapping[str, Any]:
        """Return a field of a row, or the row as a JSON object of texts, whole."""
        found = self._at(age, place)
        if found is None:
            return _STALE
        rows, number = found
        names = list(rows.names) if column is None else [_known(column, rows)]
        (texts,) = rows.texts(number, names)
        if column is not None:
            return {"text": texts[0]}
        return {"text": json.dumps(dict(zip(names, texts, strict=True)), ensure_ascii=False)}

    @intent
    def ask_place(self) -> Mapping[str, Any]:
        """Return where the row stands that the session, or Python, has chosen."""
        shows = self._shows
        if shows is None:
            return {"place": None}
        return {"age": shows.age, "place": self._place(shows.rows, shows.order)}

    @intent
    def ask_filter(self, age: int, place: int, column: str, kind: str) -> Mapping[str, Any]:
        """Show only rows with the value that a row has in a column, or only others."""
        found = self._at(age, place)
        if found is None:
            return _STALE
        rows, number = found
        ((value,),) = rows.texts(number, [_known(column, rows)])
        one = [column, kind, value]
        others = [list(other) for other in self.settings["filters"] if list(other) != one]
        self.change(filters=[*others, one])
        return {}

    def _at(self, age: int, place: int) -> tuple[Rows, Ints] | None:
        """Return the number of the row at a place, None if another order is shown by now."""
        shows = self._shows
        if shows is None or shows.age != age or not 0 <= place < shows.order.count:
            return None
        return shows.rows, shows.order.part(place, 1)

    def _place(self, rows: Rows, order: Order) -> int | None:
        """Return where the chosen row stands among those shown."""
        self._follow_event(rows)
        return None if self.chosen is None else order.place(self.chosen)

    def _follow_event(self, rows: Rows) -> None:
        """Choose the event that the session has."""
        event = None if self.session is None else self.session.event_id
        if event is None or "event_id" not in rows.names:
            return
        if isinstance(rows, LogRows):
            found = rows.log.session.events(rows.snapshot, event_id=event).project("position")
            row = found.fetchone()
        else:
            holds = rows.condition(Filter("event_id", "is", event), ())
            sql = f"SELECT e.{rows.number} FROM {rows.table} AS e WHERE {holds} LIMIT 1"  # noqa: S608
            row = rows.cursor().execute(sql).fetchone()
        self.chosen = None if row is None else int(row[0])


def _known(column: str, rows: Rows) -> str:
    if column not in rows.names:
        raise QueryError(nearest(column, rows.names))
    return column


def _right(kind: str) -> bool:
    """Whether a column holds numbers, which stand at the right."""
    return "[" not in kind and any(part in kind for part in _NUMBERS) and "INTERVAL" not in kind
