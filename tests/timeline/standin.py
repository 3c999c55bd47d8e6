"""A log in memory for the tests of timelines, and events for it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st

from esnb import jsontext
from esnb.schema import EVENT_SCHEMA
from tests.timeline.reference import Event

START = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)  # hours before Berlin's clocks skip one


@dataclass
class Snapshot:
    next_position: int


class MemoryLog:
    """Events in a list; what a `Timeline` asks of a log, and no more."""

    def __init__(self, events: list[Event] | None = None, *, zone: str | None = None) -> None:
        self.written = list(events or ())
        self.zone = zone
        self.session = self
        self._folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, self._folder)
        self._connection = duckdb.connect()
        self._connection.execute(f"SET GLOBAL TimeZone = '{zone or 'UTC'}'")

    def write(self, stream: str, event_type: str, data: str = "{}", **fields: Any) -> Event:
        recorded = fields.pop("recorded_on", START + timedelta(hours=len(self.written)))
        event = Event(
            position=len(self.written),
            stream=stream,
            category=stream.partition("-")[0],
            revision=sum(other.stream == stream for other in self.written),
            event_type=event_type,
            occurred_on=fields.pop("occurred_on", recorded),
            recorded_on=recorded,
            actor=fields.pop("actor", None),
            data=data,
            schema_version=fields.pop("schema_version", 1),
        )
        self.written.append(event)
        return event

    def snapshot(self) -> Snapshot:
        return Snapshot(len(self.written))

    @property
    def derived(self) -> Path:
        return Path(self._folder)

    def fresh(self, snapshot: Snapshot | None = None) -> duckdb.DuckDBPyConnection:
        cursor = self._connection.cursor()
        if snapshot is not None:
            cursor.register("events", as_arrow(self.written[: snapshot.next_position]))
        return cursor


def as_arrow(events: list[Event]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "position": event.position,
                "event_id": event.event_id,
                "stream": event.stream,
                "category": event.category,
                "revision": event.revision,
                "event_type": event.event_type,
                "schema_version": event.schema_version,
                "occurred_on": event.occurred_on,
                "recorded_on": event.recorded_on,
                "actor": event.actor,
                "tags": [],
                "data": event.data,
                "metadata": "{}",
            }
            for event in events
        ],
        EVENT_SCHEMA,
    )


INTEGERS = st.sampled_from([0, 1, -1, 7, 2**31, -(2**63), 2**63 - 1])
TEXTS = st.sampled_from(["", "a", "é", "null", "1", "it's", '"q"', "🜁", "x\x00y", "true"])
DECIMALS = st.sampled_from([Decimal("12345678901234567.89"), Decimal("0.1234567890123456789")])
FLOATS = st.sampled_from([0.5, -2.25, 1e-7, 1.5e300, 0.1])
SCALARS = st.one_of(st.none(), st.booleans(), INTEGERS, st.just(10**30), FLOATS, DECIMALS, TEXTS)
ARRAYS = st.lists(st.one_of(INTEGERS, TEXTS, st.none(), DECIMALS, st.just({"k": 1})), max_size=2)
OBJECTS = st.recursive(
    st.one_of(SCALARS, ARRAYS),
    lambda inner: st.dictionaries(st.sampled_from(["k", "l", ""]), inner, max_size=2),
    max_leaves=3,
)
# Each key has values of its own, so that every type of column occurs.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "count": st.one_of(st.none(), INTEGERS),
    "flag": st.one_of(st.none(), st.booleans()),
    "Price": st.one_of(INTEGERS.filter(lambda n: abs(n) < 2**53), FLOATS),
    "price": st.one_of(st.none(), INTEGERS, DECIMALS, FLOATS),
    "stream": TEXTS,
    "a.b": st.one_of(st.none(), INTEGERS, st.just(10**30)),
    "*": SCALARS,
    "$": ARRAYS,
    "": st.one_of(st.none(), TEXTS),
    "~/'\"\x00é": st.one_of(st.none(), INTEGERS, TEXTS),
    "deep": OBJECTS,
    "deeper": st.dictionaries(st.sampled_from(["k", "l"]), OBJECTS, max_size=2),
}
CATEGORIES = ("order", "ünïcode's")
PAYLOADS = st.lists(st.sampled_from(sorted(VALUES)), max_size=4, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: VALUES[key] for key in keys})
)
HOURS = st.sampled_from([0, 1, 2, 2, 3, 26, 49])
INSTANTS = HOURS.map(lambda hours: START + timedelta(hours=hours))
MOMENTS = st.one_of(
    INSTANTS, INSTANTS.map(lambda at: at + timedelta(microseconds=-1)), st.integers(-1, 12)
)


@st.composite
def logs(draw: st.DrawFn) -> MemoryLog:
    log = MemoryLog(zone="Europe/Berlin")
    for _ in range(draw(st.integers(0, 10))):
        log.write(
            draw(st.sampled_from(["order-1", "order-2", "order-é'", "other-1"])),
            draw(st.sampled_from(["Placed", "Changed", "Changed", "Gone"])),
            jsontext.canonical(draw(PAYLOADS)),
            occurred_on=draw(INSTANTS),
            recorded_on=draw(INSTANTS),
            actor=draw(st.sampled_from([None, "ann"])),
        )
    return log
