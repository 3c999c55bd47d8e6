"""The difference of two windows or groups, as a map: red goes more often in b, blue less."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from duckdb import DuckDBPyRelation

from esnb import duck
from esnb.chart.drawing import END, MOST_LABELLED, START, Colours, Edge, Map, Node, draw
from esnb.chart.frame import nothing
from esnb.chart.graph import MOST_EDGES, map_order
from esnb.chart.layout import available
from esnb.chart.matrix import draw_matrix
from esnb.chart.relations import column, relation
from esnb.chart.text import labels
from esnb.chart.words import duration, seconds, share, tip
from esnb.errors import QueryError
from esnb.flow.coverage import covered

if TYPE_CHECKING:
    import altair as alt

__all__ = ["Difference", "compared", "difference_edges", "difference_map", "difference_of"]

_TITLE = "Difference"
_COLUMNS = (
    "kind", "source", "target", "count_a", "count_b", "share_a", "share_b", "change", "points",
    "median_wait_a", "median_wait_b", "wait_change",
)  # fmt: skip
# Percentage points from which a change has a colour, and a strong one.
_SOME, _MUCH = 0.5, 3
_LESS, _SAME, _MORE = ("#2f6fd6", "#86acd9"), "#a0a0a0", ("#dd9184", "#d23b2f")
_TIPS = (
    "from", "to", "count in a", "count in b", "share in a", "share in b", "change",
    "median wait in a", "median wait in b",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """Some edges of two graphs, and what is to be said of the others.

    Attributes
    ----------
    edges
        Table with the columns of ``flow.between(a, b)``.
    of_edges
        How many edges there are.
    totals
        Transitions of both sides.
    count
        Transitions that the edges stand for.
    boxes
        Events of each type on both sides.
    order
        The types as `esnb.chart.graph.map_order` gives them.
    starts
        Cases of both sides.
    fewer
        Whether the coverage asked for would take more edges.
    """

    edges: Any
    of_edges: int
    totals: tuple[int, int]
    count: int
    boxes: dict[str, tuple[int, int]]
    order: tuple[str, ...]
    starts: tuple[int, int]
    fewer: bool


def difference_map(
    differences: Any,
    coverage: float = 0.9,
    edges: int = 60,
    *,
    names: tuple[str, str] = ("a", "b"),
    labels: bool | None = None,
) -> alt.LayerChart | alt.Chart:
    """Draw two windows or groups in one map: what goes more often in b than in a, and less.

    Colours and numbers are the change of the share, in percentage points: of a start in all
    starts of its side, of a step in all steps, of an end in all ends.  `difference_edges`
    returns what it draws, from the same parameters.

    Parameters
    ----------
    differences
        What ``flow.between(a, b)`` returns.
    coverage, edges
        As for `esnb.chart.flow_map`, for the transitions of both sides together.
    names
        What the two sides are called.
    labels
        Whether numbers stand beside the arrows; by itself up to 60 arrows.

    Returns
    -------
    altair.LayerChart
        To be combined with others by ``|``, ``&`` and ``+``.  Where there is no pygraphviz a
        matrix of the same edges.

    Raises
    ------
    QueryError
        If a column is missing, or `edges` is not above 0.
    FlowError
        If `coverage` is no number from 0 to 1.
    """
    found = compared(differences, coverage, edges)
    if not found.of_edges:
        return nothing(_TITLE, "no events on either side")
    if not available():
        return _matrix(found, coverage, names)
    return draw(difference_of(found, coverage, names, labels))


def difference_of(
    found: Difference,
    coverage: float,
    names: tuple[str, str] = ("a", "b"),
    labels: bool | None = None,
) -> Map:
    """Return what `difference_map` draws, before anything has a place."""
    side_a, side_b = _sides(names)
    rows, about = found.edges.to_pylist(), _about(found)
    place = {name: number + 2 for number, name in enumerate(found.order)}
    nodes = [
        Node(
            name,
            "{:,} → {:,}".format(*found.boxes[name]),
            {
                "event type": tip(name),
                f"events in {side_a}": found.boxes[name][0],
                f"events in {side_b}": found.boxes[name][1],
            },
        )
        for name in found.order
    ]
    colours_of = {
        f"≥ {_MUCH} pp less": _LESS[0],
        f"{_SOME} to {_MUCH} pp less": _LESS[1],
        f"within {_SOME} pp": _SAME,
        f"{_SOME} to {_MUCH} pp more": _MORE[0],
        f"≥ {_MUCH} pp more": _MORE[1],
    }
    by_class = [*colours_of]
    drawn = []
    for row, line in sorted(
        zip(rows, about, strict=True), key=lambda pair: place.get(pair[0]["source"], START)
    ):
        drawn.append(
            Edge(
                START if row["source"] is None else place[row["source"]],
                END if row["target"] is None else place[row["target"]],
                row["share_a"] + row["share_b"],
                f"{_signed(row['points'])} pp",
                by_class[_class(row["points"])],
                line,
            )
        )
    shown = len(drawn) <= MOST_LABELLED if labels is None else labels
    starts = "{:,} → {:,}".format(*found.starts)
    return Map(
        nodes,
        drawn,
        Colours(f"change from {side_a} to {side_b}", colours_of),
        ends=(f"start {starts}", f"end {starts}"),
        labelled=shown,
        title=_TITLE,
        said=_said(found, coverage, names),
        tip_formats=dict.fromkeys(_TIPS, ""),
    )


def _matrix(found: Difference, coverage: float, names: tuple[str, str]) -> alt.LayerChart:
    rows, about = found.edges.to_pylist(), _about(found)
    said = _said(found, coverage, names)
    highest = max((abs(row["points"]) for row in rows), default=1) or 1
    cells = [
        {
            "source": row["source"],
            "target": row["target"],
            "strength": (abs(row["points"]) / highest) ** 0.5,
            "sign": "more" if row["points"] > 0 else "less",
            "text": _signed(row["points"]),
            "tips": line,
        }
        for row, line in zip(rows, about, strict=True)
    ]
    colours = {"more": _MORE[1], "less": _LESS[0]}
    return draw_matrix(cells, [*found.order], colours, _TITLE, said)


def _said(found: Difference, coverage: float, names: tuple[str, str]) -> list[str]:
    side_a, side_b = _sides(names)
    said = [
        f"{found.edges.num_rows:,} of {found.of_edges:,} edges, "
        f"{share(found.count, sum(found.totals))} of the transitions of both sides",
        f"{side_b} ({found.totals[1]:,} transitions) against {side_a} ({found.totals[0]:,}); "
        "pp: percentage points of all starts, steps or ends of the side",
    ]
    if found.fewer:
        said.append(
            f"{coverage:.0%} of the transitions would take more than {found.edges.num_rows:,} edges"
        )
    return said


def _about(found: Difference) -> list[dict[str, Any]]:
    """Return the lines of the tooltip of each edge."""
    rows = found.edges.to_pylist()
    waits = [
        [*pair]
        for pair in zip(
            *(seconds(found.edges[f"median_wait_{side}"].to_pylist()) for side in "ab"),
            strict=True,
        )
    ]
    return [_tips(row, *pair) for row, pair in zip(rows, waits, strict=True)]


def difference_edges(differences: Any, coverage: float = 0.9, edges: int = 60) -> DuckDBPyRelation:
    """Return the edges that `difference_map` draws, from the same parameters.

    Parameters
    ----------
    differences, coverage, edges
        See `difference_map`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        The columns of ``flow.between(a, b)``; the most frequent first.

    Raises
    ------
    QueryError, FlowError
        As `difference_map`.
    """
    return duck.connect().from_arrow(compared(differences, coverage, edges).edges)


def compared(differences: Any, coverage: float, edges: int) -> Difference:
    """Do the work of `difference_edges`."""
    if edges < 1:
        raise QueryError(f"edges={edges}: a map has one edge at least")
    table = relation(differences)
    for name in _COLUMNS:
        column(table, name)
    columns = ", ".join(f'"{name}"' for name in _COLUMNS)
    both = (
        table.project(columns + ", count_a + count_b as together")
        .order("together desc, kind, source, target")
        .to_arrow_table()
    )
    sized = both.rename_columns([*_COLUMNS, "count"])
    kept, how_much = covered(sized, coverage, min(edges, MOST_EDGES))
    events: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}
    starts: Counter[str] = Counter()
    for row in both.select(["kind", "target", "count_a", "count_b"]).to_pylist():
        for side in "ab":
            if row["kind"] != "end":
                events[side][row["target"]] += row[f"count_{side}"]
            if row["kind"] == "start":
                starts[side] += row[f"count_{side}"]
    order = map_order(kept)
    totals = [sum(both[f"count_{side}"].to_pylist()) for side in "ab"]
    return Difference(
        edges=kept.select([*_COLUMNS]),
        of_edges=how_much.of_edges,
        totals=(totals[0], totals[1]),
        count=how_much.transitions,
        boxes={name: (events["a"][name], events["b"][name]) for name in order},
        order=tuple(order),
        starts=(starts["a"], starts["b"]),
        fewer=how_much.share < coverage,
    )


def _signed(points: float) -> str:
    """Return a change with its sign, none where nothing is left of it.

    >>> _signed(-0.04), _signed(1.26)
    ('0.0', '+1.3')
    """
    text = f"{points:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _class(points: float) -> int:
    if abs(points) < _SOME:
        return 2
    if points < 0:
        return 0 if points <= -_MUCH else 1
    return 4 if points >= _MUCH else 3


def _tips(row: dict[str, Any], wait_a: float | None, wait_b: float | None) -> dict[str, Any]:
    values = (
        "start" if row["source"] is None else tip(row["source"]),
        "end" if row["target"] is None else tip(row["target"]),
        f"{row['count_a']:,}",
        f"{row['count_b']:,}",
        share(row["share_a"], 1),
        share(row["share_b"], 1),
        f"{row['points']:+.2f} pp, {row['change']:+,}",
        duration(wait_a),
        duration(wait_b),
    )
    return dict(zip(_TIPS, values, strict=True))


def _sides(names: tuple[str, str]) -> tuple[str, str]:
    first, second = labels(names)
    return first, second
