"""Durations, events and the cases behind a number, held to plain Python."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.errors import FlowError
from tests.flow import reference
from tests.flow.logs import PARTS, START, TYPES, log_of
from tests.flow.reference import Event
from tests.flow.test_graph import cases, flow_of

KINDS = TYPES[:3]
# All types are there, whatever else is.
ALL = {"!": [Event(name, START, place) for place, name in enumerate(KINDS)]}


@settings(max_examples=150)
@given(cases())
def test_durations_and_events(found: reference.Cases) -> None:
    found = reference.ordered(found, "recorded")
    flow = flow_of(found)
    assert flow.durations().fetchall() == reference.durations(found)
    assert flow.events().fetchall() == reference.events(found)


@settings(max_examples=20)
@given(PARTS, st.sampled_from(["occurred", "recorded"]), st.sampled_from([None, "customer:"]))
def test_durations_of_a_log(parts: list[Any], clock: Any, by: str | None) -> None:
    with log_of(parts) as log:
        found = reference.cases_of(log.read(), by=by, clock=clock)
        assert log.flow(by=by, clock=clock).durations().fetchall() == reference.durations(found)


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    kind = st.sampled_from(KINDS)
    some = st.lists(kind, min_size=1, max_size=2)
    edge = st.one_of(st.tuples(kind, kind), st.tuples(st.none(), kind), st.tuples(kind, st.none()))
    return st.fixed_dictionaries(
        {},
        optional={
            "edge": edge, "without_edge": edge, "with_": some, "without": some,
            "starting": some, "ending": some,
            "variant": st.lists(kind, max_size=3),
        },
    )  # fmt: skip


@settings(max_examples=300)
@given(cases(KINDS, most=5), conditions())
def test_the_cases_behind_a_number(found: reference.Cases, said: dict[str, Any]) -> None:
    found = reference.ordered({**found, **ALL}, "recorded")
    flow = flow_of(found)
    names = reference.chosen(found, **said)
    listed = [(name, found[name][0].at, found[name][-1].at, len(found[name])) for name in names]
    assert flow.streams(**said).fetchall() == listed
    narrowed = flow.only(**said)
    part = {name: found[name] for name in names}
    assert narrowed.events().fetchall() == reference.events(part)
    assert narrowed.directly_follows().fetchall() == reference.directly_follows(part)
    assert narrowed.activities().fetchall() == reference.activities(part)
    assert narrowed.variants().fetchall() == reference.variants(part)
    # What none of these cases has is known all the same.
    assert narrowed.streams(with_=KINDS[0]).fetchall() == [
        row for row in listed if row[0] in reference.chosen(found, with_=[KINDS[0]])
    ]


@given(cases(KINDS, most=5))
def test_numbers_are_those_of_the_cases_behind_them(found: reference.Cases) -> None:
    flow = flow_of(reference.ordered(found, "recorded"))
    for _, source, target, _, count, *_ in flow.directly_follows().fetchall():
        assert len(flow.streams(edge=(source, target))) == count
    for name, _, count, starts, ends, *_ in flow.activities().fetchall():
        assert len(flow.streams(with_=name)) == count
        assert len(flow.streams(starting=name)) == starts
        assert len(flow.streams(ending=name)) == ends


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"edge": ("Placed", "Piad")}, "no event type 'Piad' in this flow.*'Paid'"),
        ({"edge": (None, None)}, "say from which type, or to which"),
        ({"edge": "Placed"}, "edge='Placed': say a pair of types"),
        ({"edge": ("Placed",)}, "say a pair of types"),
        ({"with_": []}, r"with_=\[\]: say a type, or several"),
        ({"without": "Nothing"}, "no event type 'Nothing'"),
        ({"starting": ["Placed", 7]}, "no event type 7"),
        ({"endign": "Placed"}, "there is no condition 'endign'; there are edge, without_edge"),
    ],
)
def test_what_cannot_be_said(said: dict[str, Any], message: str) -> None:
    flow = flow_of(ALL)
    for method in (flow.streams, flow.only):
        with pytest.raises(FlowError, match=message):
            method(**said)


def test_nothing_selected() -> None:
    flow = flow_of({})
    for answer in (
        flow.activities(), flow.directly_follows(), flow.directly_follows(0.9), flow.variants(),
        flow.durations(), flow.events(), flow.streams(), flow.only().variants(),
    ):  # fmt: skip
        assert answer.fetchall() == []
    with pytest.raises(FlowError, match="No event is selected"):
        flow.streams(with_="Placed")
