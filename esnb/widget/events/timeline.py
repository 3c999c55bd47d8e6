"""The timeline: when things happened, a window over it, single events, and notes pinned to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import numpy as np
import pyarrow as pa

from esnb import instants
from esnb.chart.bars import bars_png
from esnb.chart.counts import Shown, count_events, public
from esnb.chart.over_time import draw_events
from esnb.errors import InstantError, QueryError, shown
from esnb.eventlog import EventLog
from esnb.show import visible
from esnb.widget.base.piece import Answer, Piece, intent
from esnb.widget.base.session import Session
from esnb.widget.events.bins import Counts, Ints, Question, counted, edges, whole
from esnb.widget.events.marks import Lanes, laid

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Timeline"]

# Notes travel with the notebook.
_MOST_NOTES, _MOST_TEXT = 200, 500
_BARS = 160
_PAYLOAD = 4_000


class Timeline(Piece):
    """When the events of a log happened: an overview with a window, lanes, events, notes.

    The window that is drawn on the overview is that of the session: all pieces that follow the
    session narrow to it.  An event that is clicked becomes the event of the session.

    Parameters
    ----------
    source
        An event log, or a session.
    lanes
        ``"event_type"``: a lane for each event type; ``"stream"``: one for each of the streams
        with most events.  Without it streams if twelve or fewer are chosen, else types.
    clock
        ``"occurred"`` or ``"recorded"``: the clock of the session is set to it.
    notes
        What was noted before, as `notes` returns it.
    session
        The session, if `source` is a log; without one the timeline has a session of its own.
    key
        A name under which lanes and notes are kept for a cell that is run again.

    Attributes
    ----------
    session
        The session.

    Raises
    ------
    QueryError
        If `source` is neither, or a value cannot be.
    """

    name = "timeline"
    defaults = MappingProxyType({"lanes": None, "notes": ()})
    follows = ("window", "event_types", "streams", "event_id", "clock")

    session: Session

    def __init__(
        self,
        source: EventLog | Session,
        *,
        lanes: Literal["event_type", "stream"] | None = None,
        clock: Literal["occurred", "recorded"] | None = None,
        notes: Iterable[Mapping[str, Any]] = (),
        session: Session | None = None,
        key: str | None = None,
    ) -> None:
        if isinstance(source, Session):
            if session is not None and session is not source:
                raise QueryError("two sessions: leave session= out, or give the log as the source")
            session = source
        elif not isinstance(source, EventLog):
            raise QueryError(f"a timeline is of an event log or a session, not {shown(source)}")
        elif session is None:
            session = Session(source)
        if clock is not None:
            if clock not in ("occurred", "recorded"):
                raise QueryError(f"{shown(clock)} is no clock; say 'occurred' or 'recorded'")
            session.clock = clock
        _check_lanes(lanes)
        self._kept: tuple[tuple[Any, ...], Counts] | None = None
        taken = [_note(note, session.log.zone) for note in notes]
        super().__init__(session=session, key=key, lanes=lanes, notes=_bounded(taken))

    # --- without a browser -------------------------------------------------------------------

    @property
    def notes(self) -> list[dict[str, Any]]:
        """What was noted, by time.

        Each has ``at`` (a datetime in UTC), ``text``, ``star`` (bool) and ``event_id`` (None for
        a moment without an event).
        """
        noted = sorted(self.settings["notes"], key=lambda note: int(note["at"]))
        return [{**note, "at": instants.from_micros(note["at"])} for note in noted]

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the events in sight counted over time, as `esnb.chart.event_counts` does.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``time`` (start of the bin), ``event_type`` and ``count``.
        """
        return public(self._shown())

    def chart(self) -> alt.Chart:
        """Return what `esnb.chart.events_over_time` draws of the events in sight."""
        drawn = self._shown()
        return draw_events(drawn, str(drawn.step), f"{self.session.clock}_on")

    def picture(self) -> bytes:
        """Return the overview as a PNG: Altair would keep the living timeline waiting."""
        counts = self._counts()
        zone = self.session.zone
        at, bars, width = np.zeros(0, np.int64), np.zeros((1, 0), np.int64), counts.step(_BARS)
        if counts.first is not None and counts.last is not None:
            at = edges(width, counts.first, counts.last, zone)
            bars = counts.bars(at)
        said = (
            f"{counts.total:,} events by {self.session.clock}_on, 1 bar = {width}, times in {zone}"
        )
        return bars_png(at.tolist(), bars.sum(axis=0).tolist(), title=said, zone=zone)

    @property
    def sql(self) -> str:
        """The SQL by which `data` is counted."""
        question = Question(self.session)
        return (
            f"SELECT {question.time} AS time, e.event_type FROM events AS e"  # noqa: S608
            f" WHERE {question.where}"
        )

    @property
    def code(self) -> str:
        """The call that makes this timeline anew."""
        given = [self.session.code]
        if self.settings["lanes"] is not None:
            given.append(f"lanes={self.settings['lanes']!r}")
        if self.settings["notes"]:
            notes = [
                {**note, "at": instants.iso(instants.from_micros(note["at"]))}
                for note in self.settings["notes"]
            ]
            given.append(f"notes={notes!r}")
        return f"esnb.widget.Timeline({', '.join(given)})"

    def title(self) -> str:
        """Return what stands above the static picture."""
        total = self._counts().total
        return f"Timeline of {self.session.category or 'all streams'}: {total:,} events"

    def change(self, **settings: Any) -> None:
        """Change ``lanes`` or ``notes``."""
        if "lanes" in settings:
            _check_lanes(settings["lanes"])
        if "notes" in settings:
            zone = self.session.log.zone
            settings["notes"] = _bounded([_note(note, zone) for note in settings["notes"]])
        super().change(**settings)

    def _counts(self) -> Counts:
        """Count the events in sight, if that was not done before."""
        session = self.session
        if session.window is None and session.streams is None:
            counts = whole(session)
            return counts.only(session.event_types) if session.event_types else counts
        # Without a window the same that the overview has counted.
        return self._asked(() if session.window is not None else ("window",))

    def _asked(self, without: tuple[str, ...]) -> Counts:
        session = self.session
        seen = session.filters(without=("streams", *without))
        key = (session.log.snapshot().next_position, session.clock, repr(seen), session.streams)
        if self._kept is None or self._kept[0][:-1] != key[:-1] or self._kept[0][-1] is not key[-1]:
            self._kept = (key, counted(session, without=without))
        return self._kept[1]

    def _shown(self) -> Shown:
        counts = self._counts()
        wide = counts.step()
        table = counts.table(wide, self.session.zone)
        return count_events(
            table, every=str(wide), clock="time", zone=self.session.zone, weight="count"
        )

    # --- with the browser --------------------------------------------------------------------

    @intent
    def ask_overview(self) -> Answer:
        """Return the bars of the overview: all events, and those chosen by type and stream."""
        session = self.session
        every = whole(session)
        if every.first is None or every.last is None:
            return Answer({"total": 0, "zone": session.zone, "clock": session.clock})
        wide = every.step(_BARS)
        at = edges(wide, every.first, every.last, session.zone)
        bars = every.bars(at).sum(axis=0)
        chosen = None
        if session.streams is not None:
            # Bins of fewer events may be finer; their edges lie on those of the bars too.
            chosen = self._asked(("window",))
        elif session.event_types:
            chosen = every.only(session.event_types)
        buffers = [at.astype("<f8").tobytes(), bars.astype("<f8").tobytes()]
        if chosen is not None:
            buffers.append(chosen.bars(at).sum(axis=0).astype("<f8").tobytes())
        content = {
            "total": every.total,
            "chosen": None if chosen is None else chosen.total,
            "first": every.first,
            "last": every.last,
            "step": str(wide),
            "zone": session.zone,
            "clock": session.clock,
            "category": session.category,
        }
        return Answer(content, tuple(buffers))

    @intent
    def ask_view(self, cells: int) -> Answer:
        """Return the window, and what stands in the lanes."""
        session = self.session
        counts = self._counts() if session.window is None else None
        lanes = laid(session, self.settings["lanes"], max(10, min(cells, 2_000)), counts=counts)
        content: dict[str, Any] = {
            "window": self._window(),
            "zone": session.zone,
            "clock": session.clock,
            "event_types": list(session.event_types),
            "event": self._event(),
        }
        if lanes is None:
            return Answer({**content, "lanes": []})
        content |= {
            "by": lanes.by,
            "lanes": [[lane.name, lane.events] for lane in lanes.lanes],
            "names": lanes.names,
            "left_out": lanes.left_out,
            "first": lanes.first,
            "last": lanes.last,
        }
        if lanes.events is None:
            return _dense(content, lanes)
        return _single(content, lanes.events)

    @intent
    def ask_window(self, first: int | None, last: int | None) -> Mapping[str, Any]:
        """Set the window of the session: from `first` on, before `last`; None for all time."""
        ends = (_instant(first), _instant(last))
        self.session.window = None if ends == (None, None) else ends
        return {"window": self._window()}

    @intent
    def ask_clock(self, clock: Literal["occurred", "recorded"]) -> Mapping[str, Any]:
        """Choose the clock of the session."""
        self.session.clock = clock
        return {}

    @intent
    def ask_lane(self, by: Literal["event_type", "stream"], name: str) -> Mapping[str, Any]:
        """Choose one type or stream, or give it back if it is the chosen one."""
        session = self.session
        if by == "stream":
            session.streams = [name]
        elif name in session.event_types:
            session.event_types = tuple(one for one in session.event_types if one != name)
        else:
            session.event_types = (*session.event_types, name)
        return {}

    @intent
    def ask_pick(self, position: int | None) -> Mapping[str, Any]:
        """Make the event at a position that of the session; None for none."""
        if position is None:
            self.session.event_id = None
            return {"event": None}
        rows = self.session.log.events(after=position - 1, before=position + 1)
        self.session.event_id = _first(rows.project("event_id"), f"position {position}")[0]
        return {"event": self._event()}

    @intent
    def ask_event(self) -> Mapping[str, Any]:
        """Return the event of the session."""
        return {"event": self._event()}

    @intent
    def ask_step(
        self, time: int, position: int, way: Literal["next", "before"]
    ) -> Mapping[str, Any]:
        """Go to the next event in sight, or the one before, by time and position."""
        question = Question(self.session)
        sign, order = (">", "ASC") if way == "next" else ("<", "DESC")
        column = f"e.{self.session.clock}_on"
        bound = "make_timestamptz(?)"
        found = question.ask(
            "e.position",
            f"AND ({column} {sign} {bound} OR ({column} = {bound} AND e.position {sign} ?))"
            f" ORDER BY {column} {order}, e.position {order} LIMIT 1",
            [time, time, position],
        )
        if not found.num_rows:
            return {"event": None, "end": True}
        return self.ask_pick(found["position"][0].as_py())

    @intent
    def ask_note(
        self, at: int, text: str, star: bool, event_id: str | None = None
    ) -> Mapping[str, Any]:
        """Pin a note, or a star, to an event or a moment."""
        noted = [*self.settings["notes"]]
        same = [one for one in noted if one["at"] == at and one["event_id"] == event_id]
        if star and not text and same:
            # The star of what is noted already is switched.
            noted[noted.index(same[0])] = {**same[0], "star": not same[0]["star"]}
            noted = [one for one in noted if one["star"] or one["text"]]
        else:
            noted.append({"at": at, "text": text, "star": star, "event_id": event_id})
        self.change(notes=noted)
        return {}

    @intent
    def ask_unpin(self, number: int) -> Mapping[str, Any]:
        """Take a note away, by its place in the settings."""
        noted = [*self.settings["notes"]]
        if not 0 <= number < len(noted):
            raise QueryError(f"there is no note {number}; there are {len(noted)} notes")
        del noted[number]
        self.change(notes=noted)
        return {}

    @intent
    def ask_find(self, event_id: str) -> Mapping[str, Any]:
        """Make the event of a note that of the session."""
        _first(self.session.log.events(event_id=event_id).project("position"), "this id")
        self.session.event_id = event_id
        return {"event": self._event()}

    def _window(self) -> list[int | None] | None:
        window = self.session.window
        if window is None:
            return None
        return [None if at is None else instants.micros(at) for at in window]

    def _event(self) -> dict[str, Any] | None:
        """Return the event of the session, as text and numbers."""
        if self.session.event_id is None:
            return None
        rows = self.session.log.events(event_id=self.session.event_id)
        row = rows.project(
            "position, event_id, event_type, stream, revision, epoch_us(occurred_on),"
            " epoch_us(recorded_on), actor, data"
        ).fetchone()
        if row is None:
            return None
        names = ("position", "event_id", "event_type", "stream", "revision", "occurred", "recorded")
        return {
            **dict(zip(names, row, strict=False)),
            "actor": row[7],
            "data": visible(row[8], _PAYLOAD),
        }


def _dense(content: dict[str, Any], lanes: Lanes) -> Answer:
    counts = lanes.density
    content |= {
        "dense": True,
        "begin": lanes.begin,
        "width": lanes.width,
        "cells": int(counts.shape[1]),
        "most": int(counts.max()),
    }
    return Answer(content, (counts.astype("<f8").tobytes(),))


def _single(content: dict[str, Any], events: pa.Table) -> Answer:
    types = events["event_type"].combine_chunks().dictionary_encode()
    streams = events["stream"].combine_chunks().dictionary_encode()
    content |= {
        "dense": False,
        "count": events.num_rows,
        "types": types.dictionary.to_pylist(),
        "streams": streams.dictionary.to_pylist(),
    }
    numbers = [events[name].to_numpy() for name in ("time", "other", "position", "revision")]
    places: list[Ints] = [
        events["lane"].to_numpy(),
        types.indices.to_numpy(zero_copy_only=False),
        streams.indices.to_numpy(zero_copy_only=False),
    ]
    return Answer(
        content,
        (
            *(column.astype("<f8").tobytes() for column in numbers),
            *(np.ascontiguousarray(column, "<u4").tobytes() for column in places),
        ),
    )


def _first(rows: duckdb.DuckDBPyRelation, what: str) -> tuple[Any, ...]:
    row = rows.fetchone()
    if row is None:
        raise QueryError(f"there is no event with {what}")
    return tuple(row)


def _instant(micros: int | None) -> Any:
    if micros is None:
        return None
    try:
        return instants.from_micros(micros)
    except OverflowError:
        raise InstantError(micros, "it lies outside the years 1 to 9999") from None


def _check_lanes(lanes: object) -> None:
    if lanes not in (None, "event_type", "stream"):
        raise QueryError(f"lanes={shown(lanes)}: say 'event_type', 'stream' or None")


def _note(note: Any, zone: str | None) -> dict[str, Any]:
    """Read a note, as it is kept: small and JSON."""
    if not isinstance(note, Mapping) or "at" not in note:
        raise QueryError(f"a note is a dict with at, text, star and event_id, not {shown(note)}")
    at = note["at"]
    if not isinstance(at, int) or isinstance(at, bool):
        at = instants.micros(instants.instant(at, declared=zone))
    else:
        _instant(at)
    event_id = note.get("event_id")
    text = str(note.get("text") or "")
    if len(text) > _MOST_TEXT:
        raise QueryError(f"a note has at most {_MOST_TEXT} characters, not {len(text)}")
    return {
        "at": at,
        "text": text,
        "star": bool(note.get("star")),
        "event_id": None if event_id is None else str(event_id),
    }


def _bounded(notes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(notes) > _MOST_NOTES:
        raise QueryError(f"at most {_MOST_NOTES} notes; take some away first")
    return notes
