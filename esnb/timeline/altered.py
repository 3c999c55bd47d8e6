"""Another history: the events of a log without some, with others, with some changed.

The altered log is only ever a view.  Where events are put in, every position is spread
out to make room: that of an event of the log is then its own plus one, times one more than
there are events put in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from esnb import instants
from esnb.aggregate import Event
from esnb.errors import TimelineError, shown
from esnb.event import DomainEvent, RecordedEvent
from esnb.log.finder import events_of
from esnb.query import gate
from esnb.schema import COLUMNS, EVENT_SCHEMA, category_of, check_text
from esnb.timeline.moment import moment
from esnb.timeline.read import Read, Source, SourceSnapshot

__all__ = ["Altered", "altered"]

_ACTUAL, _NEW, _GONE = "_esnb_actual", "_esnb_put_in", "_esnb_taken_out"


@dataclass(frozen=True)
class _Snapshot:
    next_position: int
    actual: SourceSnapshot


class _Session:
    """The session of a log, on whose cursors ``events`` is another history."""

    def __init__(self, of: Altered, read: Read) -> None:
        self._of = of
        self._actual = read.session

    @property
    def derived(self) -> Path:
        folder = self._actual.temporary / f"what-if-{self._of.identity}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    temporary = derived

    def fresh(self, snapshot: Any = None) -> duckdb.DuckDBPyConnection:
        if snapshot is None:
            return self._actual.fresh()
        cursor = self._actual.fresh(snapshot.actual)
        self._of.alter(cursor)
        return cursor


class Altered:
    """Another history of a log, as a timeline reads it (see `esnb.timeline.read.Source`).

    Attributes
    ----------
    scale
        What positions are spread out by; 1 where nothing is put in.
    taken_out
        Positions, in the log, of events that are dropped or replaced.
    put_in
        Table of `EVENT_SCHEMA`: events that are there instead, or as well.
    """

    def __init__(
        self, source: Source, read: Read, taken_out: Sequence[int], put_in: pa.Table, scale: int
    ) -> None:
        self.zone = source.zone
        self.taken_out = pa.table({"position": pa.array(sorted(taken_out), pa.int64())})
        self.put_in = put_in
        self.scale = scale
        digest = hashlib.sha256(repr((read.next_position, scale, sorted(taken_out))).encode())
        digest.update(repr(put_in.to_pylist()).encode())
        self.identity = digest.hexdigest()[:24]
        self._snapshot = _Snapshot(self.position(read.next_position), read.snapshot)
        self.session = _Session(self, read)

    def snapshot(self) -> _Snapshot:
        return self._snapshot

    def position(self, position: int) -> int:
        """Return where the event at a position of the log stands here."""
        return position if self.scale == 1 else (position + 1) * self.scale

    def moved(self, position: str) -> str:
        """Return SQL of `position`."""
        return position if self.scale == 1 else f"(({position}) + 1) * {self.scale}"

    def alter(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Make ``events`` of a cursor this history."""
        cursor.register(_NEW, self.put_in)
        cursor.register(_GONE, self.taken_out)
        columns = ", ".join(
            f"{self.moved('e.position')} AS position" if name == "position" else f"e.{name}"
            for name in COLUMNS
        )
        own = ", ".join(f"n.{name}" for name in COLUMNS)
        cursor.execute(f"ALTER VIEW events RENAME TO {_ACTUAL}")
        cursor.execute(
            f"CREATE TEMP VIEW events AS SELECT {columns} FROM {_ACTUAL} AS e"  # noqa: S608
            f" ANTI JOIN {_GONE} AS g ON g.position = e.position"
            f" UNION ALL SELECT {own} FROM {_NEW} AS n"
        )


def altered(
    source: Source,
    read: Read,
    *,
    drop: Any = None,
    insert: Iterable[Any] = (),
    replace: Mapping[Any, Any] | None = None,
) -> Altered:
    """Return the log that was read with another history (see `Timeline.what_if`).

    Raises
    ------
    TimelineError
        If an event that is named is not there, or a change cannot be read.
    """
    dropped = _dropped(read, drop)
    changed = {_position(read, key): value for key, value in (replace or {}).items()}
    both = dropped & changed.keys()
    if both:
        raise TimelineError(f"the event at position {min(both)} is both dropped and replaced")
    added = [_added(one, source.zone) for one in insert]
    scale = len(added) + 1 if added else 1
    rows = [
        *_replaced(read, changed, scale),
        *(_row(read, number, scale, *one) for number, one in enumerate(added, start=1)),
    ]
    return Altered(
        source, read, [*dropped, *changed], pa.Table.from_pylist(rows, EVENT_SCHEMA), scale
    )


def _dropped(read: Read, drop: Any) -> set[int]:
    if drop is None:
        return set()
    if isinstance(drop, str):
        cursor = read.session.fresh(read.snapshot)
        gate.check(cursor, f"SELECT ({drop}\n) FROM events")  # noqa: S608 (looked at, not run)
        try:
            found = cursor.execute(
                f"SELECT e.position FROM events AS e WHERE ({drop}\n)"  # noqa: S608
            ).fetchall()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise TimelineError(f"drop={shown(drop)} is no condition on events: {reason}") from None
        return {position for (position,) in found}
    given = [drop] if isinstance(drop, int | RecordedEvent) else drop
    return {_position(read, one) for one in given}


def _position(read: Read, of: Any) -> int:
    """Return the position of an event that is named by it, by its id, or is given."""
    if isinstance(of, RecordedEvent):
        of = of.position
    name = "position" if isinstance(of, int) else "event_id"
    if isinstance(of, bool) or not isinstance(of, int | str):
        raise TimelineError(f"{shown(of)} is no event; name it by its position or its event id")
    found = read.cursor.execute(
        f"SELECT e.position FROM events AS e WHERE e.{name} = ?",  # noqa: S608 (our names)
        [of],
    ).fetchone()
    if found is None:
        raise TimelineError(f"there is no event with the {name.replace('_', ' ')} {shown(of)}")
    return int(found[0])


def _domain(event: Any) -> DomainEvent:
    if isinstance(event, Event):
        return event.to_domain_event()
    if isinstance(event, DomainEvent):
        return event
    raise TimelineError(f"{shown(event)} is no event; give a DomainEvent or an event object")


def _added(given: Any, zone: str | None) -> tuple[str, DomainEvent, Any]:
    try:
        stream, event, *rest = given
        (at,) = rest or (None,)
    except (TypeError, ValueError):
        raise TimelineError(
            f"insert takes (stream, event) or (stream, event, at), not {shown(given)}"
        ) from None
    event = _domain(event)
    if at is None:
        at = event.occurred_on
    return check_text("stream", stream), event, moment(at, zone)


def _row(
    read: Read, number: int, scale: int, stream: str, event: DomainEvent, at: Any
) -> dict[str, Any]:
    """Return an event put in after all that had been recorded at a moment."""
    clock = "e.recorded_on" if at.clock == "instant" else "e.position"
    after, recorded = read.cursor.execute(
        f"SELECT max(e.position), epoch_us(max(e.recorded_on)) FROM events AS e"  # noqa: S608
        f" WHERE {clock} <= {at.sql}"
    ).fetchone() or (None, None)
    position = (0 if after is None else (after + 1) * scale) + number
    when = instants.micros(event.occurred_on)
    return {
        **_fields(event),
        "position": position,
        "stream": stream,
        "category": category_of(stream),
        "revision": _revision(read, stream, -1 if after is None else after),
        "recorded_on": instants.from_micros(max(when, recorded or when)),
    }


def _revision(read: Read, stream: str, after: int) -> int:
    """Return the revision of the newest event of a stream up to a position."""
    found = read.cursor.execute(
        "SELECT max(e.revision) FROM events AS e WHERE e.stream = ? AND e.position <= ?",
        [stream, after],
    ).fetchone()
    return 0 if found is None or found[0] is None else int(found[0])


def _fields(event: DomainEvent) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "event_type": event.event_type,
        "schema_version": event.schema_version,
        "occurred_on": event.occurred_on,
        "actor": event.actor,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "tags": list(event.tags),
        "data": event.data_text,
        "metadata": event.metadata_text,
    }


def _replaced(read: Read, changed: Mapping[int, Any], scale: int) -> list[dict[str, Any]]:
    if not changed:
        return []
    columns = ", ".join(f"e.{name}" for name in COLUMNS)
    found = read.cursor.execute(
        f"SELECT {columns} FROM events AS e WHERE e.position IN (SELECT unnest($1))",  # noqa: S608
        [list(changed)],
    ).to_arrow_table()
    rows = []
    for event, row in zip(events_of(found.to_reader()), found.to_pylist(), strict=True):
        other = changed[event.position]
        if isinstance(other, Mapping):
            # What the mapping says, in place of what the event says of it.
            other = DomainEvent(event.event_type, {**event.data, **other})
            keep: tuple[str, ...] = ("data",)
        else:
            other = _domain(other)
            keep = ("event_type", "schema_version", "data", "tags", "metadata")
        fields = _fields(other)
        rows.append(
            {
                **row,
                "occurred_on": event.occurred_on,
                "recorded_on": event.recorded_on,
                **{name: fields[name] for name in keep},
                "position": event.position if scale == 1 else (event.position + 1) * scale,
            }
        )
    return rows
