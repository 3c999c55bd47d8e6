"""The map of a flow, the matrix and the difference: what is drawn is what the tables say."""

import sys
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.chart import (
    difference_edges,
    difference_map,
    flow_boxes,
    flow_edges,
    flow_map,
    mimebundle,
    transition_matrix,
    transitions,
)
from esnb.chart.drawing import MOST_LABELLED
from esnb.chart.graph import MOST_EDGES
from esnb.errors import FlowError, QueryError
from tests.chart.drawn import flow_of, layers, marks, subtitle, tips

CASES = st.lists(
    st.lists(st.sampled_from("ABCDE"), min_size=1, max_size=6), min_size=1, max_size=12
)
MAIN = [["A", "B", "C", "D"]] * 8
SIDE = [["A", "C", "D"], ["A", "B", "B", "D"], ["X", "A", "C", "A", "D"], ["Y"]]


def pairs_of(cases):
    """Count the transitions, starts and ends in plain Python."""
    return Counter(pair for case in cases for pair in pairwise([None, *case, None]))


def arrows(chart):
    """Return the arrows that are drawn: from, to, count, cases."""
    lines = layers(chart)[0][1]
    return sorted(
        (tip["from"], tip["to"], tip["count"], tip["cases"]) for tip in tips(chart, lines)
    )


def edges(relation):
    return sorted(
        (row["source"] or "start", row["target"] or "end", row["count"], row["cases"])
        for row in relation.to_arrow_table().to_pylist()
    )


def boxes(chart):
    """Return the boxes that are drawn with the numbers in them."""
    names = marks(chart, "rect")[0]
    return {row["t0"]: row["t1"] for row in names}


@settings(max_examples=20)
@given(CASES, st.sampled_from([0.3, 0.7, 0.9, 1]), st.integers(1, 12))
def test_the_map_is_its_twins_and_these_are_the_events(cases, coverage, most):
    flow = flow_of(cases)
    chart = flow_map(flow, coverage, most).to_dict()
    found = flow_edges(flow, coverage, most)
    assert arrows(chart) == edges(found)
    counted = pairs_of(cases)
    for row in found.to_arrow_table().to_pylist():
        assert row["count"] == counted[row["source"], row["target"]]
    events = Counter(name for case in cases for name in case)
    shown = dict(flow_boxes(flow, coverage, most).fetchall())
    assert boxes(chart) == shown
    # Whatever edges are left out: a box has all its events.
    assert shown == {name: events[name] for name in shown}
    assert f"{found.to_arrow_table().num_rows:,} of {len(counted):,} edges" in subtitle(chart)
    assert f"of {sum(counted.values()):,} transitions" in subtitle(chart)


@given(CASES)
@settings(max_examples=20)
def test_all_of_a_map_can_be_reached_and_left(cases):
    found = flow_edges(flow_of(cases), 0.5, 8).to_arrow_table().to_pylist()
    forward, back = {None}, {None}
    for _ in found:
        forward |= {row["target"] for row in found if row["source"] in forward}
        back |= {row["source"] for row in found if row["target"] in back}
    names = {row[side] for row in found for side in ("source", "target")}
    assert names <= forward
    assert names <= back


def test_the_columns_of_the_twin_are_those_of_the_flow():
    flow = flow_of(MAIN + SIDE)
    whole, part = flow.directly_follows(), flow_edges(flow, 0.5)
    assert part.columns == whole.columns
    assert part.types == whole.types
    assert set(part.fetchall()) <= set(whole.fetchall())
    assert flow_edges(flow, 1).fetchall() == whole.fetchall()


def test_a_table_is_drawn_as_its_flow_is():
    flow = flow_of(MAIN + SIDE)
    for table in (flow.directly_follows(), flow.directly_follows().to_arrow_table()):
        assert arrows(flow_map(table)) == arrows(flow_map(flow))
        assert boxes(flow_map(table)) == boxes(flow_map(flow))


def test_numbers_stand_beside_the_arrows_and_in_the_boxes():
    chart = flow_map(flow_of(MAIN), 1)
    texts = [row["label"] for rows in marks(chart, "text") for row in rows]
    assert "A\n8" in texts
    assert "8 · 1.2h" in texts
    assert {"start 8", "end 8"} <= {*texts}
    assert subtitle(chart) == (
        "5 of 5 edges, 100.0 % of 40 transitions · waits on occurred_on, UTC"
    )


def test_boxes_lie_on_the_arrows_and_words_on_the_boxes():
    order = [
        mark if isinstance(mark, str) else mark["type"]
        for mark in (layer["mark"] for layer, _ in layers(flow_map(flow_of(MAIN))))
    ]
    assert order == ["point", "point", "rect", "text", "point", "text", "text"]


@pytest.mark.parametrize("colour", ["wait", "count", "cases"])
def test_nothing_that_is_drawn_is_null(colour):
    """Vega-Lite leaves out a mark whose colour is null, and says nothing."""
    chart = flow_map(flow_of(MAIN + SIDE), 1, colour=colour).to_dict()
    domain = layers(chart)[0][0]["encoding"]["stroke"]["scale"]["domain"]
    for _, rows in layers(chart):
        assert rows
        for row in rows:
            assert None not in row.values()
            assert row.get("c", domain[0]) in domain


def test_the_colour_says_what_was_asked_for():
    flow = flow_of(MAIN + SIDE)
    title = [
        layers(flow_map(flow, colour=colour))[0][0]["encoding"]["stroke"]["legend"]["title"]
        for colour in ("wait", "count", "cases")
    ]
    assert title == ["median wait", "transitions", "cases with this transition"]
    texts = [row["label"] for row in marks(flow_map(flow, 1, colour="cases"), "text")[-1]]
    assert "9 cases · 1.2h" in texts


def many(types):
    """A flow in which every type comes after every other one."""
    return flow_of([[a, b] for a in range_names(types) for b in range_names(types)])


def range_names(types):
    return [f"T{number}" for number in range(types)]


def test_too_many_arrows_have_no_numbers_beside_them():
    flow = many(10)
    chart = flow_map(flow, 1, edges=120)
    assert "numbers in the tooltips" in subtitle(chart)
    assert len(layers(chart)[0][1]) > MOST_LABELLED
    texts = [row["label"] for rows in marks(chart, "text") for row in rows]
    assert not [text for text in texts if "·" in text]
    assert "numbers in the tooltips" not in subtitle(flow_map(flow, 1, edges=60))
    forced = flow_map(flow, 1, edges=61, labels=True)
    assert [text for rows in marks(forced, "text") for text in rows if "·" in text["label"]]


def test_no_more_arrows_than_allowed_and_that_is_said():
    flow = many(20)
    chart = flow_map(flow, 0.9)
    assert len(layers(chart)[0][1]) <= 60
    assert "90% of the transitions would take more than" in subtitle(chart)
    assert flow_edges(flow, 1, edges=10_000).to_arrow_table().num_rows <= MOST_EDGES


def test_without_pygraphviz_the_edges_of_the_map_are_a_matrix(monkeypatch):
    flow = flow_of(MAIN + SIDE)
    noon = "2026-03-27 14:00:00+00"
    other = flow.between((None, noon), (noon, None))
    drawn = arrows(flow_map(flow, 0.8))
    changed = len(layers(difference_map(other, 0.8))[0][1])
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    chart = flow_map(flow, 0.8)
    cells = marks(chart, "rect")[0]
    assert [
        (tip["from"], tip["to"], int(tip["count"]), int(tip["cases"]))
        for tip in sorted(tips(chart, cells), key=lambda tip: (tip["from"], tip["to"]))
    ] == drawn
    assert len(marks(difference_map(other, 0.8), "rect")[0]) == changed
    for made in (chart, difference_map(other, 0.8)):
        assert mimebundle(made.to_dict())[0]["image/png"].startswith(b"\x89PNG")


@settings(max_examples=20)
@given(CASES, st.integers(1, 5))
def test_the_matrix_is_its_twin(cases, most):
    flow = flow_of(cases)
    chart = transition_matrix(flow, most).to_dict()
    cells = marks(chart, "rect")[0]
    found = sorted(
        (tip["from"], tip["to"], int(tip["count"]), int(tip["cases"])) for tip in tips(chart, cells)
    )
    assert found == edges(transitions(flow, most))
    events = Counter(name for case in cases for name in case)
    kept = sorted(events, key=lambda name: (-events[name], name))[:most]
    expected = {pair: count for pair, count in pairs_of(cases).items() if {*pair} <= {None, *kept}}
    rows = transitions(flow, most).to_arrow_table().to_pylist()
    assert {(row["source"], row["target"]): row["count"] for row in rows} == expected
    if len(events) > most:
        assert "left out" in subtitle(chart)


def test_types_called_start_and_end_are_no_starts_and_ends():
    chart = transition_matrix(flow_of([["start", "end"], ["end"]]))
    [cells] = marks(chart, "rect")
    assert {(row["row"], row["column"]) for row in cells} == {
        ("start", "start (2)"), ("start", "end (2)"), ("start (2)", "end (2)"), ("end (2)", "end"),
    }  # fmt: skip


@settings(max_examples=20)
@given(CASES, CASES)
def test_the_difference_is_its_twin_and_this_the_table(cases_a, cases_b):
    differences = flow_of(cases_a).between(flow_of(cases_a), flow_of(cases_b))
    chart = difference_map(differences, 0.8).to_dict()
    found = difference_edges(differences, 0.8)
    assert found.columns == differences.columns
    assert set(found.fetchall()) <= set(differences.fetchall())
    rows = found.to_arrow_table().to_pylist()
    assert sorted(
        (tip["from"], tip["to"], tip["count in a"], tip["count in b"])
        for tip in tips(chart, layers(chart)[0][1])
    ) == sorted(
        (row["source"] or "start", row["target"] or "end", f"{row['count_a']:,}",
         f"{row['count_b']:,}")
        for row in rows
    )  # fmt: skip
    counts = [Counter(name for case in cases for name in case) for cases in (cases_a, cases_b)]
    for row in marks(chart, "rect")[0]:
        assert (row["t1"], row["t2"]) == tuple(count[row["t0"]] for count in counts)
    a, b = pairs_of(cases_a), pairs_of(cases_b)
    assert f"b ({b.total():,} transitions) against a ({a.total():,})" in subtitle(chart)


def test_more_is_red_and_less_is_blue_with_words_and_signs():
    differences = flow_of([["A", "B"]]).between(
        flow_of([["A", "B"]] * 3 + [["A", "C"]]), flow_of([["A", "B"]] * 2 + [["A", "C"]] * 2)
    )
    chart = difference_map(differences, 1, names=("before", "after")).to_dict()
    colours = {
        (tip["from"], tip["to"]): row["c"]
        for row, tip in zip(layers(chart)[0][1], tips(chart, layers(chart)[0][1]), strict=True)
    }
    assert colours["A", "B"] == "≥ 3 pp less"
    assert colours["A", "C"] == "≥ 3 pp more"
    assert colours["start", "A"] == "within 0.5 pp"
    texts = {row["label"] for rows in marks(chart, "text") for row in rows}
    assert {"-25.0 pp", "+25.0 pp", "0.0 pp", "B\n3 → 2"} <= texts
    assert "after (12 transitions) against before (12)" in subtitle(chart)


def test_what_cannot_be_drawn_is_said():
    flow = flow_of(MAIN)
    with pytest.raises(QueryError, match="say 'wait', 'count' or 'cases'"):
        flow_map(flow, colour="red")
    with pytest.raises(QueryError, match="there is no 'kind'"):
        flow_map(pa.table({"source": ["a"]}))
    with pytest.raises(QueryError, match="a part of a graph"):
        flow_map(flow.directly_follows(0.9))
    with pytest.raises(FlowError, match="coverage=2"):
        flow_map(flow, 2)
    with pytest.raises(QueryError, match="one edge at least"):
        flow_map(flow, edges=0)
    with pytest.raises(QueryError, match="one type at least"):
        transition_matrix(flow, 0)
    with pytest.raises(QueryError, match="no column"):
        difference_map(flow.directly_follows())
