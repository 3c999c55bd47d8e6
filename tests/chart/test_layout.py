"""Boxes, arrows and labels do not lie on each other, and names do not reach Graphviz."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.chart.layout import Arrow, Box, available, layout
from esnb.chart.measure import fitted, width, wrapped

SIZES = st.tuples(st.integers(60, 180), st.integers(20, 60))


@st.composite
def graphs(draw):
    boxes = [Box(20, 20, "source", True), Box(20, 20, "sink", True)]
    boxes += [
        Box(*size, main=draw(st.booleans()))
        for size in draw(st.lists(SIZES, min_size=1, max_size=7))
    ]
    inner = st.integers(2, len(boxes) - 1)
    label = st.one_of(st.none(), st.tuples(st.integers(8, 140), st.just(15)))
    arrows = [
        Arrow(source, target, draw(st.integers(1, 231)), draw(st.floats(1, 9)), draw(label))
        for source, target in draw(st.lists(st.tuples(inner, inner), max_size=14, unique=True))
    ]
    return boxes, [Arrow(0, 2), *arrows, Arrow(len(boxes) - 1, 1)]


def rectangle(middle, size):
    (x, y), (wide, high) = middle, size
    return x - wide / 2, y - high / 2, x + wide / 2, y + high / 2


def overlap(one, other):
    """How far two rectangles lie in each other, in pixels."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return min(across, down)


@settings(max_examples=60)
@given(graphs())
def test_nothing_lies_on_a_box(graph):
    boxes, arrows = graph
    placed = layout(boxes, arrows)
    drawn = [
        rectangle(middle, (box.width, box.height))
        for middle, box in zip(placed.boxes, boxes, strict=True)
    ]
    for number, one in enumerate(drawn):
        assert one[0] >= -1
        assert one[1] >= -1
        assert one[2] <= placed.width + 1
        assert one[3] <= placed.height + 1
        assert all(overlap(one, other) <= 1 for other in drawn[:number])
    for arrow, curve in zip(arrows, placed.curves, strict=True):
        assert (curve.label is None) == (arrow.label is None)
        if curve.label is not None:
            label = rectangle(curve.label, arrow.label)
            assert all(overlap(label, box) <= 1 for box in drawn)


@settings(max_examples=60)
@given(graphs())
def test_arrows_lead_from_box_to_box(graph):
    boxes, arrows = graph
    placed = layout(boxes, arrows)
    for arrow, curve in zip(arrows, placed.curves, strict=True):
        assert len(curve.points) % 3 == 1
        for place, number in ((curve.points[0], arrow.source), (curve.tip, arrow.target)):
            box = boxes[number]
            x, y = placed.boxes[number]
            # On the border, or as near to it as a thick line ends.
            assert abs(place[0] - x) <= box.width / 2 + 6
            assert abs(place[1] - y) <= box.height / 2 + 6
            inside = (
                abs(place[0] - x) < box.width / 2 - 6 and abs(place[1] - y) < box.height / 2 - 6
            )
            assert not inside


def test_the_main_way_is_straight():
    boxes = [Box(20, 20, "source", True), Box(20, 20, "sink", True)]
    boxes += [Box(100, 40, main=True) for _ in range(4)] + [Box(90, 40)]
    way = [(0, 2), (2, 3), (3, 4), (4, 5), (5, 1)]
    arrows = [Arrow(*edge, 200, 9, (60, 15)) for edge in way]
    arrows += [Arrow(2, 6), Arrow(6, 4), Arrow(3, 6), Arrow(5, 3)]
    placed = layout(boxes, arrows)
    xs = [placed.boxes[number][0] for number in (0, 2, 3, 4, 5, 1)]
    ys = [placed.boxes[number][1] for number in (0, 2, 3, 4, 5, 1)]
    assert max(xs) - min(xs) < 1
    assert ys == sorted(ys)


def test_the_same_graph_has_the_same_layout_in_any_thread():
    boxes = [Box(20, 20, "source"), Box(20, 20, "sink")] + [Box(100, 40) for _ in range(8)]
    arrows = [Arrow(a, b, 1 + a, 2, (50, 15)) for a in range(2, 10) for b in range(2, 10, 3)]
    first = layout(boxes, arrows)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: layout(boxes, arrows), range(12))) == {first}


def test_without_pygraphviz_that_is_known(monkeypatch):
    assert available()
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert not available()
    with pytest.raises(ImportError):
        layout([Box(10, 10)], [])


@given(st.text(max_size=300), st.integers(30, 300), st.integers(1, 3))
def test_a_wrapped_text_fits(text, widest, lines):
    found = wrapped(text, 11, widest, lines)
    assert 1 <= len(found) <= lines
    for line in found:
        assert line
        # One letter at least stands in each line, however wide it is.
        assert width(line, 11) <= max(widest, 2 * 1.25 * 11)


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(30, 100))
def test_no_two_labels_are_alike(texts, widest):
    found = fitted(texts, 10, widest)
    assert len(set(found)) == len(texts)
    for label in found:
        label.encode()  # no half of a character
