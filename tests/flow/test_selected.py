"""Which events a flow takes, from outside: by states of a timeline, windows, names, tags."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import esnb
from tests.flow.told import HOUR, START, STREAMS, Told, histories, recorded, written

Row = tuple[str, int, str, datetime, int]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return new places for logs."""
    folder, numbers = tmp_path_factory.mktemp("logs"), count()
    return lambda: folder / str(next(numbers))


def expected(
    events: list[Told],
    wanted: Callable[[int, Told], bool],
    clock: str = "occurred",
    by: str | None = None,
) -> list[Row]:
    """Case, place, event type, instant and position of the wanted events, in plain Python."""
    cases: dict[str, list[tuple[object, ...]]] = {}
    for position, event in enumerate(events):
        if wanted(position, event):
            at = event.at if clock == "occurred" else recorded(position)
            names = [event.stream] if by is None else [t for t in event.tags if t.startswith(by)]
            for name in names:
                key = (at, position) if clock == "occurred" else (position,)
                cases.setdefault(name, []).append((key, event.event_type, at, position))
    return [
        (name, number, *row[1:])
        for name in sorted(cases, key=lambda name: name.encode())
        for number, row in enumerate(sorted(cases[name]))
    ]


def rows_of(flow: esnb.Flow) -> list[Row]:
    return flow.events().fetchall()


def states(events: list[Told]) -> dict[str, list[str]]:
    """The states that each order had, one after each of its events, as the log came to know."""
    found: dict[str, list[str]] = {}
    for event in events:
        if event.stream.startswith("order-"):
            found.setdefault(event.stream, []).append(event.status)
    return found


@settings(max_examples=30)
@given(histories, st.integers(0, 20))
def test_orders_that_were_ever_cancelled(place, events, cut):
    assume(states(events))  # no orders, no status to ask for
    ever = {stream for stream, had in states(events).items() if "cancelled" in had}
    with written(place(), events, cut) as log:
        found = log.flow("order", streams=log.timeline("order").when("status = 'cancelled'"))
        assert rows_of(found) == expected(events, lambda _, event: event.stream in ever)


@settings(max_examples=30)
@given(histories, st.integers(0, 20), st.integers(0, 11))
def test_orders_that_stood_so_at_a_time(place, events, cut, hour):
    assume(states(events))
    at = START + hour * HOUR
    known = [event for position, event in enumerate(events) if recorded(position) <= at]
    held = {stream for stream, had in states(known).items() if had[-1] == "held"}
    with written(place(), events, cut) as log:
        stood = log.timeline("order").as_of(at).filter("status = 'held'")
        found = log.flow("order", streams=stood)
        assert rows_of(found) == expected(events, lambda _, event: event.stream in held)
        other = log.flow("order", streams=stood, clock="recorded")
        assert rows_of(other) == expected(
            events, lambda _, event: event.stream in held, clock="recorded"
        )


ends = st.none() | st.integers(0, 21)


@settings(max_examples=40)
@given(
    histories,
    st.integers(0, 20),
    st.sampled_from(["occurred", "recorded"]),
    ends,
    ends,
    st.sampled_from([None, "customer:", "item:"]),
    st.none() | st.lists(st.sampled_from(["ann", "bob", "nobody"])),
)
def test_windows_on_either_clock_with_filters(place, events, cut, clock, first, last, by, actors):
    if first is not None and last is not None and first > last:
        first, last = last, first

    def wanted(position: int, event: Told) -> bool:
        at = event.at if clock == "occurred" else recorded(position)
        return (
            (first is None or at >= START + first * HOUR)
            and (last is None or at < START + last * HOUR)
            and (actors is None or event.actor in actors)
            and event.stream.startswith("order-")
        )

    window = tuple(None if end is None else START + end * HOUR for end in (first, last))
    with written(place(), events, cut) as log:
        found = log.flow("order", by=by, clock=clock, window=window, actor=actors)
        assert rows_of(found) == expected(events, wanted, clock, by)


@settings(max_examples=20)
@given(histories, st.integers(0, 20), st.lists(st.sampled_from([*STREAMS, "nobody", "'"])))
def test_names_and_tables_of_streams(place, events, cut, names):
    def wanted(_: int, event: Told) -> bool:
        return event.stream in names

    with written(place(), events, cut) as log:
        for streams in (names, pa.table({"stream": pa.array(names, pa.string())})):
            assert rows_of(log.flow(streams=streams)) == expected(events, wanted)


@settings(max_examples=20)
@given(histories, st.integers(0, 20))
def test_the_streams_behind_a_number_select_again(place, events, cut):
    with written(place(), events, cut) as log:
        flow = log.flow("order")
        if "placed" not in flow.activities().project("event_type").to_arrow_table()[0].to_pylist():
            return
        behind = flow.streams(with_="placed")
        names = {event.stream for event in events if event.event_type == "placed"}
        again = log.flow("order", streams=behind)
        assert rows_of(again) == expected(
            events,
            lambda _, event: event.stream in names and event.stream.startswith("order-"),
        )


@settings(max_examples=20)
@given(histories, st.integers(0, 20))
def test_the_cases_of_a_funnel_select_again(place, events, cut):
    with written(place(), events, cut) as log:
        flow = log.flow("order")
        if {"placed", "paid"} - {e.event_type for e in events if e.stream.startswith("order-")}:
            return
        lost = flow.funnel_cases(["placed", "paid"]).filter("reached = 1")
        names = {name for name, *_ in lost.fetchall()}
        counted = flow.funnel(["placed", "paid"]).project("cases").fetchall()
        assert len(names) == counted[0][0] - counted[1][0]
        again = log.flow("order", streams=lost)
        assert rows_of(again) == expected(events, lambda _, event: event.stream in names)


def test_a_flow_stands_for_the_log_as_it_was(place):
    told = [Told("order-1", "placed", 0, "ann", (), "new")] * 2
    with written(place(), told, 1) as log:
        flow = log.flow("order")
        log.append("order-1", esnb.DomainEvent("paid", {}))
        assert len(rows_of(flow)) == 2
        assert len(rows_of(log.flow("order"))) == 3
