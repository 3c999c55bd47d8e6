"""Variants, held to plain Python."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.errors import FlowError
from tests.flow import reference
from tests.flow.logs import PARTS, START, TYPES, log_of
from tests.flow.reference import Event
from tests.flow.test_graph import cases, flow_of


@settings(max_examples=200)
@given(st.sampled_from([TYPES, TYPES[:2]]).flatmap(lambda types: cases(types, most=4)))
def test_variants_of_any_cases(found: reference.Cases) -> None:
    found = reference.ordered(found, "recorded")
    flow = flow_of(found)
    expected = reference.variants(found)
    assert flow.variants().fetchall() == expected
    assert flow.variants(2).fetchall() == expected[:2]
    assert flow.variants(0).fetchall() == []


@settings(max_examples=20)
@given(PARTS, st.sampled_from(["occurred", "recorded"]))
def test_variants_of_a_log(parts: list[Any], clock: Any) -> None:
    with log_of(parts) as log:
        found = reference.cases_of(log.read(), clock=clock)
        assert log.flow(clock=clock).variants().fetchall() == reference.variants(found)


@pytest.mark.parametrize("kinds", [255, 256, 257, 70_000])
def test_variants_sort_by_name_however_many_types_there_are(kinds: int) -> None:
    names = [f"{number:06}" for number in range(kinds)]
    ways = [names, names[-2:], names[:1], names[250:254], names[-2:-1], names[-1:]]
    found = {
        str(case): [
            Event(name, START + timedelta(hours=case), place) for place, name in enumerate(way)
        ]
        for case, way in enumerate(ways)
    }
    flow = flow_of(found)
    assert flow.variants().fetchall() == reference.variants(found)


def test_a_long_case_has_an_id_too() -> None:
    types = ['a\u2028"', "\\", "b"] * 7_001
    found = {"one": [Event(name, START, place) for place, name in enumerate(types)]}
    flow = flow_of(found)
    assert flow.variants().project("variant_id").fetchall() == [(reference.variant_id(types),)]


@given(cases(TYPES[:2], most=3))
def test_the_cases_behind_a_variant(found: reference.Cases) -> None:
    found = reference.ordered(found, "recorded")
    flow = flow_of(found)
    for variant, _, count, *_, variant_id in flow.variants().fetchall():
        expected = reference.chosen(found, variant=variant)
        assert len(expected) == count
        for said in (variant, tuple(variant), variant_id):
            assert [row[0] for row in flow.streams(variant=said).fetchall()] == expected


@pytest.mark.parametrize("limit", [-1, True, 1.5, "2"])
def test_what_is_no_limit(limit: Any) -> None:
    with pytest.raises(FlowError, match="say how many variants"):
        flow_of({}).variants(limit)


def test_a_variant_that_is_not_there() -> None:
    flow = flow_of({"one": [Event("placed", START, 0), Event("paid", START, 1)]})
    with pytest.raises(FlowError, match="no variant '0123' in this flow"):
        flow.streams(variant="0123")
    with pytest.raises(FlowError, match=r"no event type 'plaecd' .*'placed'"):
        flow.streams(variant=["plaecd"])
    assert flow.streams(variant=["paid", "placed"]).fetchall() == []
    assert flow.streams(variant=[]).fetchall() == []
