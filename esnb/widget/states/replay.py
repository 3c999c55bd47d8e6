"""Replay of one stream: its events, the state after each, and what each of them changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import duckdb
import numpy as np

from esnb import instants
from esnb.errors import EsnbError, TimelineError, shown
from esnb.event import RecordedEvent
from esnb.eventlog import EventLog
from esnb.show import visible
from esnb.sqltext import literal, quote
from esnb.timeline import Timeline
from esnb.timeline.moment import moment
from esnb.timeline.read import Source
from esnb.widget.base.piece import intent
from esnb.widget.base.session import Session
from esnb.widget.states.patches import is_json, patches, text_sql
from esnb.widget.states.replay_chart import replay_chart
from esnb.widget.states.whose import StatePiece

if TYPE_CHECKING:
    from esnb.aggregate import Aggregate

__all__ = ["Replay"]

Clock = Literal["recorded", "occurred"]

# Events in the browser at a time, and characters of their values.
MOST = 20_000
MOST_CHARACTERS = 16_000_000
_DRAWN = 24  # events of the picture
_BINS = 600  # of the scrubber, where not all events are in the browser
_FULL = 500_000  # characters of a payload or value that is asked for
_STREAMS = 100  # of a session's choice that are offered
_OWN = ("position", "revision", "event_type", "actor", "ended")


@dataclass(frozen=True)
class _Stream:
    """One stream, in the order of a clock."""

    name: str
    clock: Clock
    relation: duckdb.DuckDBPyRelation
    fields: tuple[tuple[str, str], ...]
    error: str | None
    positions: Any
    times: Any

    def place(self, near: int | None, at: int | None) -> int:
        """Return the row of a position, or the last up to a time; else the last one."""
        last = len(self.positions) - 1
        if at is not None:
            return max(0, int(np.searchsorted(self.times, at, "right")) - 1)
        if near is None or last < 0:
            return last
        exact = np.flatnonzero(self.positions == near)
        if len(exact):
            return int(exact[0])
        before = np.flatnonzero(self.positions < near)
        return int(before[-1]) if len(before) else 0


class Replay(StatePiece):
    """One stream, event by event: its events, the state after each, and what each changed.

    Parameters
    ----------
    source
        A timeline; a log, whose timelines are then taken; or a session, whose streams and
        event it follows.
    stream
        The stream.  Without one it waits for the session, or for a name that is typed.
    of
        Category or aggregate class whose timeline folds the stream; the stream's own
        category by default.
    session
        Session that it follows and writes to, where `source` is another thing.
    key
        A name under which its settings are kept.
    at
        The event to begin with: an instant, a position or a recorded event (the last event up
        to it); the last of all by default.
    clock
        ``"recorded"``: events as they became known; ``"occurred"``: as they happened, late
        ones where they belong.

    Raises
    ------
    InstantError
        If `at` is no moment.
    TimelineError
        If `clock` is another one.
    """

    name = "replay"
    defaults: ClassVar[Mapping[str, Any]] = {
        "stream": None,
        "at": None,
        "clock": "recorded",
        "speed": "1",
        "filter": "",
        "begun": None,
    }
    follows = ("event_id", "streams")

    def __init__(
        self,
        source: Timeline | EventLog | Session,
        stream: str | None = None,
        *,
        of: str | type[Aggregate] | None = None,
        session: Session | None = None,
        key: str | None = None,
        at: object = None,
        clock: Clock = "recorded",
        **settings: Any,
    ) -> None:
        self._source = source
        self._of = of
        self._given: Timeline | None = None
        if isinstance(source, Session):
            session = session or source
            self._log: Source = source.log
        elif isinstance(source, Timeline):
            self._given = source
            self._log = source.source
        else:
            self._log = source
        if of is not None and isinstance(self._log, EventLog):
            self._given = self._log.timeline(of)
        if clock not in ("recorded", "occurred"):
            raise TimelineError(f"clock is 'recorded' or 'occurred', not {shown(clock)}")
        begin = {"stream": stream, "at": self._moment(at), "clock": clock}
        super().__init__(session=session, key=key, **begin, begun=begin, **settings)
        if self.settings["begun"] != begin:
            # Kept from a cell that asked for another stream.
            self.change(**begin, begun=begin)
        self._writing = False
        self._last: tuple[tuple[Any, ...], _Stream] | None = None
        if self.settings["stream"] is None:
            self._begin_with_session()

    # --- what it shows -----------------------------------------------------------------------

    @property
    def stream(self) -> str | None:
        """The stream that is shown."""
        found = self.settings["stream"]
        return None if found is None else str(found)

    @property
    def clock(self) -> Clock:
        """The clock by which its events are in order."""
        return "occurred" if self.settings["clock"] == "occurred" else "recorded"

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the events of the stream with the states, as `esnb.timeline.Timeline.replay` does.

        Of a stream that cannot be folded, its events.
        """
        if self.stream is None:
            return self._events("", self.clock)
        return self._stream(self.stream, self.clock).relation

    @property
    def code(self) -> str:
        """The call that makes it anew, at the event that is shown."""
        stream = self.settings["stream"]
        given = [] if stream is None else [repr(stream)]
        return self._called(given, ("at", "clock", "speed", "filter"))

    def chart(self) -> Any:
        """Return a chart of the events around the one that is shown, and what they changed."""
        if self.stream is None:
            return None
        found, told = self._around(self.stream, self.clock, *self._wanted(), most=_DRAWN)
        if not len(found.positions):
            return None
        return replay_chart(told, visible(self.title(), 80), self._zone(), self.clock)

    def title(self) -> str:
        """Return the stream, and how many events it has."""
        if self.stream is None:
            return "Replay: no stream yet"
        return f"Replay of {self.stream}"

    def go(self, at: object = None, stream: str | None = None) -> None:
        """Go to a moment, or to another stream; the browser follows.

        Parameters
        ----------
        at
            As for the widget.
        stream
            Another stream.
        """
        self.change(at=self._moment(at), stream=self.stream if stream is None else stream)
        self.say({"event": "go"})

    # --- what the browser asks ---------------------------------------------------------------

    @intent
    def ask_stream(
        self,
        stream: str | None = None,
        clock: Clock | None = None,
        near: int | None = None,
        at: int | None = None,
    ) -> Mapping[str, Any]:
        """Return a stream: its events as columns, its states as patches.

        Parameters
        ----------
        stream, clock
            The one to go to; that of the settings by default.
        near, at
            The event to show: by its position, or the last up to a time (microseconds since
            1970) on the clock.  The one of the settings by default.
        """
        stream = self.stream if stream is None else stream
        clock = self.clock if clock is None else clock
        told: dict[str, Any] = {"zone": self._zone(), "streams": self._offered(), "clock": clock}
        if stream is None:
            return {**told, "stream": None, "total": 0}
        led = near is not None or at is not None
        if not led and stream == self.stream:
            near, at = self._wanted()
        found, shipped = self._around(stream, clock, near, at)
        if led:
            self.change(at=shipped["rows"]["position"][shipped["chosen"]])
        elif stream != self.stream:
            self.change(at=None)
        self.change(stream=stream, clock=clock)
        return {**told, "stream": stream, "error": found.error, **shipped}

    @intent
    def ask_follow(self, changed: str) -> Mapping[str, Any]:
        """Return what the session wants to be shown: a stream, and the position of an event."""
        session = self.session
        if session is None:
            return {}
        if changed == "event_id":
            event = None if session.event_id is None else session.log.event(session.event_id)
            return {} if event is None else {"stream": event.stream, "near": event.position}
        offered = self._offered()
        if not offered["names"] or self.stream in self._chosen():
            return {"streams": offered}
        return {"stream": offered["names"][0], "streams": offered}

    @intent
    def ask_choose(self, position: int) -> Mapping[str, Any]:
        """Take note of the event that is shown, and tell the session."""
        self.change(at=position)
        if self.session is None or self.stream is None:
            return {}
        event = self._event(position)
        self._writing = True
        try:
            with self.session.hold_trait_notifications():
                self.session.event_id = None if event is None else event["event_id"]
                if self._log is self.session.log:  # positions of another history are its own
                    by_valid = self.clock == "occurred" and event is not None
                    self.session.as_of = None if by_valid else position
                    self.session.valid_at = event["occurred_on"] if by_valid and event else None
        finally:
            self._writing = False
        return {}

    @intent
    def ask_event(self, position: int) -> Mapping[str, Any]:
        """Return all that stands in an event, its payload as text."""
        event = self._event(position)
        if event is None:
            return {"event": None}
        texts = ("event_id", "schema_version", "correlation_id", "causation_id")
        told: dict[str, Any] = {name: event[name] for name in texts}
        told["tags"] = list(event["tags"] or ())
        for name in ("data", "metadata"):
            text = event[name]
            told[name] = text if text is None or len(text) <= _FULL else [text[:_FULL], len(text)]
        return {"event": told}

    @intent
    def ask_value(self, position: int, field: str) -> Mapping[str, Any]:
        """Return the whole text of a value that was too long to be shipped."""
        found = self._stream(str(self.stream), self.clock)
        kinds = dict(found.fields)
        if field not in kinds:
            raise TimelineError(f"there is no field {shown(field)}")
        name = quote(field)
        text = f"to_json({name})" if is_json(kinds[field]) and kinds[field] != "JSON" else name
        row = (
            found.relation.filter(f"position = {position}")
            .project(f"left({text}::VARCHAR, {_FULL}), length({text}::VARCHAR)")
            .fetchone()
        )
        return {"text": None if row is None else row[0], "length": 0 if row is None else row[1]}

    @intent
    def ask_when(self, text: str) -> Mapping[str, Any]:
        """Return a time that was typed, in microseconds since 1970."""
        at = instants.instant(text.strip(), declared=self._zone())
        return {"at": instants.micros(at)}

    # --- within ------------------------------------------------------------------------------

    def _session_changed(self, change: Any) -> None:
        if not self._writing:
            super()._session_changed(change)

    def _begin_with_session(self) -> None:
        if self.session is None:
            return
        event = self.session.event_id and self.session.log.event(self.session.event_id)
        chosen = self._chosen()
        if event and (not chosen or event.stream in chosen):
            self.change(stream=event.stream, at=event.position)
        elif chosen:
            self.change(stream=chosen[0])

    def _chosen(self) -> list[str]:
        """Return the streams that the session has chosen."""
        if self.session is None or self.session.streams is None:
            return []
        return [str(name) for name in self.session.streams.table["stream"].to_pylist()]

    def _offered(self) -> dict[str, Any]:
        chosen = self._chosen()
        return {"names": chosen[:_STREAMS], "total": len(chosen)}

    def _zone(self) -> str:
        return self._log.zone or "UTC"

    def _moment(self, at: object) -> int | str | None:
        """Return a moment as the settings keep it: a position, or a time as text."""
        if at is None:
            return None
        if isinstance(at, RecordedEvent):
            return at.position
        read = moment(at, self._log.zone)
        if read.clock == "position":
            return read.order
        return instants.iso(instants.from_micros(read.order))

    def _wanted(self) -> tuple[int | None, int | None]:
        at = self.settings["at"]
        if isinstance(at, str):
            return None, instants.micros(instants.instant(at))
        return (None if at is None else int(at)), None

    def _folding(self, stream: str) -> Timeline:
        """Return the timeline that folds a stream."""
        category = stream.partition("-")[0]
        given = self._given
        if given is not None and (
            given.category == category
            or not isinstance(self._log, EventLog)
            or given.built().has(self._log.session.fresh(), stream)
        ):
            return given
        if not isinstance(self._log, EventLog):
            raise TimelineError("without a timeline or a log nothing can be folded")
        return self._log.timeline(category)

    def _events(self, stream: str, clock: Clock) -> duckdb.DuckDBPyRelation:
        """Return the events of a stream, without states."""
        cursor = self._log.session.fresh(self._log.snapshot())
        order, since = ("occurred_on, position", "e.occurred_on AS valid_from")
        if clock == "recorded":
            order = "position"
            since = "max(e.recorded_on) OVER (ORDER BY e.position) AS system_from"
        return cursor.sql(
            "SELECT e.stream, e.revision, e.position, e.event_id, e.event_type, e.actor,"  # noqa: S608
            f" e.occurred_on, e.recorded_on, {since}, false AS ended, e.data"
            f" FROM events AS e WHERE e.stream = {literal(stream)} ORDER BY {order}"
        )

    def _stream(self, stream: str, clock: Clock) -> _Stream:
        # A lone surrogate is in no stream, and cannot be in SQL either.
        stream = stream.encode(errors="replace").decode()
        asked = (stream, clock, self._log.snapshot().next_position)
        if self._last is None or self._last[0] != asked:
            try:
                timeline = self._folding(stream)
                fields = tuple((name, field.type) for name, field in timeline.fields.items())
                found = _read(timeline.replay(stream, clock), stream, clock, fields)
            except (EsnbError, duckdb.Error) as error:
                found = self._unfolded(stream, clock, error)
            self._last = (asked, found)
        return self._last[1]

    def _unfolded(self, stream: str, clock: Clock, error: Exception) -> _Stream:
        """Return the events alone of a stream that cannot be folded; the error if it has none."""
        told = f"{type(error).__name__}: {error}"
        found = _read(self._events(stream, clock), stream, clock, (), told)
        if not len(found.positions):
            raise error
        self._last = ((stream, clock, self._log.snapshot().next_position), found)
        return found

    def _around(
        self, stream: str, clock: Clock, near: int | None, at: int | None, most: int | None = None
    ) -> tuple[_Stream, dict[str, Any]]:
        """Return a stream, and the events around one of it; without states if it has none."""
        most = MOST if most is None else most
        found = self._stream(stream, clock)
        try:
            return found, self._shipped(found, found.place(near, at), most)
        except (EsnbError, duckdb.Error) as error:
            found = self._unfolded(stream, clock, error)
            return found, self._shipped(found, found.place(near, at), most)

    def _shipped(self, found: _Stream, chosen: int, most: int) -> dict[str, Any]:
        """Return the events around one, as columns, with their states."""
        total = len(found.positions)
        first = max(0, min(chosen - most // 2, total - most))
        last = min(total, first + most)
        before = first > 0
        rows = found.relation
        if last - first + before < total:
            if found.clock == "recorded":
                # Few rows are read for it, where a limit would sort them all.
                ends = found.positions[first - before], found.positions[last - 1]
                rows = rows.filter(f"position BETWEEN {ends[0]} AND {ends[1]}")
            else:
                rows = rows.limit(last - first + before, first - before)
        own = ", ".join(_OWN)
        times = "epoch_us(occurred_on) AS occurred, epoch_us(recorded_on) AS recorded"
        since = f"epoch_us({_since(found.clock)}) AS time"
        texts = "".join(
            f", {text_sql(name, kind)} AS v{number}"
            for number, (name, kind) in enumerate(found.fields)
        )
        table = rows.project(f"{own}, {times}, {since}{texts}").to_arrow_table()
        states = patches(table.select([f"v{n}" for n in range(len(found.fields))]), before)
        table = table.slice(before)
        few, many = states.within(MOST_CHARACTERS, chosen - first)
        states, table = states.part(few, many), table.slice(few, many - few)
        columns = {
            name: table[name].to_pylist()
            for name in ("position", "revision", "occurred", "recorded", "time")
        }
        for name in ("event_type", "actor"):
            coded = table[name].combine_chunks().dictionary_encode()
            columns[name] = coded.indices.to_pylist()
            columns[f"{name}s"] = coded.dictionary.to_pylist()
        told: dict[str, Any] = {
            "total": total,
            "first": first + few,
            "chosen": chosen - first - few,
            "fields": [{"name": name, "type": kind} for name, kind in found.fields],
            "json": [number for number, (_, kind) in enumerate(found.fields) if is_json(kind)],
            "base": states.base,
            "patches": states.rows,
            "ended": [place for place, gone in enumerate(table["ended"].to_pylist()) if gone],
            "rows": columns,
        }
        if len(states.rows) < total:
            begin, end = int(found.times[0]), int(found.times[-1])
            share = (found.times - begin) / max(1, end - begin)
            bins = np.minimum((share * _BINS).astype(np.int64), _BINS - 1)
            told |= {"bins": np.bincount(bins, minlength=_BINS).tolist(), "ends": (begin, end)}
        return told

    def _event(self, position: int) -> dict[str, Any] | None:
        cursor = self._log.session.fresh(self._log.snapshot())
        cursor.execute("SELECT * FROM events WHERE position = ?", [position])
        names = [column[0] for column in cursor.description or ()]
        values = cursor.fetchone()
        return None if values is None else dict(zip(names, values, strict=True))


def _read(
    relation: duckdb.DuckDBPyRelation,
    stream: str,
    clock: Clock,
    fields: tuple[tuple[str, str], ...],
    error: str | None = None,
) -> _Stream:
    keys = relation.project(f"position, epoch_us({_since(clock)}) AS at").to_arrow_table()
    positions, times = (keys[name].to_numpy() for name in ("position", "at"))
    return _Stream(stream, clock, relation, fields, error, positions, times)


def _since(clock: Clock) -> str:
    return "system_from" if clock == "recorded" else "valid_from"
