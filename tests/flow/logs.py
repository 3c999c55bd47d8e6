"""Logs for the tests of flows: short, with ties, late events, several files and a tail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from esnb.event import DomainEvent
from esnb.eventlog import EventLog

START = datetime(2026, 1, 30, tzinfo=UTC)
TYPES = ("Placed", "Paid", "paid", 'It\'s "so"', "\U0001f6d2 gone", "</script>")
STREAMS = ("order-1", "order-10", "order-2", "order-ü", "order-￿", "order-\U0001f600", "item-1")
TAGS = ("customer:1", "customer:2", "customer", "site:1")


def rows(most: int = 12) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Events as a caller writes them; hours are few, so that many are the same."""
    hour = st.integers(0, 60).map(lambda n: START + timedelta(hours=n // 2 * 12))
    event = st.fixed_dictionaries(
        {
            "stream": st.sampled_from(STREAMS),
            "event_type": st.sampled_from(TYPES),
            "occurred_on": hour,
            "recorded_on": hour,
            "tags": st.lists(st.sampled_from(TAGS), max_size=3),
            "actor": st.sampled_from(["ann", "bob", None]),
        }
    )
    return st.lists(event, max_size=most)


# How a part of the events comes into the log, and what happens behind it.
PART = st.tuples(
    st.sampled_from(["frame", "append"]), st.sampled_from(["", "seal", "compact"]), rows()
)
PARTS = st.lists(PART, max_size=4)


@contextmanager
def log_of(parts: list[tuple[str, str, list[dict[str, Any]]]]) -> Iterator[EventLog]:
    """Write the parts into a new log."""
    with (
        TemporaryDirectory() as folder,
        EventLog.create(Path(folder) / "log", zone="Europe/Berlin", maintain=False) as log,
    ):
        for how, then, events in parts:
            if how == "frame" and events:
                log.append_frame(_frame(events))
            elif how == "append":
                for event in events:
                    given = {k: v for k, v in event.items() if k not in ("stream", "recorded_on")}
                    log.append(event["stream"], [DomainEvent(**given, data={})])
            if then == "seal":
                log.seal()
            elif then == "compact":
                log.seal()
                log.compact()
        yield log


def _frame(events: list[dict[str, Any]]) -> pa.Table:
    instant = pa.timestamp("us", "UTC")
    kinds = {
        "stream": pa.string(),
        "event_type": pa.string(),
        "occurred_on": instant,
        "recorded_on": instant,
        "tags": pa.list_(pa.string()),
        "actor": pa.string(),
    }
    columns = {
        name: pa.array([event[name] for event in events], kind) for name, kind in kinds.items()
    }
    return pa.table({**columns, "data": [json.dumps({})] * len(events)})
