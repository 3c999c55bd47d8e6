"""Two sides of a flow beside each other, held to plain Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import FlowError, InstantError, QueryError
from tests.flow.told import HOUR, START, TYPES, Told, histories, recorded, written

MICRO = timedelta(microseconds=1)


class Row(NamedTuple):
    """What a flow looks at of an event."""

    case: str
    event_type: str
    at: datetime
    order: int


def median(waits: list[timedelta]) -> timedelta | None:
    ordered = sorted(wait // MICRO for wait in waits)
    if not ordered:
        return None
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return (low + (high - low + 1) // 2) * MICRO


Edge = tuple[str, str | None, str | None]


def edges(rows: list[Row]) -> tuple[Counter[Edge], dict[Edge, list[timedelta]]]:
    """How often each edge is gone along, and after which waits."""
    cases = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.at, row.order)):
        cases[row.case].append(row)
    counts: Counter[Edge] = Counter()
    waits = defaultdict(list)
    for case in cases.values():
        counts["start", None, case[0].event_type] += 1
        counts["end", case[-1].event_type, None] += 1
        for source, target in pairwise(case):
            edge = ("step", source.event_type, target.event_type)
            counts[edge] += 1
            waits[edge].append(target.at - source.at)
    return counts, waits


def difference(a: list[Row], b: list[Row]) -> list[tuple[object, ...]]:
    """Both sides, beside each other."""
    (counts_a, waits_a), (counts_b, waits_b) = edges(a), edges(b)
    found = []
    for edge in {*counts_a, *counts_b}:
        shares = [
            counts[edge] / max(sum(n for (kind, *_), n in counts.items() if kind == edge[0]), 1)
            for counts in (counts_a, counts_b)
        ]
        medians = [median(waits.get(edge, [])) for waits in (waits_a, waits_b)]
        change = None if None in medians else medians[1] - medians[0]
        both = (counts_a[edge], counts_b[edge])
        points = 100 * (shares[1] - shares[0])
        found.append((*edge, *both, *shares, both[1] - both[0], points, *medians, change))
    # An edge that is no edge of the other kinds stands first where there is no source.
    found.sort(
        key=lambda row: (
            -abs(row[8]),
            -abs(row[7]),
            row[0],
            row[1] is not None,
            row[1] or "",
            row[2] is None,
            row[2] or "",
        )
    )
    return found


rows_of_cases = st.lists(
    st.builds(
        Row,
        st.sampled_from(["a", "b", "ü", "'"]),
        st.sampled_from(TYPES),
        st.integers(0, 20).map(lambda hours: START + hours * HOUR),
        st.just(0),
    ),
    max_size=25,
).map(lambda rows: [row._replace(order=order) for order, row in enumerate(rows)])
ends = st.none() | st.integers(-1, 21).map(lambda hours: START + hours * HOUR)
windows = st.tuples(ends, ends).map(
    lambda window: window if None in window or window[0] <= window[1] else window[::-1]
)


def table(rows: list[Row]) -> pa.Table:
    return pa.table(
        {
            "case_id": pa.array([row.case for row in rows], pa.string()),
            "event_type": pa.array([row.event_type for row in rows], pa.string()),
            "time": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
        }
    )


def flow_of(rows: list[Row]) -> esnb.Flow:
    return esnb.flow(table(rows), case_id="case_id", event_type="event_type", time="time")


def inside(rows: list[Row], window: tuple[datetime | None, datetime | None]) -> list[Row]:
    first, last = window
    return [row for row in rows if (not first or row.at >= first) and (not last or row.at < last)]


@given(rows_of_cases, windows, windows)
def test_two_windows_are_counted_apart(rows, a, b):
    found = flow_of(rows).between(a, b).fetchall()
    assert found == difference(inside(rows, a), inside(rows, b))


@given(rows_of_cases, rows_of_cases)
def test_two_flows_are_counted_apart(a, b):
    flow, other = flow_of(a), flow_of(b)
    expected = difference(a, b)
    assert flow.between(flow, other).fetchall() == expected
    assert other.between(flow, other).fetchall() == expected


@given(rows_of_cases)
def test_nothing_changes_between_a_flow_and_itself(rows):
    flow = flow_of(rows)
    for row in flow.between(flow, (None, None)).fetchall():
        assert row[7:9] == (0, 0.0)


# --- of a log --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return new places for logs."""
    folder, numbers = tmp_path_factory.mktemp("logs"), count()
    return lambda: folder / str(next(numbers))


def orders(events: list[Told], clock: str = "occurred") -> list[tuple[Told, Row]]:
    """The events of orders, and what a flow looks at of them."""
    return [
        (event, Row(event.stream, event.event_type, at, position))
        for position, event in enumerate(events)
        for at in [event.at if clock == "occurred" else recorded(position)]
        if event.stream.startswith("order-")
    ]


# What may stand for a side, and which events it asks for.
SIDES: list[tuple[dict[str, object], Callable[[Told], bool]]] = [
    ({}, lambda event: True),
    ({"actor": "o'neil"}, lambda event: event.actor == "o'neil"),
    (
        {"actor": ["ann", "bob"], "tag": "rush"},
        lambda event: event.actor in ("ann", "bob") and "rush" in event.tags,
    ),
    ({"where": "actor IS NULL"}, lambda event: event.actor is None),
    ({"where": "data->>'$.status' = 'held' -- so"}, lambda event: event.status == "held"),
    ({"stream": ["order-1", "parcel-1"]}, lambda event: event.stream == "order-1"),
    ({"category": "parcel"}, lambda event: False),
    (
        {"window": (START + 3 * HOUR, None), "actor": "ann"},
        lambda event: event.hours >= 3 and event.actor == "ann",
    ),
    ({"occurred_to": "2026-03-28T05:00Z"}, lambda event: event.hours < 5),
]


@settings(max_examples=40)
@given(histories, st.integers(0, 20), st.sampled_from(SIDES), st.sampled_from(SIDES))
def test_two_groups_of_a_log_are_counted_apart(place, events, cut, a, b):
    rows = orders(events)
    with written(place(), events, cut) as log:
        found = log.flow("order").between(a[0], b[0]).fetchall()
    assert found == difference(*([row for event, row in rows if side[1](event)] for side in (a, b)))


@settings(max_examples=20)
@given(histories, st.integers(0, 20), st.integers(0, 12))
def test_windows_go_by_the_clock_of_the_flow(place, events, cut, hour):
    middle = START + hour * HOUR
    with written(place(), events, cut) as log:
        for clock in ("occurred", "recorded"):
            found = (
                log.flow("order", clock=clock).between((None, middle), (middle, None)).fetchall()
            )
            rows = [row for _, row in orders(events, clock)]
            # By the recorded clock a case goes as the log has it.
            assert found == difference(
                [row for row in rows if row.at < middle], [row for row in rows if row.at >= middle]
            )


def test_a_window_of_the_flow_holds_for_both_sides(place):
    told = [Told("order-1", "placed", hour, "ann", (), "new") for hour in range(10)]
    with written(place(), told) as log:
        flow = log.flow("order", window=(START + 2 * HOUR, START + 6 * HOUR))
        found = flow.between((None, START + 4 * HOUR), (None, None))
        assert found.filter("kind = 'step'").project("count_a, count_b").fetchall() == [(1, 3)]


def test_a_group_of_cases_by_their_tags(place):
    told = [
        Told("order-1", "placed", 0, "ann", ("customer:1", "customer:2"), "new"),
        Told("order-2", "placed", 1, "bob", ("customer:1",), "new"),
        Told("order-2", "paid", 2, "ann", ("customer:2",), "new"),
    ]
    with written(place(), told) as log:
        found = log.flow(by="customer:").between({"actor": "ann"}, {"actor": "bob"})
        assert set(found.project("kind, source, target, count_a, count_b").fetchall()) == {
            ("start", None, "placed", 2, 1),
            ("step", "placed", "paid", 1, 0),
            ("end", "placed", None, 1, 1),
            ("end", "paid", None, 1, 0),
        }


@pytest.mark.parametrize(
    ("side", "error", "message"),
    [
        (None, FlowError, "no side of a comparison"),
        ("2026-03-01", FlowError, "no side of a comparison"),
        (("2026-03-01Z",), FlowError, "no side of a comparison"),
        ({"window": "march"}, FlowError, "no side of a comparison"),
        ((START, START - HOUR), FlowError, "ends before it begins"),
        (("soon", None), InstantError, "soon"),
        ({"colour": "red"}, QueryError, "no filter 'colour'"),
        ({"where": "1; drop table events"}, QueryError, "cannot parse"),
        ({"where": "amount > 1"}, QueryError, "no condition on an event"),
        ({"where": 5}, FlowError, "where=5"),
    ],
)
def test_what_is_no_side_is_said(place, side, error, message):
    told = [Told("order-1", "placed", 0, "ann", (), "new")]
    with written(place(), told) as log, pytest.raises(error, match=message):
        log.flow("order").between(side, (None, None))


def test_times_without_a_zone_need_a_declared_one(tmp_path):
    window = (datetime(2026, 3, 1), None)
    with (
        esnb.create(tmp_path, maintain=False) as log,
        pytest.raises(InstantError, match="no time z"),
    ):
        log.flow("order").between(window, window)


def test_clocks_are_not_mixed(place):
    with written(place(), [Told("order-1", "placed", 0, "ann", (), "new")]) as log:
        flow = log.flow("order")
        with pytest.raises(FlowError, match="goes by occurred_on and the other by recorded_on"):
            flow.between((None, None), log.flow("order", clock="recorded"))


def test_a_table_has_no_filters():
    flow = flow_of([Row("a", "placed", START, 0)])
    with pytest.raises(FlowError, match="say windows"):
        flow.between({"actor": "ann"}, (None, None))


def test_of_empty_sides_there_is_nothing(place):
    with written(place(), []) as log:
        flow = log.flow("order")
        assert flow.between((None, None), {"actor": "ann"}).fetchall() == []


def test_columns_have_their_types():
    found = flow_of([Row("a", "placed", START, 0), Row("a", "paid", START, 1)]).between(
        (None, None), (None, None)
    )
    assert dict(zip(found.columns, map(str, found.types), strict=True)) == {
        "kind": "VARCHAR", "source": "VARCHAR", "target": "VARCHAR",
        "count_a": "BIGINT", "count_b": "BIGINT", "share_a": "DOUBLE", "share_b": "DOUBLE",
        "change": "BIGINT", "points": "DOUBLE", "median_wait_a": "INTERVAL",
        "median_wait_b": "INTERVAL", "wait_change": "INTERVAL",
    }  # fmt: skip
