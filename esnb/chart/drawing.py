"""Drawing boxes and arrows: what all maps of flows share, whatever their colours mean.

Names from events come in here as text of boxes, labels and tooltips, in rows of data: Graphviz
never sees them, and no field or expression is made of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import TYPE_CHECKING, Any

from esnb.chart.axes import across, down
from esnb.chart.frame import BLUE, data, layered, pick_name, tips, tooltips
from esnb.chart.layout import Arrow, Box, Curve, layout
from esnb.chart.measure import width, wrapped
from esnb.chart.words import tip as tip_text

if TYPE_CHECKING:
    import altair as alt

__all__ = [
    "END",
    "LINE",
    "MARGIN",
    "MOST_LABELLED",
    "START",
    "TERMINAL",
    "Colours",
    "Edge",
    "Line",
    "Map",
    "Node",
    "Placed",
    "draw",
    "place",
]

# More labels than this cover each other's arrows, and `dot` needs seconds to place them.
MOST_LABELLED = 60
START, END = 0, 1

_FONT, _LABEL_FONT = 11, 10
_WIDEST_BOX, _NARROWEST_BOX, LINE, _PADDING = 170, 84, 14, 12
TERMINAL = 20
_THICKEST = 9
MARGIN = 24


@dataclass(frozen=True)
class Node:
    """A box: its name, what stands under it, and what a tooltip says."""

    name: str
    count: str
    tips: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """An arrow between boxes.

    Attributes
    ----------
    source, target
        `START`, `END`, or the place of a box among the nodes plus two.
    weight
        How thick it is, relative to the others.
    label
        What stands beside it.
    colour
        One of the names of the colours.
    tips
        What its tooltip says; the names are ours, the same for all edges.
    """

    source: int
    target: int
    weight: float
    label: str
    colour: str
    tips: dict[str, Any]


@dataclass(frozen=True)
class Colours:
    """The names that colours have, in order; those of `hidden` are not in the legend."""

    title: str
    by_name: dict[str, str]
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Map:
    """What a map shows, before anything has a place.

    Attributes
    ----------
    nodes, edges
        Boxes and arrows, these in the order in which `dot` shall see them.
    ends
        What stands beside the start and the end.
    labelled
        Whether labels stand beside the arrows.
    title, said
        What stands above the map.
    tip_formats
        Names of the tooltip's lines with Vega's number formats, ``""`` for text.
    """

    nodes: Sequence[Node]
    edges: Sequence[Edge]
    colours: Colours
    ends: tuple[str, str]
    labelled: bool
    title: str
    said: Sequence[str]
    tip_formats: dict[str, str]


@dataclass(frozen=True)
class Line:
    """An arrow as it is drawn: outlines in SVG's words, in pixels.

    Attributes
    ----------
    number
        Of the edge.
    stroke
        Width of the line.
    label
        Where the label begins, at half its height; None for none.
    """

    number: int
    stroke: float
    line: str
    head: str
    label: tuple[float, float] | None


@dataclass(frozen=True)
class Placed:
    """Where everything stands, from the corner of the layout: `MARGIN` lies around it.

    Attributes
    ----------
    width, height
        With the margin.
    texts
        The lines of each box, without its count.
    boxes
        Sizes and places (middles) of the boxes, those of start and end first.
    lines
        The arrows; thin ones last, so that they stay seen.
    words
        Middles of the words beside start and end.
    """

    width: int
    height: int
    texts: Sequence[list[str]]
    boxes: Sequence[tuple[Box, tuple[float, float]]]
    lines: Sequence[Line]
    words: tuple[tuple[float, float], tuple[float, float]]


def place(made: Map) -> Placed:
    """Find places for boxes and arrows.

    Raises
    ------
    ImportError
        If there is no pygraphviz.
    """
    edges = made.edges
    heaviest = max((edge.weight for edge in edges), default=1) or 1
    strokes = [1 + (_THICKEST - 1) * (max(edge.weight, 0) / heaviest) ** 0.5 for edge in edges]
    texts = [wrapped(node.name, _FONT, _WIDEST_BOX - 2 * _PADDING) for node in made.nodes]
    main = _main_path(edges)
    boxes = [Box(TERMINAL, TERMINAL, rank, bool(main)) for rank in ("source", "sink")] + [
        _box(text, node, number + 2 in main)
        for number, (text, node) in enumerate(zip(texts, made.nodes, strict=True))
    ]
    placed = layout(
        boxes,
        [
            Arrow(
                edge.source,
                edge.target,
                1
                + round(
                    (200 if main.get(edge.source) == edge.target else 30)
                    * max(edge.weight, 0)
                    / heaviest
                ),
                stroke,
                _room(edge.label, stroke) if made.labelled else None,
            )
            for edge, stroke in zip(edges, strokes, strict=True)
        ],
    )
    # The words above the start and under the end are no part of the layout.
    halves = [width(text, _FONT) / 2 for text in made.ends]
    middles = [placed.boxes[end] for end in (START, END)]
    widest = max(halves)
    right = max([placed.width, *(x + widest for x, _ in middles), 2 * widest])
    # Arrows leave the start on all sides but above, and come to the end on all but below.
    (start_x, start_y), (end_x, end_y) = middles
    return Placed(
        round(right + 2 * MARGIN),
        round(placed.height + 2 * MARGIN),
        texts,
        [*zip(boxes, placed.boxes, strict=True)],
        _lines(edges, strokes, placed.curves, made.labelled),
        (
            (max(start_x, halves[0]), start_y - TERMINAL),
            (max(end_x, halves[1]), end_y + TERMINAL),
        ),
    )


def draw(made: Map) -> alt.LayerChart:
    """Draw a map.

    Raises
    ------
    ImportError
        If there is no pygraphviz.
    """
    import altair as alt

    placed = place(made)
    edges, colours = made.edges, made.colours
    lines, heads, labels = _arrows(edges, placed.lines)
    frame = {"width": placed.width, "height": placed.height}
    name = pick_name(made.title, made.said, len(edges))
    pick = alt.selection_point(name=name, fields=["e"])
    tip = tooltips(made.tip_formats)
    scale = alt.Scale(domain=[*colours.by_name], range=[*colours.by_name.values()])
    colour = alt.Color(
        "c:N",
        scale=scale,
        legend=alt.Legend(
            title=colours.title,
            orient="bottom",
            direction="horizontal",
            symbolType="stroke",
            symbolStrokeWidth=4,
            titleLimit=0,
            labelLimit=0,
            values=[name for name in colours.by_name if name not in colours.hidden],
        ),
    )
    strong = alt.when(pick).then(alt.value(0.9)).otherwise(alt.value(0.12))
    path = alt.Shape("p:N", scale=None)
    at_zero = {"x": alt.value(MARGIN), "y": alt.value(MARGIN)}
    described = alt.Description("d:N")
    layers: list[Any] = [
        # Vega reads an outline of a symbol of size 4 as it stands, in pixels.
        alt.Chart(data(lines))
        .mark_point(filled=False, fill=None, size=4, strokeCap="butt", strokeJoin="round")
        .encode(
            shape=path,
            stroke=colour,
            strokeWidth=alt.StrokeWidth("w:Q", scale=None),
            opacity=strong,
            tooltip=tip,
            description=described,
            **at_zero,
        )
        .add_params(pick),
        alt.Chart(data(heads))
        .mark_point(filled=True, size=4, strokeWidth=0)
        .encode(
            shape=path,
            color=alt.Color("c:N", scale=scale, legend=None),
            opacity=strong,
            tooltip=tip,
            **at_zero,
        ),
        *_box_layers(made.nodes, placed, frame),
        *_terminal_layers(made.ends, placed, frame),
    ]
    if labels:
        layers.append(
            alt.Chart(data(labels))
            .mark_text(fontSize=_LABEL_FONT, align="left", baseline="middle")
            .encode(
                text="label:N",
                opacity=alt.when(pick).then(alt.value(0.75)).otherwise(alt.value(0.12)),
                tooltip=tip,
                **_place(frame),
            )
        )
    chart: alt.LayerChart = layered(
        layers, made.title, made.said, **frame, resolve={"scale": {"shape": "independent"}}
    )
    return chart


def _main_path(edges: Sequence[Edge]) -> dict[int, int]:
    """Return the way from the start that always takes the heaviest arrow to a new box."""
    out: dict[int, list[Edge]] = {}
    for edge in edges:
        out.setdefault(edge.source, []).append(edge)
    path: dict[int, int] = {}
    here = START
    while here != END:
        ways = [edge for edge in out.get(here, ()) if edge.target not in {here, *path}]
        if not ways:
            break
        path[here] = max(ways, key=lambda edge: edge.weight).target
        here = path[here]
    return path


def _box(text: list[str], node: Node, main: bool) -> Box:
    widest = max(width(line, _FONT) for line in [*text, node.count])
    return Box(
        max(_NARROWEST_BOX, round(widest + 2 * _PADDING)),
        LINE * (len(text) + 1) + _PADDING,
        main=main,
    )


def _room(label: str, stroke: float) -> tuple[float, float]:
    """Return the size of a label with the room that half of its arrow takes beside it."""
    return width(label, _LABEL_FONT) + stroke / 2 + 6, _LABEL_FONT + 5


def _lines(
    edges: Sequence[Edge], strokes: Sequence[float], curves: Sequence[Curve], labelled: bool
) -> list[Line]:
    found = []
    for number in sorted(range(len(edges)), key=lambda number: -strokes[number]):
        stroke, curve, beside = strokes[number], curves[number], None
        if labelled and curve.label is not None:
            room, _ = _room(edges[number].label, stroke)
            x, y = curve.label
            beside = round(x - room / 2 + stroke / 2 + 4, 1), y
        found.append(Line(number, round(stroke, 2), _line(curve), _head(curve, stroke), beside))
    return found


def _arrows(
    edges: Sequence[Edge], placed: Sequence[Line]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of lines, heads and labels."""
    lines, heads, labels = [], [], []
    for one in placed:
        edge = edges[one.number]
        row = {"e": one.number, "c": edge.colour, **tips(edge.tips)}
        words = ", ".join(f"{name} {value}" for name, value in edge.tips.items())
        lines.append(row | {"p": one.line, "w": one.stroke, "d": words})
        heads.append(row | {"p": one.head})
        if one.label is not None:
            x, y = one.label
            labels.append(row | {"x": x, "y": y, "label": edge.label})
    return lines, heads, labels


def _line(curve: Curve) -> str:
    first, *others = curve.points
    chain = " ".join(
        "C" + " ".join(f"{x:g},{y:g}" for x, y in others[place : place + 3])
        for place in range(0, len(others), 3)
    )
    return f"M{first[0]:g},{first[1]:g}{chain}"


def _head(curve: Curve, stroke: float) -> str:
    (x, y), (end_x, end_y) = curve.points[-1], curve.tip
    length = hypot(end_x - x, end_y - y) or 1
    half = max(3.5, stroke / 2 + 2)
    across_x, across_y = -(end_y - y) / length * half, (end_x - x) / length * half
    corners = ((x + across_x, y + across_y), (end_x, end_y), (x - across_x, y - across_y))
    return "M" + "L".join(f"{a:.2f},{b:.2f}" for a, b in corners) + "Z"


def _box_layers(nodes: Sequence[Node], placed: Placed, frame: dict[str, int]) -> list[Any]:
    import altair as alt

    rows = []
    for node, text, (box, (x, y)) in zip(nodes, placed.texts, placed.boxes[2:], strict=True):
        rows.append(
            {
                "x": x, "y": y,
                "left": x - box.width / 2, "right": x + box.width / 2,
                "top": y - box.height / 2, "bottom": y + box.height / 2,
                "label": "\n".join([*text, node.count]),
                "first": y - LINE * len(text) / 2,
                "d": f"{tip_text(node.name)}, {node.count}",
                **tips(node.tips),
            }
        )  # fmt: skip
    if not rows:
        return []
    tip = tooltips(
        {name: "" if isinstance(value, str) else ",d" for name, value in nodes[0].tips.items()}
    )
    at = _place(frame)
    return [
        alt.Chart(data(rows))
        .mark_rect(cornerRadius=7, fill=BLUE, fillOpacity=0.1, stroke=BLUE, strokeWidth=1.4)
        .encode(
            x=across("left", frame, MARGIN),
            x2="right:Q",
            y=down("top", frame, MARGIN),
            y2="bottom:Q",
            tooltip=tip,
            description=alt.Description("d:N"),
        ),
        alt.Chart(data(rows))
        .mark_text(fontSize=_FONT, lineBreak="\n", lineHeight=LINE, baseline="middle")
        .encode(
            x=at["x"], y=down("first", frame, MARGIN), text="label:N", tooltip=tip
        ),
    ]  # fmt: skip


def _terminal_layers(ends: tuple[str, str], placed: Placed, frame: dict[str, int]) -> list[Any]:
    import altair as alt

    rows = [
        {
            "x": x,
            "y": y,
            "word_x": placed.words[end][0],
            "word_y": placed.words[end][1],
            "label": ends[end],
            "shape": ("circle", "square")[end],
        }
        for end, (_, (x, y)) in enumerate(placed.boxes[:2])
    ]
    at = _place(frame)
    return [
        alt.Chart(data(rows))
        .mark_point(filled=True, size=TERMINAL**2 * 0.8, opacity=1, color=BLUE)
        .encode(shape=alt.Shape("shape:N", scale=None), description="label:N", **at),
        alt.Chart(data(rows))
        .mark_text(fontSize=_FONT, baseline="middle")
        .encode(x=across("word_x", frame, MARGIN), y=down("word_y", frame, MARGIN), text="label:N"),
    ]


def _place(frame: dict[str, int]) -> dict[str, Any]:
    return {"x": across("x", frame, MARGIN), "y": down("y", frame, MARGIN)}
