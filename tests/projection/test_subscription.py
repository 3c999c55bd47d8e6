"""Subscriptions: every event after a position, once, in order, however it is cut."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import DomainEvent, EventLog
from esnb.errors import QueryError
from esnb.schema import EVENT_SCHEMA

EVENT = st.tuples(
    st.sampled_from(["order-1", "order-2", "cart-1", "o'r-1"]),
    st.sampled_from(["Placed", "Paid", "it's"]),
)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.lists(EVENT, max_size=9), st.booleans()), min_size=1, max_size=5),
    st.integers(-1, 12),
    st.integers(1, 8),
    st.sampled_from([(), "order", ["cart", "o'r"], ["none"]]),
    st.sampled_from([(), "it's", ["Placed", "Paid"]]),
)
def test_events_after_a_position(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[tuple[list[tuple[str, str]], bool]],
    after: int,
    size: int,
    category: Any,
    types: Any,
) -> None:
    folder = tmp_path_factory.mktemp("case")
    with esnb.create(folder / "log", zone="UTC", maintain=False) as log:
        for events, seal in parts:
            for stream, event_type in events:
                log.append(stream, DomainEvent(event_type))
            if seal:
                log.seal()
        everything = list(log.read())

        def wanted(event: esnb.RecordedEvent) -> bool:
            categories = [category] if isinstance(category, str) else category
            kinds = [types] if isinstance(types, str) else types
            return (
                event.position > after
                and (not categories or event.category in categories)
                and (not kinds or event.event_type in kinds)
            )

        expected = [event for event in everything if wanted(event)]
        asked = {"category": category, "event_types": types, "batch": size}
        assert list(log.subscribe(after, **asked)) == expected
        subscription = log.subscribe(after, **asked)
        place, found = after, []
        for batch in subscription.batches():
            assert batch.after == place
            assert batch.through > batch.after
            assert batch.table.num_rows <= size
            assert batch.table.schema.equals(EVENT_SCHEMA)
            events = list(batch.events())
            assert all(batch.after < event.position <= batch.through for event in events)
            found += events
            place = batch.through
        assert found == expected
        assert place == max(after, len(everything) - 1)
        assert subscription.position == place


def test_it_follows_other_processes_events(log: EventLog) -> None:
    found: list[int] = []
    subscription = log.subscribe(follow=True, event_types="Wanted")
    reader = threading.Thread(target=lambda: found.extend(e.position for e in subscription))
    reader.start()
    with esnb.open(log.path, maintain=False) as other:
        for number in range(6):
            other.append("order-1", DomainEvent("Wanted" if number % 2 else "Other"))
            if number == 3:
                other.seal()
        other.append_frame(
            pa.table({"stream": ["bulk-1"] * 3, "event_type": ["Wanted"] * 3, "data": ["{}"] * 3})
        )
    end = time.monotonic() + 30
    while len(found) < 6 and time.monotonic() < end:
        time.sleep(0.01)
    subscription.stop()
    reader.join(30)
    assert not reader.is_alive()
    assert found == [1, 3, 5, 6, 7, 8]


def test_a_stop_from_within(log: EventLog) -> None:
    log.append("order-1", [DomainEvent("A") for _ in range(5)])
    subscription = log.subscribe(follow=True)
    seen = []
    for event in subscription:
        seen.append(event.position)
        if event.position == 2:
            subscription.stop()
    assert seen == [0, 1, 2]


def test_an_error_is_told(log: EventLog) -> None:
    for wrong in ({"batch": 0}, {"batch": True}, {"poll": 0}, {"category": [1]}):
        with pytest.raises(QueryError):
            log.subscribe(**wrong)


@pytest.mark.skipif(not hasattr(os, "times"), reason="no process times")
def test_waiting_reads_the_log_seldom(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens the files are looked at, and hardly ever the log."""
    log.append("order-1", DomainEvent("A"))
    looks = []
    snapshot = log.snapshot
    monkeypatch.setattr(log, "snapshot", lambda: looks.append(1) or snapshot())
    began = time.monotonic()
    subscription = log.subscribe(
        0, follow=True, poll=1000, stop=lambda: time.monotonic() > began + 0.5
    )
    assert list(subscription) == []
    assert len(looks) <= 4
