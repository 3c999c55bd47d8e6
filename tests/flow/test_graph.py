"""Directly-follows graph and activities, held to plain Python."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb.flow.groups import means, quantiles, sort_in_groups
from esnb.flow.steps import ordered
from tests.flow import reference
from tests.flow.logs import PARTS, START, TYPES, log_of
from tests.flow.reference import Event


def cases(types: Any = TYPES, most: int = 9) -> st.SearchStrategy[reference.Cases]:
    """Cases on the clock of the log: some times go back."""
    wait = st.one_of(st.integers(0, 2), st.integers(-(10**6), 10**12))

    def timed(events: list[tuple[str, int]]) -> list[Event]:
        at, found = START, []
        for event_type, micros in events:
            at += timedelta(microseconds=micros)
            found.append(Event(event_type, at, len(found)))
        return found

    event = st.tuples(st.sampled_from(types), wait)
    name = st.text("ab-1ü", min_size=1, max_size=3)
    return st.dictionaries(name, st.lists(event, min_size=1, max_size=most).map(timed), max_size=7)


def flow_of(found: reference.Cases) -> esnb.Flow:
    """Put cases, each in the order in which it stands, into a flow."""
    rows = [(name, *event) for name, events in found.items() for event in events]
    names, types, at, positions = zip(*rows, strict=True) if rows else ((), (), (), ())
    micros = pa.array(at, pa.timestamp("us", "UTC")).cast(pa.int64())
    batch = pa.record_batch(
        {
            "case_id": pa.array(names, pa.string()),
            "event_type": pa.array(types, pa.string()),
            "time": micros,
            "position": pa.array(positions, pa.int64()),
        }
    )
    empty = esnb.flow(
        pa.table({"c": pa.array([], pa.string()), "t": pa.array([], pa.string()), "time": at[:0]}),
        case_id="c", event_type="t", time="time",
    )  # fmt: skip
    return esnb.Flow(empty.selection, ordered([batch], by_time=False))


@settings(max_examples=200)
@given(cases())
def test_edges_and_activities_of_any_cases(found: reference.Cases) -> None:
    found = reference.ordered(found, "recorded")
    flow = flow_of(found)
    assert flow.directly_follows().fetchall() == reference.directly_follows(found)
    assert flow.activities().fetchall() == reference.activities(found)


@settings(max_examples=20)
@given(PARTS, st.sampled_from(["occurred", "recorded"]), st.sampled_from([None, "customer:"]))
def test_edges_and_activities_of_a_log(parts: list[Any], clock: Any, by: str | None) -> None:
    with log_of(parts) as log:
        flow = log.flow(by=by, clock=clock)
        found = reference.cases_of(log.read(), by=by, clock=clock)
        assert flow.directly_follows().fetchall() == reference.directly_follows(found)
        assert flow.activities().fetchall() == reference.activities(found)


def test_many_types_are_paired_too() -> None:
    names = [f"type {number}" for number in range(2_500)]
    random = np.random.default_rng(8)
    found: reference.Cases = {}
    for case in range(40):
        chosen = random.choice(2_500, 100)
        found[f"case {case:02}"] = [
            Event(names[number], START + timedelta(seconds=place), place)
            for place, number in enumerate(chosen.tolist())
        ]
    found["all"] = [Event(name, START, place) for place, name in enumerate(names)]
    found = reference.ordered(found)
    flow = flow_of(found)
    assert len(flow.built().types) == 2_500
    assert flow.directly_follows().fetchall() == reference.directly_follows(found)


def test_waits_of_large_groups_and_long_times() -> None:
    """So many and such long waits that their sum needs more than 64 bits."""
    first, last = (
        datetime(1, 1, 2, tzinfo=START.tzinfo),
        datetime(9999, 12, 30, tzinfo=START.tzinfo),
    )
    found = {
        f"{case:03}": [
            Event("a", first + timedelta(days=case), 0),
            Event("b", last - timedelta(seconds=case), 1),
        ]
        for case in range(600)
    }
    assert flow_of(found).directly_follows().fetchall() == reference.directly_follows(found)


@given(st.lists(st.lists(st.integers(-(10**13), 10**13), min_size=1, max_size=600), max_size=4))
def test_numbers_in_groups(groups: list[list[int]]) -> None:
    values = np.array([value for group in groups for value in group], np.int64)
    counts = np.array([len(group) for group in groups], np.int64)
    starts = np.cumsum(counts) - counts
    micros = [[timedelta(microseconds=value) for value in group] for group in groups]
    expected = [reference.three(group) for group in micros]
    average = means(values, starts, counts)
    sort_in_groups(values, starts, counts)
    assert values.tolist() == [value for group in groups for value in sorted(group)]
    for place, found in enumerate(
        (
            quantiles(values, starts, counts, 1, 2),
            average,
            quantiles(values, starts, counts, 19, 20),
        )
    ):
        assert [timedelta(microseconds=v) for v in found.tolist()] == [e[place] for e in expected]


@pytest.mark.parametrize("name", ["directly_follows", "activities", "variants", "durations"])
def test_names_of_columns(name: str) -> None:
    columns = {
        "directly_follows": "kind source target count cases median_wait mean_wait p95_wait",
        "activities": "event_type count cases starts ends first_seen last_seen",
        "variants": "variant length cases share median_duration mean_duration p95_duration"
        " first_seen last_seen examples variant_id",
        "durations": "case_id started ended duration events first_type last_type",
    }
    for found in ({}, {"a": [Event("x", START, 0), Event("y", START, 1)]}):
        relation = getattr(flow_of(found), name)()
        assert relation.columns == columns[name].split()
        kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
        for column, kind in kinds.items():
            if column.endswith(("wait", "duration")):
                assert kind == "INTERVAL"
            elif column in ("started", "ended", "first_seen", "last_seen"):
                assert kind == "TIMESTAMP WITH TIME ZONE"
            elif column in ("variant", "examples"):
                assert kind == "VARCHAR[]"


def test_what_a_flow_says_of_itself() -> None:
    flow = flow_of({"a": [Event("<b>x", START, 0), Event("y", START, 1)]})
    assert "2 events, 1 case, 2 event types" in repr(flow)
    shown = flow._repr_html_()
    assert "&lt;b&gt;x" in shown
    assert "<b>x" not in shown
    assert len(flow) == 2


def test_a_flow_of_a_log_says_what_it_is(tmp_path: Any) -> None:
    with esnb.create(tmp_path / "log", zone="Europe/Berlin") as log:
        log.append("order-1", [esnb.DomainEvent("Placed", {}, tags=["customer:1"])])
        flow = log.flow(
            "order", by="customer:", window=("2026-01-01", None), where="actor IS NULL", after=-1
        )
        assert repr(flow) == (
            "Flow(order by customer:, by occurred_on, from 2026-01-01 00:00:00+01:00, after -1,"
            " where actor IS NULL, Europe/Berlin; log at position 1)"
        )
        assert "log at position 1" in flow._repr_html_()
        assert repr(flow).endswith("log at position 1, 1 event, 1 case, 1 event type)")
        assert (
            repr(log.flow())
            == "Flow(all streams, by occurred_on, Europe/Berlin; log at position 1)"
        )
