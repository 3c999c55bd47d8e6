"""Events counted in bins of time, and single events as marks: what a timeline draws.

Counting goes over whole microseconds in UTC, which DuckDB does at once; only the few edges of the
bars follow the calendar of a zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from esnb import instants
from esnb.chart.steps import Step, fitting, step
from esnb.flow.selection import conditions_sql
from esnb.query.select import Filters
from esnb.widget.base.session import Session

if TYPE_CHECKING:
    import duckdb

    from esnb.eventlog import EventLog

__all__ = ["Counts", "Question", "counted", "edges", "whole"]

Ints = npt.NDArray[np.int64]

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
# From the year 1 to 1970.
_BEGIN = -instants.micros(datetime(1, 1, 1, tzinfo=UTC))
_CHOSEN = "_esnb_chosen"
# So many names stand in the text of a query, where they choose files; more are joined.
_FEW = 50
_MONDAY = date(2000, 1, 3)  # from which DuckDB counts days and weeks; months from the 1st
# Before, clocks of some places were off by odd seconds.
_EVEN = instants.micros(datetime(1973, 1, 1, tzinfo=UTC))


class Question:
    """The events that a session looks at, as SQL on a cursor of its own.

    Parameters
    ----------
    session
        The session.
    without
        Traits that do not narrow.

    Attributes
    ----------
    cursor
        Knows ``events``, and the streams that were chosen.
    where
        Condition on a row ``e`` of the events.
    time
        SQL of the time of ``e`` on the clock of the session: microseconds since 1970.
    """

    def __init__(self, session: Session, *, without: tuple[str, ...] = ()) -> None:
        self.cursor: duckdb.DuckDBPyConnection = session.log.session.fresh(session.log.snapshot())
        streams = None if "streams" in without else session.streams
        many = streams is not None and len(streams) > _FEW
        filters = session.filters(without=(*without, "streams") if many else without)
        conditions = [*conditions_sql(Filters.read(filters, session.log.zone))]
        if streams is not None and many:
            self.cursor.register(_CHOSEN, streams.table)
            conditions.append(f"e.stream IN (SELECT c.stream FROM {_CHOSEN} AS c)")  # noqa: S608
        self.where = " AND ".join(conditions) or "true"
        self.clock = session.clock
        self.time = f"epoch_us(e.{session.clock}_on)"

    def ask(self, select: str, rest: str = "", parameters: list[Any] | None = None) -> pa.Table:
        """Return columns of the events; `rest` stands behind the condition."""
        text = f"SELECT {select} FROM events AS e WHERE {self.where} {rest}"  # noqa: S608
        return self.cursor.execute(text, parameters).to_arrow_table()


@dataclass(frozen=True)
class Counts:
    """Events counted by type in bins of equal length, as far as there are any.

    Attributes
    ----------
    width
        Length of a bin in microseconds; bin ``n`` begins at ``n * width``.
    types
        Event types, the most frequent first.
    kind, bin, count
        One entry for each type and bin with events: place in `types`, number of the bin, events.
    first, last
        Times of the first and the last event, or None without any.
    """

    width: int
    types: tuple[str, ...]
    kind: Ints
    bin: Ints
    count: Ints
    first: int | None
    last: int | None

    @cached_property
    def total(self) -> int:
        """How many events there are."""
        return int(self.count.sum())

    @cached_property
    def sizes(self) -> Ints:
        """How many events of each type there are."""
        return _summed(self.kind, self.count, len(self.types))

    def only(self, types: tuple[str, ...]) -> Counts:
        """Return those of some types; the ends stay."""
        wanted = [place for place, name in enumerate(self.types) if name in types]
        kept = np.isin(self.kind, wanted)
        new = np.zeros(len(self.types), np.int64)
        new[wanted] = np.arange(len(wanted))
        return Counts(
            self.width,
            tuple(self.types[place] for place in wanted),
            new[self.kind[kept]],
            self.bin[kept],
            self.count[kept],
            self.first,
            self.last,
        )

    def bars(self, at: Ints) -> Ints:
        """Return how many events lie between neighbouring edges, a row for each type.

        Edges lie on edges of bins, as those of `edges` do.
        """
        bars = len(at) - 1
        bar = np.searchsorted(at, self.bin * self.width, side="right") - 1
        inside = (bar >= 0) & (bar < bars)
        cell = self.kind[inside] * bars + bar[inside]
        return _summed(cell, self.count[inside], len(self.types) * bars).reshape(-1, bars)

    def step(self, most: int = 120) -> Step:
        """Return the length of a bar of which at most so many cover all events."""
        if self.first is None or self.last is None:
            return step("1 second")
        return fitting((self.last - self.first) / _SECOND, most)

    def table(self, wide: Step, zone: str) -> pa.Table:
        """Return bars as rows: ``time``, ``event_type`` and ``count``, none of them zero."""
        if self.first is None or self.last is None:
            at, bars = np.zeros(0, np.int64), np.zeros((0, 0), np.int64)
        else:
            at = edges(wide, self.first, self.last, zone)
            bars = self.bars(at)
        kind, place = np.nonzero(bars)
        return pa.table(
            {
                "time": pa.array(at[place], pa.timestamp("us", "UTC")),
                "event_type": pa.array([self.types[one] for one in kind], pa.string()),
                "count": pa.array(bars[kind, place], pa.int64()),
            }
        )


_WHOLE: WeakKeyDictionary[EventLog, dict[Any, Counts]] = WeakKeyDictionary()


def whole(session: Session) -> Counts:
    """Return the counts of all events of the category of a session, kept as long as its log."""
    snapshot = session.log.snapshot()
    kept = _WHOLE.setdefault(session.log, {})
    key = (session.category, session.clock, snapshot.next_position)
    found = kept.get(key)
    if found is None:
        for old in [one for one in kept if one[:2] == key[:2]]:
            del kept[old]
        found = kept[key] = counted(session, without=("window", "event_types", "streams"))
    return found


def counted(session: Session, *, without: tuple[str, ...] = ()) -> Counts:
    """Count the events that a session looks at."""
    question = Question(session, without=without)
    width = _width(*_span(session, without), session.zone)
    while True:
        lift = _BEGIN // width + 1
        # Whole division of DuckDB goes towards zero: numbers before 1970 are lifted above it.
        found = question.ask(
            f"e.event_type AS kind, ({question.time} + {lift * width}) // {width} AS bin,"
            " count(*) AS count",
            "GROUP BY ALL",
        )
        if not found.num_rows:
            none = np.zeros(0, np.int64)
            return Counts(_SECOND, (), none, none, none, None, None)
        bins = found["bin"].to_numpy() - lift
        first, last = _ends(question, int(bins.min()), int(bins.max()), width)
        finer = _width(first, last, session.zone)
        if finer >= width:
            break
        # They stand closer together than all that there is.
        width = finer
    names = found["kind"].combine_chunks().dictionary_encode()
    kind = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    count = found["count"].to_numpy()
    spelled = names.dictionary.to_pylist()
    sizes = _summed(kind, count, len(spelled))
    order = sorted(range(len(spelled)), key=lambda place: (-sizes[place], spelled[place]))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    types = tuple(spelled[place] for place in order)
    return Counts(width, types, rank[kind], bins, count, first, last)


def _ends(question: Question, low: int, high: int, width: int) -> tuple[int, int]:
    """Return the times of the first and the last event, in the first and the last bin."""
    column = f"e.{question.clock}_on"
    early = f"{column} < make_timestamptz({(low + 1) * width})"
    late = f"{column} >= make_timestamptz({high * width})"
    first = question.ask(f"min({question.time}) AS at", f"AND {early}")["at"][0].as_py()
    last = question.ask(f"max({question.time}) AS at", f"AND {late}")["at"][0].as_py()
    return int(first), int(last)


def _span(session: Session, without: tuple[str, ...]) -> tuple[int, int]:
    """Return two times between which all events lie, as the files say, and the window."""
    snapshot = session.log.snapshot()
    ranges = [getattr(segment, f"{session.clock}_on") for segment in snapshot.segments]
    ends = [instants.micros(end) for pair in ranges for end in pair]
    if snapshot.tail.num_rows:
        times = pc.min_max(snapshot.tail[f"{session.clock}_on"])
        ends += [instants.micros(times[name].as_py()) for name in ("min", "max")]
    first, last = min(ends, default=0), max(ends, default=0)
    if session.window is not None and "window" not in without:
        low, high = session.window
        first = first if low is None else max(first, instants.micros(low))
        last = last if high is None else min(last, instants.micros(high))
    return first, max(first, last)


def _width(first: int, last: int, zone: str) -> int:
    """Return a length of bins fine enough for bars on the clocks of a zone."""
    if first < _EVEN and zone != "UTC":
        return _SECOND
    span = last - first
    if span <= 10 * _HOUR:  # up to bars of five minutes, 120 of them
        return _SECOND
    if span <= 240 * _HOUR:
        return 60 * _SECOND
    at = (instants.from_micros(moment).astimezone(instants.zone(zone)) for moment in (first, last))
    shifts = (moment.utcoffset() or timedelta() for moment in at)
    whole_hours = all(shift % timedelta(hours=1) == timedelta() for shift in shifts)
    return _HOUR if whole_hours and span > 120 * _HOUR * 24 else _HOUR // 4


def edges(wide: Step, first: int, last: int, zone: str) -> Ints:
    """Return the edges of the bars that cover two instants, as `esnb.chart.event_counts` has them.

    Parameters
    ----------
    wide
        Length of a bar: days and longer follow the calendar of the zone.
    first, last
        Microseconds since 1970; the last edge lies behind `last`.
    """
    if not wide.civil:
        width = wide.seconds * _SECOND
        begin = first // width
        return np.arange(begin, last // width + 2, dtype=np.int64) * width
    local = instants.zone(zone)
    day = instants.from_micros(first).astimezone(local).date()
    found: list[int] = []
    number = _number(wide, day)
    while not found or found[-1] <= last:
        try:
            found.append(_begin(wide, number, local))
        except (OverflowError, ValueError):  # the end of the calendar
            found.append(last + 1)
            break
        number += 1
    return np.array(found, np.int64)


def _number(wide: Step, day: date) -> int:
    """Return the number of the bar in which a day lies, as DuckDB counts them."""
    if wide.unit in ("month", "year"):
        months = wide.number * (12 if wide.unit == "year" else 1)
        return ((day.year - 2000) * 12 + day.month - 1) // months
    return (day - _MONDAY).days // (wide.seconds // 86_400)


def _begin(wide: Step, number: int, local: Any) -> int:
    if wide.unit in ("month", "year"):
        months = number * wide.number * (12 if wide.unit == "year" else 1)
        day = date(2000 + months // 12, months % 12 + 1, 1)
    else:
        day = _MONDAY + timedelta(days=number * (wide.seconds // 86_400))
    return instants.micros(datetime(day.year, day.month, day.day, tzinfo=local).astimezone(UTC))


def _summed(place: Ints, count: Ints, length: int) -> Ints:
    """Add counts up by place; no float comes between."""
    found = np.zeros(length, np.int64)
    np.add.at(found, place, count)
    return found
