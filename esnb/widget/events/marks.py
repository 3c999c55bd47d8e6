"""What stands in the lanes of a timeline: single events, or how many there are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from esnb import instants
from esnb.chart.over_time import MOST_MARKS
from esnb.widget.base.session import Session
from esnb.widget.events.bins import Counts, Ints, Question, whole

__all__ = ["FEW_STREAMS", "MOST_LANES", "Lane", "Lanes", "laid"]

# More lanes than this are no picture.
MOST_LANES = 24
# Streams that were chosen have lanes of their own up to here.
FEW_STREAMS = 12


_NONE: Ints = np.zeros((0, 0), np.int64)


class Lane(NamedTuple):
    """One lane.

    Attributes
    ----------
    name
        Event type or stream; None for the types that share the last lane.
    events
        How many are in it.
    """

    name: str | None
    events: int


class Lanes(NamedTuple):
    """The lanes over a window, with marks or with density.

    Attributes
    ----------
    by
        ``"event_type"`` or ``"stream"``.
    lanes
        The lanes; types by how many events they have in all, streams the fullest first.
    names
        How many types or streams there are in the window.
    left_out
        How many events of the window are in no lane.
    first, last
        The ends of the axis, microseconds since 1970.
    events
        Columns ``position``, ``revision``, ``time`` (of the session's clock), ``other`` (of the
        other), ``lane``, ``event_type``, ``stream``; by time and position.  None for density.
    begin, width, density
        Start and length of the cells in microseconds, and events by lane and cell.
    """

    by: str
    lanes: tuple[Lane, ...]
    names: int
    left_out: int
    first: int
    last: int
    events: pa.Table | None
    begin: int = 0
    width: int = 1
    density: Ints = _NONE


def laid(
    session: Session,
    by: str | None,
    cells: int,
    most: int = MOST_MARKS,
    *,
    counts: Counts | None = None,
) -> Lanes | None:
    """Return what stands in the lanes; None without events.

    Parameters
    ----------
    session
        What is looked at.
    by
        ``"event_type"``, ``"stream"``, or None: streams if few were chosen.
    cells
        How many cells a lane has, about, if there are too many events for marks.
    most
        Above so many events a lane has cells.
    counts
        The events in sight, where they are counted already.
    """
    if by is None:
        few = session.streams is not None and len(session.streams) <= FEW_STREAMS
        by = "stream" if few else "event_type"
    if by == "event_type" and counts is not None:
        return _of_counts(session, counts, cells, most)
    question = Question(session)
    if by == "event_type":
        return _typed(question, session, cells, most)
    found = question.ask(
        "e.stream AS name, count(*) AS count,"
        f" min({question.time}) AS a, max({question.time}) AS b",
        "GROUP BY ALL",
    )
    if not found.num_rows:
        return None
    ends = (int(found["a"].to_numpy().min()), int(found["b"].to_numpy().max()))
    top = found.sort_by([("count", "descending"), ("name", "ascending")]).slice(0, MOST_LANES)
    lanes = tuple(map(Lane, top["name"].to_pylist(), top["count"].to_pylist()))
    left_out = int(found["count"].to_numpy().sum()) - sum(lane.events for lane in lanes)
    axis = _axis(session, ends)
    return _filled(question, session, by, lanes, found.num_rows, left_out, axis, cells, most)


def _typed(question: Question, session: Session, cells: int, most: int) -> Lanes | None:
    """Lay out types: one look at the events says how many there are of each, and where."""
    ends: tuple[int, int] | None = None
    if session.window is None or None in session.window:
        first, last = question.ask(f"min({question.time}) AS a, max({question.time}) AS b")
        if first[0].as_py() is None:
            return None
        ends = (first[0].as_py(), last[0].as_py())
    axis = _axis(session, ends)
    width, found = _cells(question, "event_type", axis, cells)
    if not found.num_rows:
        return None
    names = found.group_by("name").aggregate([("count", "sum")])
    ranked = names.sort_by([("count_sum", "descending"), ("name", "ascending")])
    sizes = list(zip(ranked["name"].to_pylist(), ranked["count_sum"].to_pylist(), strict=True))
    lanes = _cut(sizes, whole(session).types)
    if sum(lane.events for lane in lanes) <= most:
        return _filled(question, session, "event_type", lanes, len(sizes), 0, axis, cells, most)
    return _dense("event_type", lanes, len(sizes), 0, axis, width, found)


def _of_counts(session: Session, counts: Counts, cells: int, most: int) -> Lanes | None:
    """Lay out all time from what is counted already."""
    if counts.first is None or counts.last is None or not counts.total:
        return None
    names = [
        (name, int(size)) for name, size in zip(counts.types, counts.sizes, strict=True) if size
    ]
    ends = (counts.first, counts.last)
    lanes = _cut(names, whole(session).types)
    if counts.total <= most:
        return _filled(
            Question(session), session, "event_type", lanes, len(names), 0, ends, cells, most
        )
    # Whole bins to a cell, or some cells would look fuller than others for no reason.
    bins = counts.last // counts.width - counts.first // counts.width + 1
    many = max(1, -(-bins // cells))
    begin = counts.first // counts.width
    columns = -(-bins // many)
    density = np.zeros((len(lanes), columns), np.int64)
    kept, rest = _places(lanes)
    last = len(lanes) if rest is None else rest
    lane = np.array([kept.get(name, last) for name in counts.types], np.int64)
    np.add.at(density, (lane[counts.kind], (counts.bin - begin) // many), counts.count)
    width = many * counts.width
    return Lanes(
        "event_type", lanes, len(names), 0, *ends, None, begin * counts.width, width, density
    )


def _filled(
    question: Question,
    session: Session,
    by: str,
    lanes: tuple[Lane, ...],
    names: int,
    left_out: int,
    axis: tuple[int, int],
    cells: int,
    most: int,
) -> Lanes:
    kept, rest = _places(lanes)
    some = ""
    if rest is None and len(kept) < names:
        question.cursor.register("_esnb_lanes", pa.table({"name": pa.array(kept, pa.string())}))
        some = f"AND e.{by} IN (SELECT l.name FROM _esnb_lanes AS l)"  # noqa: S608 (two names)
    if sum(lane.events for lane in lanes) <= most:
        other = "recorded" if session.clock == "occurred" else "occurred"
        events = question.ask(
            f"e.position, e.revision, {question.time} AS time, epoch_us(e.{other}_on) AS other,"
            " e.event_type, e.stream",
            f"{some} ORDER BY time, e.position",
        )
        lane = pa.array(_lane(events[by], kept, rest))
        events = events.append_column("lane", lane)
        return Lanes(by, lanes, names, left_out, *axis, events)
    width, found = _cells(question, by, axis, cells, some)
    return _dense(by, lanes, names, left_out, axis, width, found)


def _cells(
    question: Question, by: str, axis: tuple[int, int], cells: int, some: str = ""
) -> tuple[int, pa.Table]:
    """Return the length of a cell, and the events by name and cell."""
    first, last = axis
    width = max(1, -(-(last - first + 1) // cells))
    found = question.ask(
        f"e.{by} AS name, ({question.time} - ({first})) // {width} AS cell, count(*) AS count",
        f"{some} GROUP BY ALL",
    )
    return width, found


def _dense(
    by: str,
    lanes: tuple[Lane, ...],
    names: int,
    left_out: int,
    axis: tuple[int, int],
    width: int,
    found: pa.Table,
) -> Lanes:
    first, last = axis
    kept, rest = _places(lanes)
    density = np.zeros((len(lanes), -(-(last - first + 1) // width)), np.int64)
    where = (_lane(found["name"], kept, rest), found["cell"].to_numpy())
    np.add.at(density, where, found["count"].to_numpy())
    return Lanes(by, lanes, names, left_out, first, last, None, first, width, density)


def _places(lanes: tuple[Lane, ...]) -> tuple[dict[str | None, int], int | None]:
    """Return the lane of each name, and that of all others if there is one."""
    kept = {lane.name: place for place, lane in enumerate(lanes)}
    return kept, kept.pop(None, None)


def _lane(names: pa.ChunkedArray, kept: dict[str | None, int], rest: int | None) -> Ints:
    """Return the lane of each name."""
    texts = names.combine_chunks().dictionary_encode()
    last = -1 if rest is None else rest
    lane = np.array([kept.get(text, last) for text in texts.dictionary.to_pylist()], np.int64)
    found: Ints = lane[texts.indices.to_numpy(zero_copy_only=False)]
    return found


def _axis(session: Session, ends: tuple[int, int] | None) -> tuple[int, int]:
    """Return the ends of the axis: those of the window, or of the events where it has none."""
    low, high = session.window or (None, None)
    first = instants.micros(low) if low is not None else ends[0] if ends else 0
    last = instants.micros(high) - 1 if high is not None else ends[1] if ends else first
    return first, max(first, last)


def _cut(names: list[tuple[str, int]], order: tuple[str, ...]) -> tuple[Lane, ...]:
    """Return the lanes of types, the fullest first; those too many share the last one.

    They stand in one order, whatever the window: lanes do not jump while it is moved.
    """
    few = len(names) <= MOST_LANES
    place = {name: number for number, name in enumerate(order)}
    kept = [Lane(name, count) for name, count in names[: MOST_LANES if few else MOST_LANES - 1]]
    kept.sort(key=lambda lane: place.get(lane.name or "", len(place)))
    rest = [] if few else [Lane(None, sum(count for _, count in names[MOST_LANES - 1 :]))]
    return (*kept, *rest)
