"""The edges and boxes that a map of a flow shows, as tables."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyRelation

from esnb import duck
from esnb.chart.relations import relation
from esnb.errors import QueryError
from esnb.flow.coverage import covered
from esnb.flow.flow import Covered

__all__ = [
    "COLUMNS",
    "MOST_EDGES",
    "Graph",
    "clock_said",
    "flow_boxes",
    "flow_edges",
    "graph_of",
    "map_order",
]

COLUMNS = (
    "kind", "source", "target", "count", "cases", "median_wait", "mean_wait", "p95_wait",
)  # fmt: skip
# `dot` needs a quarter of a second for so many, and no eye follows more.
MOST_EDGES = 200


@dataclass(frozen=True)
class Graph:
    """Some edges of a directly-follows graph, and what has to be said about the others.

    Attributes
    ----------
    edges
        Table with the columns of ``flow.directly_follows()``: what is drawn.
    boxes
        The event types of these edges with how many events there are in all, also behind
        edges that are not drawn.
    all_edges, all_count
        How many edges and transitions there are.
    starts
        How many cases there are.
    asked, fewer
        The coverage asked for; whether it would take more edges than allowed.
    said
        Clock and zone in words, or ``""``.
    """

    edges: Any
    boxes: dict[str, int]
    all_edges: int
    all_count: int
    starts: int
    asked: float
    fewer: bool
    said: str

    @property
    def count(self) -> int:
        """How many transitions the edges stand for."""
        return sum(self.edges["count"].to_pylist())

    def with_edges(self, edges: Any, boxes: dict[str, int]) -> Graph:
        """Return the graph with other edges and boxes shown."""
        return replace(self, edges=edges, boxes=boxes)


def flow_edges(flow: Any, coverage: float = 0.9, edges: int = 60) -> DuckDBPyRelation:
    """Return the edges that `esnb.chart.flow_map` draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow, or a table with the columns of its ``directly_follows()``.
    coverage
        Share of all transitions that the edges stand for, at least: see
        `esnb.flow.coverage.covered`.  Each box can be reached from the start and reaches the
        end.
    edges
        How many edges at most, up to 200; the coverage is less where they do not suffice.

    Returns
    -------
    duckdb.DuckDBPyRelation
        The columns of ``flow.directly_follows()``, in its order.

    Raises
    ------
    QueryError
        If a column is missing, or `edges` is not above 0.
    FlowError
        If `coverage` is no number from 0 to 1.
    """
    return duck.connect().from_arrow(graph_of(flow, coverage, edges).edges)


def flow_boxes(flow: Any, coverage: float = 0.9, edges: int = 60) -> DuckDBPyRelation:
    """Return the boxes that `esnb.chart.flow_map` draws, from the same parameters.

    Parameters
    ----------
    flow, coverage, edges
        See `flow_edges`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        ``event_type`` and ``count``: all events of the type, whatever edges are drawn.  By
        count from the highest, event_type.

    Raises
    ------
    QueryError, FlowError
        As `flow_edges`.
    """
    boxes = graph_of(flow, coverage, edges).boxes
    ranked = sorted(boxes.items(), key=lambda box: (-box[1], box[0]))
    table = pa.table(
        {
            "event_type": pa.array([name for name, _ in ranked], pa.string()),
            "count": pa.array([count for _, count in ranked], pa.int64()),
        }
    )
    return duck.connect().from_arrow(table)


def graph_of(flow: Any, coverage: float, edges: int | None) -> Graph:
    """Do the work of `flow_edges` and `flow_boxes`; None is all edges, however many."""
    if edges is not None and edges < 1:
        raise QueryError(f"edges={edges}: a map has one edge at least")
    if isinstance(flow, Covered):
        raise QueryError(
            "a part of a graph does not tell how many events its boxes have; give the flow: a map "
            "has a coverage= of its own"
        )
    ask = getattr(flow, "directly_follows", None)
    table = relation(ask() if callable(ask) else flow)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise QueryError(
            f"a map needs a flow, or the columns of its directly_follows(); there is no "
            f"{missing[0]!r}"
        )
    columns = ", ".join(f'"{name}"' for name in COLUMNS)
    whole = table.project(columns).order("count desc, kind, source, target").to_arrow_table()
    drawn, how_much = covered(whole, coverage, None if edges is None else min(edges, MOST_EDGES))
    names = {name for side in ("source", "target") for name in drawn[side].to_pylist()}
    arrived: Counter[str] = Counter()
    starts = 0
    for kind, target, count in _rows(whole, "kind", "target", "count"):
        if kind != "end":
            arrived[target] += count
        if kind == "start":
            starts += count
    return Graph(
        edges=drawn,
        boxes={name: arrived[name] for name in sorted(names - {None})},
        all_edges=how_much.of_edges,
        all_count=how_much.of_transitions,
        starts=starts,
        asked=coverage,
        fewer=how_much.share < coverage,
        said=clock_said(flow),
    )


def map_order(edges: Any) -> list[str]:
    """Return the types from the start on, always by the heaviest edge that leads to a new one.

    `dot` takes edges against this order for those that lead back.

    Parameters
    ----------
    edges
        Table with ``source``, ``target`` (NULL for start and end) and ``count``.
    """
    out: dict[str | None, list[tuple[int, str]]] = {}
    names: set[str] = set()
    for source, target, count in _rows(edges, "source", "target", "count"):
        names.update(name for name in (source, target) if name is not None)
        if target is not None:
            out.setdefault(source, []).append((count, target))
    order: list[str] = []
    seen: set[str | None] = {None}
    # Largest count first; of equals the first name.
    waiting = [(-count, target) for count, target in out.get(None, ())]
    heapq.heapify(waiting)
    while waiting:
        _, name = heapq.heappop(waiting)
        if name not in seen:
            order.append(name)
            seen.add(name)
            for count, target in out.get(name, ()):
                heapq.heappush(waiting, (-count, target))
    return order + sorted(names - {*order})


def clock_said(flow: Any) -> str:
    """Return clock and zone of a flow in words; of a table nothing is known."""
    chosen = getattr(flow, "selection", None)
    return "" if chosen is None else f"{chosen.clock}_on, {chosen.zone}"


def _rows(table: Any, *names: str) -> Any:
    return zip(*(table[name].to_pylist() for name in names), strict=True)
