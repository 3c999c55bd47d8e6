"""events(...): every filter against a plain loop; pruning; hostile values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.errors import InstantError, QueryError
from esnb.event import RecordedEvent
from esnb.log import Log
from esnb.query import Session
from esnb.query.select import Filters

START = datetime(2026, 1, 1, tzinfo=UTC)
TEXTS: dict[str, Callable[[RecordedEvent], Any]] = {
    "stream": lambda event: [event.stream],
    "category": lambda event: [event.category],
    "event_type": lambda event: [event.event_type],
    "event_id": lambda event: [event.event_id],
    "tag": lambda event: event.tags,
    "actor": lambda event: [event.actor],
    "correlation_id": lambda event: [event.correlation_id],
    "causation_id": lambda event: [event.causation_id],
}
VALUES = {
    "stream": ["order-0", "order-3", "customer-1", "it'em-5", "order", "zzz-1", ""],
    "category": ["order", "customer", "it'em", "nothing"],
    "event_type": ["Placed", "Paid", "Shipped", "placed"],
    "event_id": ["id-0", "id-77", "id-185", "id-199", "id-200"],
    "tag": ["t0", "t1", "u2", "u9"],
    "actor": ["actor 0", "actor 3", "Actor 0"],
    "correlation_id": ["c-0", "c-6", "c-9"],
    "causation_id": ["id-2", "id-8"],
}


def matches(event: RecordedEvent, filters: dict[str, Any]) -> bool:
    """Say in plain Python what the filters mean."""
    for name, value in filters.items():
        if name in TEXTS:
            wanted = [value] if isinstance(value, str) else list(value)
            if not set(TEXTS[name](event)) & set(wanted):
                return False
        elif name == "after":
            if not event.position > value:
                return False
        elif name == "before":
            if not event.position < value:
                return False
        else:
            at = event.occurred_on if name.startswith("occurred") else event.recorded_on
            if not (at >= value if name.endswith("from") else at < value):
                return False
    return True


def some_filters() -> st.SearchStrategy[dict[str, Any]]:
    texts = {
        name: st.sampled_from(values) | st.lists(st.sampled_from(values), max_size=3)
        for name, values in VALUES.items()
    }
    days = st.integers(-2, 205).map(lambda day: START + timedelta(days=day))
    moments = days | days.map(lambda at: at - timedelta(microseconds=1))
    times = dict.fromkeys(("occurred_from", "occurred_to", "recorded_from", "recorded_to"), moments)
    numbers = dict.fromkeys(("after", "before"), st.integers(-5, 210))
    return st.fixed_dictionaries({}, optional={**texts, **times, **numbers}).map(
        lambda chosen: dict(list(chosen.items())[:4])
    )


@settings(max_examples=200)
@given(filters=some_filters())
def test_filters_mean_what_a_loop_means(
    filled: Log, session: Session, filters: dict[str, Any]
) -> None:
    expected = [event.position for event in filled.read() if matches(event, filters)]
    found = session.events(filled.snapshot(), **filters).fetchall()
    assert [row[0] for row in found] == expected


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("several", [False, True])
def test_each_text_filter(filled: Log, session: Session, name: str, several: bool) -> None:
    values = VALUES[name]
    for value in [values[:2], values[:0], tuple(values), set(values)] if several else values:
        expected = [e.position for e in filled.read() if matches(e, {name: value})]
        found = session.events(filled.snapshot(), **{name: value}).fetchall()
        assert [row[0] for row in found] == expected


def test_times_are_read_in_the_zone_of_the_log(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()
    by_zone = session.events(snapshot, recorded_from="2026-03-01 01:00", recorded_to="2026-03-02")
    expected = [START + timedelta(days=59)]
    recorded = [event.recorded_on for event in filled.read()]
    assert expected[0] in recorded
    assert by_zone.project("recorded_on").to_arrow_table()[0].to_pylist() == expected
    by_date = session.events(snapshot, recorded_from=date(2026, 3, 1), recorded_to=date(2026, 3, 2))
    assert by_date.to_arrow_table() == by_zone.to_arrow_table()
    unzoned = Session(filled.path)
    with pytest.raises(InstantError, match="no time zone"):
        unzoned.events(snapshot, occurred_from="2026-03-01")
    assert len(unzoned.events(snapshot, occurred_from="0001-01-01T00:00Z").fetchall()) == 200
    assert unzoned.events(snapshot, recorded_from="9999-12-31 23:59:59Z").fetchall() == []
    unzoned.close()


def test_only_files_that_can_matter_are_read(filled: Log) -> None:
    segments = filled.snapshot().segments
    assert len(segments) >= 3

    def kept(**filters: Any) -> int:
        return len(Filters.read(filters, None).prune(segments))

    assert kept() == len(segments)
    assert kept(stream="zzz-1") == 0
    assert kept(category="nothing") == 0
    assert kept(category=["nothing", "order"]) == len(segments)
    assert kept(after=179) == 0
    assert kept(before=0) == 0
    assert kept(after=-1, before=1) == 1
    assert kept(recorded_to=START) == 0
    assert kept(recorded_to=START + timedelta(microseconds=1)) == 1
    assert kept(occurred_from=START + timedelta(days=300)) == 0
    assert kept(stream=[]) == 0


def test_events_at_the_edges_of_files_and_tail_are_found(filled: Log, session: Session) -> None:
    snapshot = filled.snapshot()
    edges = {edge for segment in snapshot.segments for edge in (segment.first, segment.last)}
    for position in sorted(edges | {snapshot.watermark, snapshot.next_position - 1}):
        found = session.events(snapshot, after=position - 1, before=position + 1).fetchall()
        assert [row[0] for row in found] == [position]
        (event,) = filled.read(after=position - 1, before=position + 1)
        for clock in ("occurred", "recorded"):
            at = getattr(event, f"{clock}_on")
            times = {f"{clock}_from": at, f"{clock}_to": at + timedelta(microseconds=1)}
            assert position in [row[0] for row in session.events(snapshot, **times).fetchall()]


def test_none_asks_nothing(filled: Log, session: Session) -> None:
    assert len(session.events(filled.snapshot(), stream=None, after=None).fetchall()) == 200


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"streams": "a"}, "no filter 'streams'; there are stream, category, event_type"),
        ({"1=1; --": "a"}, "no filter '1=1; --'"),
        ({"stream": 7}, "stream=7: give a text or a list of texts"),
        ({"stream": b"a"}, "give a text"),
        ({"stream": {"a": 1}}, "give a text"),
        ({"stream": ["a", 7]}, "stream: 7 is no text"),
        ({"stream": "\ud800"}, "lone surrogate"),
        ({"after": "7"}, "after='7': give a position"),
        ({"after": 1.0}, "give a position"),
        ({"before": True}, "give a position"),
    ],
)
def test_wrong_filters_say_what_is_right(
    filled: Log, session: Session, filters: dict[str, Any], message: str
) -> None:
    with pytest.raises(QueryError) as info:
        session.events(filled.snapshot(), **filters)
    assert message in str(info.value)


def test_positions_may_be_any_whole_number(filled: Log, session: Session) -> None:
    import numpy as np

    snapshot = filled.snapshot()
    assert len(session.events(snapshot, after=-(10**30), before=10**30).fetchall()) == 200
    assert len(session.events(snapshot, after=np.int64(198)).fetchall()) == 1


def test_hostile_values_find_their_events(tmp_path: Path, hostile_names: list[str]) -> None:
    names = hostile_names
    filters: dict[str, Any]
    count = len(names)
    frame = pa.table(
        {
            "stream": [f"odd-{name}" for name in names],
            "event_type": names,
            "event_id": [f"{name}#" for name in names],
            "actor": names,
            "correlation_id": names,
            "tags": [[name] for name in names],
            "data": ["{}"] * count,
        }
    )
    with Log.create(tmp_path / "log", maintain=False) as log:
        log.append_frame(frame.slice(0, count // 2))
        log.seal()
        log.append_frame(frame.slice(count // 2))
        snapshot = log.snapshot()
        session = Session(log.path)
        for start in range(0, count, 10):
            chunk = names[start : start + 10]
            for filters in (
                {"event_id": [f"{name}#" for name in chunk]},
                {"actor": chunk},
                {"stream": f"odd-{names[start]}", "category": "odd", "tag": names[start]},
            ):
                found = session.events(snapshot, **filters).project("event_id").fetchall()
                wanted = chunk if len(filters) == 1 else chunk[:1]
                assert found == [(f"{name}#",) for name in wanted]
        for filters in ({"tag": names}, {"event_type": names}, {"correlation_id": names}):
            assert len(session.events(snapshot, **filters).fetchall()) == count
        session.close()
