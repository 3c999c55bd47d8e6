"""The map of a flow: boxes and arrows from start to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from esnb.chart.drawing import END, MOST_LABELLED, START, Colours, Edge, Map, Node, draw
from esnb.chart.frame import nothing
from esnb.chart.graph import Graph, graph_of, map_order
from esnb.chart.layout import available
from esnb.chart.words import count_classes, duration, seconds, share, tip, wait_classes
from esnb.errors import QueryError, shown

if TYPE_CHECKING:
    import altair as alt

__all__ = ["COLOURS", "TITLE", "flow_map", "map_of"]

# From calm to alarming for waits, from pale to strong for numbers.
_WAITS = ("#8ea6bb", "#d9a514", "#e2722e", "#d0314a")
_NUMBERS = ("#9aa9b5", "#6d9fd3", "#3b7fd0", "#7a52d6")
_PLAIN = "#a7a7a7"
TITLE = "Flow map"
# What the colour of an arrow may say.
COLOURS = ("wait", "count", "cases")
_TIPS = {
    "from": "", "to": "", "count": ",d", "cases": ",d", "median wait": "", "mean wait": "",
    "95 % wait at most": "", "of all transitions": "",
}  # fmt: skip


def flow_map(
    flow: Any,
    coverage: float = 0.9,
    edges: int = 60,
    *,
    colour: Literal["wait", "count", "cases"] = "wait",
    labels: bool | None = None,
) -> alt.LayerChart | alt.Chart:
    """Draw a flow as a map: which event comes after which, how often, and after how long.

    `flow_edges` and `flow_boxes` return what it draws, from the same parameters.  A click
    picks an arrow, one beside it gives all back.

    Parameters
    ----------
    flow
        A flow, or a table with the columns of its ``directly_follows()``; all edges, so that
        the boxes count all events.
    coverage, edges
        See `flow_edges`.
    colour
        What the colour of an arrow says: the median wait, the number of transitions, or in
        how many cases they are.  Its width is always the number of transitions.
    labels
        Whether numbers stand beside the arrows; by itself up to 60 arrows.

    Returns
    -------
    altair.LayerChart
        To be combined with others by ``|``, ``&`` and ``+``.  Where there is no pygraphviz
        the same edges as `esnb.chart.transition_matrix`.

    Raises
    ------
    QueryError, FlowError
        As `flow_edges`; or if there is no such colour.
    """
    if colour not in COLOURS:
        raise QueryError(f"colour={shown(colour)}: say 'wait', 'count' or 'cases'")
    graph = graph_of(flow, coverage, edges)
    if not graph.all_edges:
        return nothing(TITLE, "no events in this selection")
    if not available():
        from esnb.chart.matrix import matrix_of

        return matrix_of(graph)
    return draw(map_of(graph, colour, labels))


def map_of(graph: Graph, colour: str = "wait", labels: bool | None = None) -> Map:
    """Return what `flow_map` draws of a graph that has edges, before anything has a place."""
    names = map_order(graph.edges)
    place = {name: number + 2 for number, name in enumerate(names)}
    nodes = [
        Node(name, f"{graph.boxes[name]:,}", {"event type": tip(name), "events": graph.boxes[name]})
        for name in names
    ]
    drawn, colours = _edges(graph, place, colour)
    labelled = len(drawn) <= MOST_LABELLED if labels is None else labels
    return Map(
        nodes,
        drawn,
        colours,
        ends=(f"start {graph.starts:,}", f"end {graph.starts:,}"),
        labelled=labelled,
        title=TITLE,
        said=_said(graph, labelled),
        tip_formats=_TIPS,
    )


def _edges(graph: Graph, place: dict[str, int], colour: str) -> tuple[list[Edge], Colours]:
    rows = graph.edges.to_pylist()
    waits = {name: seconds(graph.edges[name].to_pylist()) for name in
             ("median_wait", "mean_wait", "p95_wait")}  # fmt: skip
    if colour == "wait":
        classes, title, palette = wait_classes(waits["median_wait"]), "median wait", _WAITS
    else:
        sizes: Sequence[float | None] = [row[colour] for row in rows]
        title = "transitions" if colour == "count" else "cases with this transition"
        classes, palette = count_classes(sizes), _NUMBERS
    # One class alone is no news, the middle of the palette would be a claim.
    by_name = dict(zip(classes.names, palette, strict=False))
    plain = "start or end"
    order = {id(row): number for number, row in enumerate(rows)}
    result = []
    # In the order in which the boxes are given: `dot` cares.
    for row in sorted(rows, key=lambda row: (place.get(row["source"], START), order[id(row)])):
        number = order[id(row)]
        kind = classes.of[number]
        median = waits["median_wait"][number]
        beside = f"{row['cases']:,} cases" if colour == "cases" else f"{row['count']:,}"
        result.append(
            Edge(
                START if row["source"] is None else place[row["source"]],
                END if row["target"] is None else place[row["target"]],
                row["count"],
                beside if median is None else f"{beside} · {duration(median)}",
                plain if kind is None else classes.names[kind],
                {
                    "from": "start" if row["source"] is None else tip(row["source"]),
                    "to": "end" if row["target"] is None else tip(row["target"]),
                    "count": row["count"],
                    "cases": row["cases"],
                    "median wait": duration(median),
                    "mean wait": duration(waits["mean_wait"][number]),
                    "95 % wait at most": duration(waits["p95_wait"][number]),
                    "of all transitions": share(row["count"], graph.all_count),
                },
            )
        )
    return result, Colours(title, {**by_name, plain: _PLAIN}, frozenset({plain}))


def _said(graph: Graph, labelled: bool) -> list[str]:
    kept = graph.edges.num_rows
    said = [
        f"{kept:,} of {graph.all_edges:,} edges, {share(graph.count, graph.all_count)} of "
        f"{graph.all_count:,} transitions"
    ]
    if graph.said:
        said[0] += f" · waits on {graph.said}"
    if graph.fewer:
        said.append(f"{graph.asked:.0%} of the transitions would take more than {kept:,} edges")
    if not labelled:
        said.append("numbers in the tooltips: too many arrows to write beside them")
    return said
