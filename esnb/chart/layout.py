"""Where boxes and arrows stand: Graphviz' `dot`, which is told sizes and numbers, never a name."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Arrow", "Box", "Curve", "Layout", "available", "layout"]

# Graphviz keeps state of its own between calls and is not made for several threads.
_LOCK = threading.Lock()
_POINTS_PER_INCH = 72
_NUMBER = re.compile(r"-?[\d.]+(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Box:
    """A node, `width` by `height` pixels.

    Attributes
    ----------
    rank
        ``"source"`` for the top, ``"sink"`` for the bottom, ``""`` for where it fits.
    main
        Whether it belongs to those that stand straight under each other.
    """

    width: float
    height: float
    rank: str = ""
    main: bool = False


@dataclass(frozen=True)
class Arrow:
    """An edge from box to box, by their numbers.

    Attributes
    ----------
    weight
        How hard it pulls its boxes under each other, from 1.
    stroke
        Width of its line in pixels.
    label
        Width and height of its label in pixels, or None for none.
    """

    source: int
    target: int
    weight: int = 1
    stroke: float = 1
    label: tuple[float, float] | None = None


@dataclass(frozen=True)
class Curve:
    """The way of an arrow.

    Attributes
    ----------
    points
        First point of a chain of cubic Bézier curves, then three for each curve.
    tip
        Where the arrow's head ends.
    label
        Middle of the label, or None.
    """

    points: tuple[tuple[float, float], ...]
    tip: tuple[float, float]
    label: tuple[float, float] | None


@dataclass(frozen=True)
class Layout:
    """Places in pixels from the upper left corner: of the middles of boxes, and of arrows."""

    width: float
    height: float
    boxes: tuple[tuple[float, float], ...]
    curves: tuple[Curve, ...]


def available() -> bool:
    """Return whether Graphviz can be asked here."""
    try:
        import pygraphviz  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        return False
    return True


def layout(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> Layout:
    """Lay boxes out from top to bottom, heavy arrows straight.

    The same boxes and arrows give the same places, also in several threads at once.

    Raises
    ------
    ImportError
        If there is no pygraphviz.
    """
    import pygraphviz

    with _LOCK:
        graph = pygraphviz.AGraph(string=_dot(boxes, arrows))
        try:
            graph.layout("dot")
            return _read(graph, boxes, arrows)
        finally:
            graph.close()


def _dot(boxes: Sequence[Box], arrows: Sequence[Arrow]) -> str:
    lines = [
        "digraph {",
        # Bounds the search of `dot` where a graph has hundreds of edges.
        'graph [nodesep="0.3" ranksep="0.4" nslimit="8" mclimit="1"]',
        'node [shape="box" fixedsize="true" label=""]',
        'edge [arrowsize="0.9"]',
    ]
    for number, box in enumerate(boxes):
        rank = f'{{rank="{box.rank}" {number}}}' if box.rank else ""
        group = ' group="main"' if box.main else ""
        width, height = box.width / _POINTS_PER_INCH, box.height / _POINTS_PER_INCH
        lines.append(f'{number} [width="{width:.4f}" height="{height:.4f}"{group}] {rank}')
    for number, arrow in enumerate(arrows):
        lines.append(
            f'{arrow.source} -> {arrow.target} [key="{number}" weight="{arrow.weight}"'
            f' penwidth="{arrow.stroke:.2f}"{_label(arrow)}]'
        )
    return "\n".join([*lines, "}"])


def _label(arrow: Arrow) -> str:
    """Return an empty table of the label's size: `dot` keeps the place free."""
    if arrow.label is None:
        return ""
    width, height = (round(side) for side in arrow.label)
    return (
        ' label=<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0"'
        f' FIXEDSIZE="TRUE" WIDTH="{width}" HEIGHT="{height}"><TR><TD></TD></TR></TABLE>>'
    )


def _read(graph: object, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> Layout:
    left, low, right, high = _numbers(graph.graph_attr["bb"])  # type: ignore[attr-defined]

    def place(x: float, y: float) -> tuple[float, float]:
        return round(x - left, 2), round(high - y, 2)

    middles = []
    for number in range(len(boxes)):
        x, y = _numbers(graph.get_node(str(number)).attr["pos"])  # type: ignore[attr-defined]
        middles.append(place(x, y))
    curves = []
    for number, arrow in enumerate(arrows):
        edge = graph.get_edge(  # type: ignore[attr-defined]
            str(arrow.source), str(arrow.target), str(number)
        )
        tip, points = None, []
        for part in edge.attr["pos"].split():
            x, y = _numbers(part)
            if part.startswith("e,"):
                tip = place(x, y)
            else:
                points.append(place(x, y))
        label = edge.attr["lp"]
        middle = place(*_numbers(label)) if label else None
        curves.append(Curve(tuple(points), tip or points[-1], middle))
    return Layout(right - left, high - low, tuple(middles), tuple(curves))


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text.removeprefix("e,"))]
