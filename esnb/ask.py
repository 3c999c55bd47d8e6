"""Answers that know where they come from: SQL in, a pandas DataFrame with its origin out.

A question may look at the log as it stood at a moment.  ``events`` then holds what was
known, or true, at that moment, and for each category a table ``order_states`` has the states.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from esnb import instants
from esnb.duck import interruptible
from esnb.errors import QueryError, TimelineError, shown
from esnb.event import RecordedEvent
from esnb.log import Snapshot
from esnb.query.names import quote
from esnb.query.session import Session
from esnb.timeline import Timeline, macros, pipeline
from esnb.timeline.moment import LATEST, Moment, as_position, instant_sql, moment
from esnb.timeline.states import as_of_sql

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LIMIT", "Asked", "frame"]

LIMIT = 100_000
_ALL = "_esnb_events"
# A double holds any number of so many digits: its shortest text is the number.
_DIGITS = 15
_TRIES = 5


class Asked(Protocol):
    """What is asked of a log (see `esnb.eventlog.EventLog`)."""

    @property
    def session(self) -> Session: ...

    @property
    def zone(self) -> str | None: ...

    @property
    def path(self) -> Any: ...

    @property
    def log_id(self) -> str: ...

    def snapshot(self) -> Snapshot: ...

    def timelines(self) -> dict[str, Timeline]: ...


@interruptible()
def frame(
    log: Asked,
    text: str,
    params: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    as_of: object = None,
    valid_at: object = None,
    known: object = None,
    limit: int | None = LIMIT,
    timeout: float | None = None,
) -> pd.DataFrame:
    """Return the answer to a question in SQL (see `esnb.eventlog.EventLog.df`)."""
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise QueryError(f"limit={shown(limit)}: say a number of rows from 1, or None for all")
    then = Then.read(log, as_of, valid_at, known)
    for again in range(_TRIES, 0, -1):
        snapshot = log.snapshot()
        tables = _Tables(log, snapshot, text, then)
        found, more = log.session.rows(
            snapshot, text, params, limit=limit, timeout=timeout, prepare=tables.prepare
        )
        # States of a log that has grown since the snapshot would not fit its events.
        if tables.fit or again == 1:
            break
    result = _to_pandas(found)
    result.attrs = {
        "sql": text,
        "params": _plain(params if params is not None else {}),
        "log": str(log.path),
        "log_id": log.log_id,
        "position": snapshot.next_position,
        **{
            name: _plain(value)
            for name, value in (("as_of", as_of), ("valid_at", valid_at), ("known", known))
            if value is not None
        },
    }
    if more:
        result.attrs["row_limit"] = f"the first {limit:,} rows; there are more"
    _without_mathjax(result)
    return result


@dataclass(frozen=True)
class Then:
    """The moment at which a question looks.

    Attributes
    ----------
    known
        On the system clock: what was known then.
    valid
        On the valid clock, as SQL of an instant: what was true then; None for no such bound.
    given
        It was asked for.
    """

    known: Moment
    valid: str | None
    given: bool

    @classmethod
    def read(cls, log: Asked, as_of: object, valid_at: object, known: object) -> Then:
        if as_of is not None and valid_at is not None:
            raise QueryError(
                "as_of and valid_at are two clocks: say valid_at=… and known=…, what was true "
                "then as it was known at a moment"
            )
        if known is not None and valid_at is None:
            raise QueryError("known goes with valid_at; say as_of=… for what was known then")
        at = as_of if valid_at is None else known
        reached = LATEST if at is None else moment(at, log.zone)
        if valid_at is None:
            return cls(reached, None, as_of is not None)
        return cls(reached, _occurred(log, valid_at), True)

    def events(self) -> str:
        """Return the SELECT of the events that are seen."""
        bounds, late = [], ""
        if self.known.clock == "position":
            bounds.append(f"e.position <= {self.known.sql}")
        else:
            # Known no earlier than the events before it in its stream, as in the states.
            late = (
                f" LEFT JOIN (SELECT stream, min(revision) AS first FROM {_ALL}"  # noqa: S608
                f" WHERE recorded_on > {self.known.sql} GROUP BY stream) AS l USING (stream)"
            )
            bounds.append(f"e.recorded_on <= {self.known.sql}")
            bounds.append("(l.first IS NULL OR e.revision < l.first)")
        if self.valid is not None:
            bounds.append(f"e.occurred_on <= {self.valid}")
        return f"SELECT e.* FROM {_ALL} AS e{late} WHERE {' AND '.join(bounds)}"  # noqa: S608


class _Tables:
    """The tables and macros that one question may use."""

    def __init__(self, log: Asked, snapshot: Snapshot, text: str, then: Then) -> None:
        self._log = log
        self._snapshot = snapshot
        self._text = text
        self._then = then
        self.fit = True

    def prepare(self, cursor: duckdb.DuckDBPyConnection) -> list[str]:
        """Make on `cursor` what the text names; return the macros among it."""
        names: list[str] = []
        known = self._log.timelines()
        for name, found in macros.wanted(self._text, known).items():
            if self._then.given:
                raise QueryError(
                    f"{found[0]} says its own moment; beside as_of or valid_at ask the table "
                    f"{_states_of(name)}"
                )
            names += macros.register(cursor, known[name])
        if self._then.given:
            cursor.execute(f"ALTER VIEW events RENAME TO {_ALL}")
            cursor.execute(f"CREATE TEMP VIEW events AS {self._then.events()}")
        for view, name in self._states(known).items():
            states = self._select(cursor, known[name])
            cursor.execute(f"CREATE TEMP VIEW {quote(view)} AS {states}")
        return names

    def _states(self, known: Iterable[str]) -> dict[str, str]:
        """Return the tables of states that the text may name, with the timelines they show."""
        words = set(re.findall(r"\w+", self._text.casefold()))
        found: dict[str, str] = {}
        for name in known:
            view = _states_of(name)
            if view.casefold() not in words:
                continue
            other = {given.casefold(): given for given in found}.get(view.casefold())
            if other is not None:
                raise TimelineError(
                    f"{view} would stand for the categories {found[other]!r} and {name!r}; "
                    "ask log.timeline(…) for one of them instead"
                )
            found[view] = name
        return found

    def _select(self, cursor: duckdb.DuckDBPyConnection, timeline: Timeline) -> str:
        table = timeline.built()
        end = self._snapshot.next_position
        self.fit = self.fit and table.state.next_position == end
        if self._then.valid is not None:
            pipeline.register(cursor, table.fold)
            return pipeline.valid_sql(table.fold, self._then.valid, "true")
        known = self._then.known
        if known is LATEST:
            known = Moment("position", str(end - 1), end - 1)
        return as_of_sql(table, known)


def _states_of(name: str) -> str:
    """Return what the table of states of a category is called."""
    return macros.macro_names(name)[0].removesuffix("_as_of") + "_states"


def _occurred(log: Asked, when: object) -> str:
    """Return SQL of an instant on the valid clock; an event stands for its own."""
    position = None if isinstance(when, RecordedEvent) else as_position(when)
    if position is not None:
        found = log.session.cursor(log.snapshot()).execute(
            "SELECT e.occurred_on FROM events AS e WHERE e.position = ?", [position]
        )
        row = found.fetchone()
        if row is None:
            raise QueryError(f"there is no event at position {position}")
        when = row[0]
    elif isinstance(when, RecordedEvent):
        when = when.occurred_on
    return instant_sql(instants.instant(when, declared=log.zone))


# --- values ----------------------------------------------------------------------------------


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return a table as a DataFrame, no number a digit the poorer.

    Whole numbers and truth values with gaps get pandas' nullable types.  Decimals become
    doubles where each is exact as one, and stay decimals otherwise.
    """
    import pandas as pd

    columns = [_series(pd, column) for column in table.columns]
    result = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(table.num_rows))
    result.columns = pd.Index(table.column_names)
    return result


def _series(pd: Any, column: pa.ChunkedArray) -> Any:
    kind = column.type
    if pa.types.is_decimal(kind):
        column = _numbers(column)
        kind = column.type
    if column.null_count and (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        name = "boolean" if pa.types.is_boolean(kind) else str(kind).replace("i", "I", 1)
        name = name.replace("uI", "UI")
        return pd.Series(column.to_pylist(), dtype=name)
    if kind == pa.month_day_nano_interval():
        return _durations(pd, column.to_pylist())
    if pa.types.is_decimal(kind) and kind.scale == 0:
        values = [None if value is None else int(value) for value in column.to_pylist()]
        return pd.Series(values, dtype=object)
    return column.to_pandas()


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return decimals as whole numbers or doubles, if that changes none of them."""
    if column.null_count == len(column):
        return column.cast(pa.float64() if column.type.scale else pa.int64())
    if column.type.scale == 0:
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            return column
    ends = pc.min_max(column).as_py()
    most = Decimal(10) ** (_DIGITS - column.type.scale)
    small = all(abs(value) < most for value in ends.values())
    return column.cast(pa.float64()) if small else column


def _durations(pd: Any, values: list[Any]) -> Any:
    if any(value is not None and value.months for value in values):
        return pd.Series(values, dtype=object)
    spans = [
        None
        if value is None
        else timedelta(days=value.days, microseconds=value.nanoseconds // 1000)
        for value in values
    ]
    return pd.Series(spans, dtype="timedelta64[us]")


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, so that a DataFrame with it can be saved."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, RecordedEvent):
        return value.position
    if isinstance(value, datetime):
        return instants.iso(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)


def _without_mathjax(result: pd.DataFrame) -> None:
    """Show this answer with ``$…$`` as it stands, and leave the user's options alone."""
    import pandas as pd

    own: Any = type(result)
    # Not the answer itself, which would then be kept alive by how it is shown.
    shown_one = weakref.ref(result)

    def html() -> Any:
        with pd.option_context("display.html.use_mathjax", False):
            return own._repr_html_(shown_one())

    object.__setattr__(result, "_repr_html_", html)
