"""The coverage filter: what is shown is reached from the start, and reaches the end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.errors import FlowError
from esnb.flow.coverage import covered
from esnb.flow.graph import edges
from tests.flow import reference
from tests.flow.logs import START
from tests.flow.reference import Event
from tests.flow.test_graph import cases, flow_of

MANY = [f"type {number}" for number in range(9)]


def reached(found: list[tuple[Any, Any]], root: str) -> set[Any]:
    seen, todo = {root}, [root]
    while todo:
        node = todo.pop()
        for source, target in found:
            if source == node and target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


@settings(max_examples=200)
@given(cases(MANY), st.floats(0, 1), st.one_of(st.none(), st.integers(1, 30)))
def test_what_is_shown_is_sound(found: reference.Cases, coverage: float, most: int | None) -> None:
    table = edges(flow_of(found).built())
    kept, shown = covered(table, coverage, most)
    rows = kept.to_pylist()
    assert [
        row for row in table.to_pylist() if row in rows
    ] == rows  # in order, numbers as they are
    ends = [(row["source"] or "▶", row["target"] or "■") for row in rows]
    nodes = {node for edge in ends for node in edge}
    if rows:
        assert nodes <= reached(ends, "▶")
        assert nodes <= reached([(target, source) for source, target in ends], "■")
    counts = table["count"].to_pylist()
    assert shown.edges == len(rows)
    assert shown.of_edges == len(counts)
    assert shown.transitions == sum(row["count"] for row in rows)
    assert shown.of_transitions == sum(counts)
    assert shown.share == (shown.transitions / sum(counts) if counts else 1)
    if most is None:
        assert shown.share >= coverage
    elif shown.share < coverage:
        # One more edge with its ways would have been too many.
        assert shown.edges <= most or rows[0] == table.to_pylist()[0]


@given(cases(MANY))
def test_all_is_shown_when_all_is_asked_for(found: reference.Cases) -> None:
    flow = flow_of(found)
    whole = flow.directly_follows()
    assert flow.directly_follows(coverage=1).fetchall() == whole.fetchall()


def test_ways_to_and_from_an_edge_may_share_one() -> None:
    """The way to the edge that is taken most often is a piece of the way from it to the end."""
    ways = [["0", "2"], ["4", "0", "3", "4", "0", "1"], ["0"], ["3", "4", "2"],
            ["1", "0", "2", "3", "2", "3", "4"]]  # fmt: skip
    found = {
        str(case): [Event(name, START, place) for place, name in enumerate(way)]
        for case, way in enumerate(ways)
    }
    rows = flow_of(found).directly_follows(coverage=0).fetchall()
    ends = [(row[1] or "▶", row[2] or "■") for row in rows]
    assert reached([(target, source) for source, target in ends], "■") >= reached(ends, "▶") - {"■"}


def test_the_widest_way_is_kept() -> None:
    """The heaviest edge is a loop in the middle; its ways come along, the wide ones."""
    ways = [["a", "b", "c", "c", "c", "c", "c", "d"]] * 10
    ways += [["a", "c", "d"]] * 7 + [["x", "c", "y"]] * 2
    found = {
        str(case): [Event(name, START, place) for place, name in enumerate(way)]
        for case, way in enumerate(ways)
    }
    flow = flow_of(found)
    relation = flow.directly_follows(coverage=0.1)
    shown = [(row[1], row[2]) for row in relation.fetchall()]
    assert set(shown) == {("c", "c"), (None, "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", None)}
    assert relation.attrs["edges"] == 6
    assert relation.attrs["coverage"] == "6 of 11 edges, 88.1% of 126 transitions"
    assert repr(relation).endswith(relation.attrs["coverage"])
    assert relation.filter("kind = 'start'").project("count").fetchall() == [(17,)]
    assert len(relation) == 6
    assert relation.project("source").columns == ["source"]


def test_attrs_come_with_the_frame() -> None:
    flow = flow_of({"1": [Event("a", START, 0), Event("b", START, 1)]})
    frame = flow.directly_follows(0.5).df()
    assert frame.attrs == {
        "coverage": "3 of 3 edges, 100.0% of 3 transitions", "edges": 3, "of_edges": 3,
        "transitions": 3, "of_transitions": 3, "share": 1.0,
    }  # fmt: skip
    assert list(frame["kind"]) == ["end", "start", "step"]


def test_no_more_than_most() -> None:
    found = {
        str(case): [Event(name, START, place) for place, name in enumerate(way)]
        for case, way in enumerate(list(pairwise(MANY)) * 3)
    }
    flow = flow_of(found)
    assert flow.directly_follows(coverage=1, most=6).attrs["edges"] <= 6
    assert flow.directly_follows(most=6).attrs == flow.directly_follows(1.0, most=6).attrs


@pytest.mark.parametrize("coverage", [-0.1, 1.1, "0.9", True, float("nan")])
def test_what_is_no_coverage(coverage: Any) -> None:
    with pytest.raises(FlowError, match="say a number from 0 to 1"):
        flow_of({}).directly_follows(coverage)


def test_nothing_to_cover() -> None:
    kept, shown = covered(edges(flow_of({}).built()), 0.9)
    assert kept.num_rows == 0
    assert isinstance(kept, pa.Table)
    assert str(shown) == "0 of 0 edges, 100.0% of 0 transitions"
