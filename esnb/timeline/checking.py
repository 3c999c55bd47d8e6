"""Holding SQL to Python: whole streams folded both ways, and every state compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esnb.aggregate.root import Aggregate
from esnb.errors import TimelineError, shown
from esnb.event import RecordedEvent
from esnb.log.finder import events_of
from esnb.query.names import literal, quote
from esnb.schema import COLUMNS
from esnb.timeline.states import history_sql

if TYPE_CHECKING:
    from esnb.timeline.read import Read

__all__ = ["Compared", "compare"]

_STREAMS = 100
_EVENTS = 10_000


@dataclass(frozen=True)
class Compared:
    """How many streams and events were folded both ways, and gave the same."""

    streams: int
    events: int


def compare(owner: type[Aggregate], read: Read, *, sample: int = _STREAMS) -> Compared:
    """Fold some streams with Python and compare every state with that of the timeline.

    The streams are the ones with the most events, and a random choice that stays the same
    for the same log.

    Parameters
    ----------
    sample
        How many streams, as long as they have no more than 10,000 events together (or a
        hundred for each).

    Raises
    ------
    TimelineError
        Naming stream, event and field where the two differ.
    """
    table, cursor = read.table, read.cursor
    chosen = cursor.execute(
        f"""
        WITH each AS (SELECT o.stream, o.revision + 1 AS events FROM {table.open_rows()} AS o),
        picked AS (
            SELECT * FROM (FROM each ORDER BY events DESC, stream LIMIT {max(1, sample // 20)})
            UNION SELECT * FROM (FROM each ORDER BY hash(stream), stream LIMIT {sample})
        )
        SELECT p.stream FROM (
            SELECT p.*, sum(p.events) OVER (ORDER BY p.events, p.stream) AS running
            FROM picked AS p
        ) AS p WHERE p.running <= {max(_EVENTS, 100 * sample)} ORDER BY p.stream
        """  # noqa: S608 (our own text)
    ).fetchall()
    streams = [stream for (stream,) in chosen]
    if not streams:
        return Compared(0, 0)
    # Spelled out, the names are looked for in the files before anything else is read of a row.
    states = cursor.execute(
        f"SELECT * FROM ({history_sql(table)}) AS h WHERE h.stream IN"  # noqa: S608
        f" ({', '.join(map(literal, streams))}) ORDER BY h.stream, h.position"
    )
    names = [column[0] for column in states.description]
    rows = [dict(zip(names, row, strict=True)) for row in states.fetchall()]
    places = {(row["stream"], row["position"]): row for row in rows}
    events = _events(read, {position for _, position in places})
    noop = owner.description.noop
    aggregate: Aggregate | None = None
    for (stream, position), row in places.items():
        if aggregate is None or aggregate.stream != stream:
            aggregate = owner(stream)
        event = events[position]
        failed = noop is not None and event.data.get(noop) is not None
        if failed or owner.description.reads(event.event_type, event.schema_version):
            aggregate.replay(event)
        wanted = Aggregate.state(aggregate)
        for name, value in wanted.items():
            expected = None if aggregate.ended else value
            if not same(expected, row[name]):
                raise TimelineError(
                    f"{owner.__name__}.{name} of {shown(stream)} at revision {row['revision']} "
                    f"({row['event_type']}): Python gives {shown(expected)}, SQL gives "
                    f"{shown(row[name])}. This should never be: please report the class. "
                    f"timeline({owner.__name__}, python=True) folds it with Python alone"
                )
    return Compared(len(streams), len(places))


def same(expected: Any, found: Any) -> bool:
    """Tell whether a state of Python's is the value of a column."""
    if isinstance(found, dict):
        found = list(found.items())
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, tuple) and isinstance(found, tuple | list):
        return len(expected) == len(found) and all(map(same, expected, found))
    if expected != expected:  # what is not a number is not itself, either
        return bool(found != found)
    return bool(expected == found)


def _events(read: Read, positions: Iterable[int]) -> dict[int, RecordedEvent]:
    """Return events by position."""
    columns = ", ".join(f"e.{quote(name)}" for name in COLUMNS)
    found = read.cursor.execute(
        f"SELECT {columns} FROM events AS e WHERE e.position IN (SELECT unnest($1))",  # noqa: S608
        [sorted(positions)],
    ).to_arrow_table()
    return {event.position: event for event in events_of(found.to_reader())}
