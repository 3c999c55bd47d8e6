"""Coverage: a part of the graph that shows most of what happened, and cuts nothing off.

The edges that were taken most often alone would leave types that nothing leads to, or that lead
nowhere.  So with an edge come the widest way from the start to it and the widest way from it to
the end, wide as its narrowest edge.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from esnb.errors import FlowError, shown

__all__ = ["Coverage", "covered"]


class Coverage(NamedTuple):
    """How much of a graph is shown.

    Attributes
    ----------
    edges, of_edges
        Edges that are kept, and that there are; starts and ends among them.
    transitions, of_transitions
        How often they were taken, altogether.
    share
        Kept part of the transitions, 0 to 1 (1 of none).
    """

    edges: int
    of_edges: int
    transitions: int
    of_transitions: int
    share: float

    def __str__(self) -> str:
        return (
            f"{self.edges:,} of {self.of_edges:,} edges, {self.share:.1%} of"
            f" {self.of_transitions:,} transitions"
        )


def covered(edges: Any, coverage: float, most: int | None = None) -> tuple[Any, Coverage]:
    """Return the edges that show so much of a directly-follows graph, and how much that is.

    Every type that is left can be reached from the start, and reaches the end.

    Parameters
    ----------
    edges
        Table with ``source``, ``target`` (NULL for start and end) and ``count``, with the
        edges that are taken most often first; see `esnb.flow.graph.edges`.
    coverage
        Part of all transitions to be shown, 0 to 1; starts and ends count as transitions.  The
        fewest edges are kept, in the order of their counts, that reach it.
    most
        No more edges than these are kept, if one edge with its ways can do with them.

    Returns
    -------
    pyarrow.Table
        The kept rows of `edges`, in their order.
    Coverage
        What they show.

    Raises
    ------
    FlowError
        If `coverage` is no number from 0 to 1.
    """
    if (
        isinstance(coverage, bool)
        or not isinstance(coverage, int | float)
        or not 0 <= coverage <= 1
    ):
        raise FlowError(f"coverage={shown(coverage)}: say a number from 0 to 1, as 0.9")
    counts = edges["count"].to_pylist()
    total = sum(counts)
    kept = _kept(edges, counts, coverage * total, most)
    shown_ = sum(counts[edge] for edge in kept)
    share = shown_ / total if total else 1.0
    rows = np.array(sorted(kept), np.int64)
    return edges.take(pa.array(rows)), Coverage(len(kept), len(counts), shown_, total, share)


def _kept(edges: Any, counts: list[int], wanted: float, most: int | None) -> set[int]:
    if not counts:
        return set()
    start, end = ("start",), ("end",)
    sources = [start if name is None else name for name in edges["source"].to_pylist()]
    targets = [end if name is None else name for name in edges["target"].to_pylist()]
    to = _widest(sources, targets, counts, start)
    back = _widest(targets, sources, counts, end)
    kept: set[int] = set()
    reached = 0
    for edge in range(len(counts)):
        if reached >= wanted and kept:
            break
        if edge in kept:
            continue
        new = {edge}
        for way, node, ends in ((to, sources[edge], sources), (back, targets[edge], targets)):
            # What is kept leads on already; what is new may lead the other way only.
            while node in way and way[node] not in kept:
                new.add(way[node])
                node = ends[way[node]]
        if most is not None and kept and len(kept) + len(new) > most:
            break
        kept |= new
        reached += sum(counts[one] for one in new)
    return kept


def _widest(sources: list[Any], targets: list[Any], counts: list[int], root: Any) -> dict[Any, int]:
    """Return for each node the last edge of the widest way to it from `root`.

    Of ways of one width it is the one with the fewest edges.
    """
    leaving: dict[Any, list[int]] = {}
    for edge, source in enumerate(sources):
        leaving.setdefault(source, []).append(edge)
    best = {root: (-sum(counts), 0)}
    via: dict[Any, int] = {}
    number = {root: 0}
    queue = [(*best[root], 0, root)]
    done = set()
    while queue:
        width, length, _, node = heapq.heappop(queue)
        if node in done:
            continue
        done.add(node)
        for edge in leaving.get(node, ()):
            target = targets[edge]
            found = (max(width, -counts[edge]), length + 1)
            if target not in done and (target not in best or found < best[target]):
                best[target], via[target] = found, edge
                heapq.heappush(queue, (*found, number.setdefault(target, len(number)), target))
    return via
