"""Events as they are told, with states, actors and tags, and the logs that they make."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
from hypothesis import strategies as st

import esnb
from esnb import DomainEvent

START = datetime(2026, 3, 28, tzinfo=UTC)
HOUR = timedelta(hours=1)
TYPES = ["placed", "paid", 'it\'s "so"', "\U0001f6d2; drop table a"]
STREAMS = ["order-1", "order-2", "order-10", "order-ü", "parcel-1"]


class Told(NamedTuple):
    """An event as it is written: when it happened is told in hours, it may be late."""

    stream: str
    event_type: str
    hours: int
    actor: str | None
    tags: tuple[str, ...]
    status: str

    @property
    def at(self) -> datetime:
        return START + self.hours * HOUR


told = st.builds(
    Told,
    st.sampled_from(STREAMS),
    st.sampled_from(TYPES),
    st.integers(0, 20),
    st.sampled_from(["ann", "bob", "o'neil", None]),
    st.lists(st.sampled_from(["customer:1", "customer:2", "item:1", "rush"]), unique=True).map(
        tuple
    ),
    st.sampled_from(["new", "held", "cancelled"]),
)
histories = st.lists(told, max_size=20)


def recorded(position: int) -> datetime:
    """Return when the event at a position was recorded: two of them at each time."""
    return START + position // 2 * HOUR


def written(path: Path, events: list[Told], cut: int = 0) -> esnb.EventLog:
    """Write a log; its first `cut` events come in as a frame, the others stand in the tail."""
    now = [START]
    log = esnb.create(path, zone="UTC", clock=lambda: now[0], maintain=False)
    if events[:cut]:
        log.append_frame(_frame(events[:cut]))
    for position, event in enumerate(events[cut:], start=min(cut, len(events))):
        now[0] = recorded(position)
        log.append(
            event.stream,
            DomainEvent(
                event.event_type,
                {"status": event.status},
                occurred_on=event.at,
                actor=event.actor,
                tags=event.tags,
            ),
        )
    return log


def _frame(events: list[Told]) -> pa.Table:
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "stream": [event.stream for event in events],
            "event_type": [event.event_type for event in events],
            "data": [orjson.dumps({"status": event.status}).decode() for event in events],
            "occurred_on": pa.array([event.at for event in events], instant),
            "recorded_on": pa.array([recorded(place) for place in range(len(events))], instant),
            "actor": pa.array([event.actor for event in events], pa.string()),
            "tags": pa.array([list(event.tags) for event in events], pa.list_(pa.string())),
        }
    )
