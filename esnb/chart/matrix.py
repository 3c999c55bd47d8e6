"""The matrix of transitions: the map's data without a layout, however many types there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from duckdb import DuckDBPyRelation

from esnb import duck
from esnb.chart.frame import BLUE, data, layered, nothing, tips, tooltips
from esnb.chart.graph import Graph, graph_of, map_order
from esnb.chart.measure import fitted
from esnb.chart.words import counted, duration, seconds, share, tip
from esnb.errors import QueryError

if TYPE_CHECKING:
    import altair as alt

__all__ = ["MatrixCell", "draw_matrix", "matrix_of", "transition_matrix", "transitions"]

MOST_TYPES = 30
# Cells get smaller down to where a finger still hits them; numbers go when they have no room.
_SIDE, _MANY, _MOST_NUMBERS = 560, 60, 16
_TITLE = "Transition matrix"

MatrixCell = dict[str, Any]


def transition_matrix(flow: Any, most: int = MOST_TYPES) -> alt.LayerChart | alt.Chart:
    """Draw which event comes after which as a matrix: from the rows to the columns.

    `transitions` returns what it draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow, or a table with the columns of its ``directly_follows()``.
    most
        How many event types to show, the most frequent ones.

    Returns
    -------
    altair.LayerChart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        If a column is missing, or `most` is not above 0.
    """
    graph, left_out = _chosen(flow, most)
    if not graph.all_edges:
        return nothing(_TITLE, "no events in this selection")
    return matrix_of(graph, left_out)


def transitions(flow: Any, most: int = MOST_TYPES) -> DuckDBPyRelation:
    """Return the transitions that `transition_matrix` draws, from the same parameters.

    Parameters
    ----------
    flow, most
        See `transition_matrix`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        The columns of ``flow.directly_follows()``, in its order.

    Raises
    ------
    QueryError
        As `transition_matrix`.
    """
    graph, _ = _chosen(flow, most)
    return duck.connect().from_arrow(graph.edges)


def _chosen(flow: Any, most: int) -> tuple[Graph, int]:
    """Return the transitions between the most frequent types, and how many types are left out."""
    if most < 1:
        raise QueryError(f"most={most}: a matrix has one type at least")
    graph = graph_of(flow, 1, None)
    ranked = sorted(graph.boxes, key=lambda name: (-graph.boxes[name], name))
    kept = set(ranked[:most])
    inside = pa.array(
        [
            (source is None or source in kept) and (target is None or target in kept)
            for source, target in zip(
                graph.edges["source"].to_pylist(), graph.edges["target"].to_pylist(), strict=True
            )
        ],
        pa.bool_(),
    )
    boxes = {name: graph.boxes[name] for name in ranked[:most]}
    return graph.with_edges(graph.edges.filter(inside), boxes), len(ranked) - len(kept)


def matrix_of(graph: Graph, left_out: int = 0) -> alt.LayerChart:
    """Draw edges as a matrix; without pygraphviz also those of a map."""
    counts = graph.edges["count"].to_pylist()
    medians, p95s = (seconds(graph.edges[name].to_pylist()) for name in ("median_wait", "p95_wait"))
    highest = pc.max(graph.edges["count"]).as_py() or 1
    cells = [
        {
            "source": row["source"],
            "target": row["target"],
            # With plain shares all but the main path would be white.
            "strength": (count / highest) ** 0.35,
            "text": _short(count),
            "tips": {
                "from": "start" if row["source"] is None else tip(row["source"]),
                "to": "end" if row["target"] is None else tip(row["target"]),
                "count": f"{count:,}",
                "cases": f"{row['cases']:,}",
                "median wait": duration(median),
                "95 % wait at most": duration(p95),
                "of all transitions": share(count, graph.all_count),
            },
        }
        for row, count, median, p95 in zip(
            graph.edges.to_pylist(), counts, medians, p95s, strict=True
        )
    ]
    said = [
        f"{graph.edges.num_rows:,} of {graph.all_edges:,} transitions between "
        f"{counted(len(graph.boxes), 'event types')}, {share(graph.count, graph.all_count)} of "
        f"{graph.all_count:,} steps" + (f" · waits on {graph.said}" if graph.said else "")
    ]
    if left_out:
        said.append(f"{counted(left_out, 'rarer event types')} left out")
    names = map_order(graph.edges)
    # All of the neighbours of a type may be left out.
    names += [name for name in graph.boxes if name not in names]
    return draw_matrix(cells, names, {"+": BLUE}, _TITLE, said)


def draw_matrix(
    cells: list[MatrixCell], names: list[str], colours: dict[str, str], title: str, said: list[str]
) -> alt.LayerChart:
    """Draw a matrix.

    Parameters
    ----------
    cells
        Each with ``source`` and ``target`` (None for start and end), ``strength`` (0 to 1),
        ``text``, ``tips`` and, if there is more than one colour, ``sign``.
    names
        The event types in order.
    colours
        By sign.
    """
    import altair as alt

    shown = fitted(["start", "end", *names], 10, 200)
    start, end, *types = shown
    label = dict(zip(names, types, strict=True))
    rows, columns = [start, *types], [*types, end]
    side = max(14, min(46, _SIDE // (len(types) + 1)))
    values = [
        {
            "row": start if cell["source"] is None else label[cell["source"]],
            "column": end if cell["target"] is None else label[cell["target"]],
            "strength": 0.08 + 0.92 * cell["strength"],
            "sign": cell.get("sign", "+"),
            "text": cell["text"],
            "d": ", ".join(f"{name} {value}" for name, value in cell["tips"].items()),
            **tips(cell["tips"]),
        }
        for cell in cells
    ]
    tip_lines = tooltips(dict.fromkeys(cells[0]["tips"], "")) if cells else []
    axis: dict[str, Any] = {"grid": False, "labelLimit": 0, "domain": False, "ticks": False}
    x = alt.X(
        "column:N",
        scale=alt.Scale(domain=columns, padding=0.06),
        axis=alt.Axis(orient="top", labelAngle=-50, title="to", titleAnchor="start", **axis),
    )
    y = alt.Y(
        "row:N",
        scale=alt.Scale(domain=rows, padding=0.06),
        axis=alt.Axis(title="from", titleAnchor="end", **axis),
    )
    layers: list[Any] = [
        alt.Chart(data(values))
        .mark_rect(cornerRadius=2)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "sign:N",
                scale=alt.Scale(domain=[*colours], range=[*colours.values()]),
                legend=None,
            ),
            fillOpacity=alt.FillOpacity(
                "strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None
            ),
            tooltip=tip_lines,
            description="d:N",
        )
    ]
    if side >= _SIDE // (_MOST_NUMBERS + 1):
        # On a full colour the ink of the theme would drown.
        ink: dict[bool, dict[str, Any]] = {True: {"color": "#ffffff"}, False: {}}
        for strong, paint in ink.items():
            some = [row for row in values if (row["strength"] > 0.55) == strong]
            layers.append(
                alt.Chart(data(some))
                .mark_text(fontSize=10, **paint)
                .encode(x=x, y=y, text="text:N", tooltip=tip_lines)
            )
    made: alt.LayerChart = layered(
        layers, title, said, width=side * len(columns), height=side * len(rows)
    )
    return made


def _short(count: int) -> str:
    """Return a number in at most five letters, as far as a cell has room for it.

    >>> [_short(number) for number in (7, 12_345, 4_000_000)]
    ['7', '12.3k', '4.0M']
    """
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            unit = 1000 if letter == "k" else size
            return (
                f"{count / unit:.1f}{letter}" if count < 100 * unit else f"{count // unit}{letter}"
            )
    return f"{count:,}"
