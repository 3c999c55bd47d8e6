"""An alluvial chart: place by place, from which event the cases flow to which."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from duckdb import DuckDBPyRelation

from esnb import duck
from esnb.chart.axes import across, down
from esnb.chart.counts import other_label
from esnb.chart.frame import COLORS, REST, data, layered, nothing, tips, tooltips
from esnb.chart.measure import fitted, wrapped
from esnb.chart.relations import relation
from esnb.chart.words import counted, share, tip
from esnb.errors import QueryError

if TYPE_CHECKING:
    import altair as alt

__all__ = ["alluvial_chart", "alluvial_steps"]

_TITLE = "Steps of the cases"
_COLUMNS = ("place", "source", "target", "cases")
_TYPES = 9
_NODE, _COLUMN, _HEIGHT, _GAP = 10, 114, 380, 5
_HEAD = 18
_FONT = 10
# Where a case ended: the place of that in all lists of types.
_END = -1


@dataclass(frozen=True)
class _Flows:
    """Flows between places; types by number, the last one perhaps all others together."""

    types: tuple[str, ...]
    others: int
    rows: tuple[tuple[int, int, int, int], ...]
    """Place, source, target (`_END` where the case ended), cases."""


def alluvial_chart(flow: Any, most: int = 8, types: int = _TYPES) -> alt.LayerChart | alt.Chart:
    """Draw which event the cases had at each place, and to which they went from there.

    `alluvial_steps` returns what it draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow, or a table with the columns of its ``steps()``.
    most
        How many places from the first on, at most 20; what follows the last of them is drawn, too.
    types
        How many event types to tell apart; the others are drawn together.

    Returns
    -------
    altair.LayerChart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        If a column is missing, or one of the numbers is out of range.
    """
    import altair as alt

    found = _asked(flow, most, types)
    if not found.rows:
        return nothing(_TITLE, "no cases in this selection")
    names = fitted([*found.types[: len(found.types) - bool(found.others)]], 10, 170)
    if found.others:
        names.append(f"{other_label((*names,))} ({found.others:,})")
    colours = [COLORS[number % len(COLORS)] for number in range(len(names))]
    if found.others:
        colours[-1] = REST
    ended = fitted([*names, "ended"], 10, 170)[-1]
    total = sum(cases for place, _, _, cases in found.rows if place == found.rows[0][0])
    boxes, spots = _boxes(found, total)
    last = max(place for place, _ in spots)
    frame = {"width": (last - 1) * _COLUMN + _NODE + 110, "height": _HEIGHT + _HEAD}
    streams = _streams(found, boxes, spots, names, ended, total)
    nodes = []
    for (place, number), (top, size) in boxes.items():
        name = ended if number == _END else names[number]
        x = (place - 1) * _COLUMN
        line = {
            "place": f"{place}",
            "event type": name,
            "cases": f"{spots[place, number]:,}",
            "of all cases": share(spots[place, number], total),
        }
        beside = wrapped(name, _FONT, _COLUMN - 22, lines=1)[0]
        nodes.append(
            {
                "x": x, "x2": x + _NODE, "top": top, "bottom": top + size, "c": name,
                "beside": x + _NODE + 4, "y": top + size / 2,
                "text": beside if size > 11 else "",
                "d": ", ".join(f"{key} {value}" for key, value in line.items()), **tips(line),
            }
        )  # fmt: skip
    heads = [{"x": (place - 1) * _COLUMN, "text": _ordinal(place)} for place in range(1, last + 1)]
    colour = alt.Color(
        "c:N",
        scale=alt.Scale(domain=[*names, ended], range=[*colours, "#b9b9b9"]),
        legend=alt.Legend(
            title="event type", orient="bottom", columns=max(2, frame["width"] // 210),
            symbolType="square", symbolOpacity=1, labelLimit=0, titleLimit=0,
        ),
    )  # fmt: skip
    lines = tooltips(dict.fromkeys(("place", "event type", "cases", "of all cases"), ""))
    drawn = [
        alt.Chart(data(streams))
        .mark_point(filled=True, size=4, opacity=0.38)
        .encode(
            shape=alt.Shape("p:N", scale=None),
            x=alt.value(0),
            y=alt.value(0),
            color=colour,
            description="d:N",
            tooltip=tooltips(
                dict.fromkeys(("places", "from", "to", "cases", "of the cases from there"), "")
            ),
        ),
        alt.Chart(data(nodes))
        .mark_rect()
        .encode(
            x=across("x", frame), x2="x2:Q", y=down("top", frame), y2="bottom:Q",
            color=alt.Color("c:N", scale=alt.Scale(domain=[*names, ended],
                            range=[*colours, "#b9b9b9"]), legend=None),
            tooltip=lines, description="d:N",
        ),
        alt.Chart(data([node for node in nodes if node["text"]]))
        .mark_text(align="left", baseline="middle", fontSize=_FONT)
        .encode(x=across("beside", frame), y=down("y", frame), text="text:N", tooltip=lines),
        alt.Chart(data(heads))
        .mark_text(align="left", baseline="top", fontSize=11, fontWeight="bold")
        .encode(x=across("x", frame), y=alt.value(0), text="text:N"),
    ]  # fmt: skip
    said = [
        f"{counted(total, 'cases')}, their first {counted(last, 'events')}; "
        f"{len(names) - bool(found.others)} of "
        f"{counted(len(names) - bool(found.others) + found.others, 'event types')}"
        + (f", the other {found.others:,} together" if found.others else "")
    ]
    made: alt.LayerChart = layered(
        drawn, _TITLE, said, **frame, resolve={"scale": {"shape": "independent"}}
    )
    return made


def alluvial_steps(flow: Any, most: int = 8, types: int = _TYPES) -> DuckDBPyRelation:
    """Return the flows that `alluvial_chart` draws, from the same parameters.

    Parameters
    ----------
    flow, most, types
        See `alluvial_chart`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        ``place`` (from 1), ``source``, ``target`` (NULL where the cases ended), ``cases``; types
        that are not told apart are ``other``.  By place, most cases first.

    Raises
    ------
    QueryError
        As `alluvial_chart`.
    """
    found = _asked(flow, most, types)
    place, source, target, cases = zip(*found.rows, strict=True) if found.rows else ((),) * 4
    table = pa.table(
        {
            "place": pa.array(place, pa.int64()),
            "source": pa.array([found.types[number] for number in source], pa.string()),
            "target": pa.array(
                [None if number == _END else found.types[number] for number in target], pa.string()
            ),
            "cases": pa.array(cases, pa.int64()),
        }
    )
    return duck.connect().from_arrow(table)


def _asked(flow: Any, most: int, types: int) -> _Flows:
    if not 1 <= most <= 20:
        raise QueryError(f"most={most}: say how many places to draw, from 1 to 20")
    if not 1 <= types <= len(COLORS):
        raise QueryError(f"types={types}: from 1 to {len(COLORS)} types can be told apart")
    ask = getattr(flow, "steps", None)
    table = relation(ask(most) if callable(ask) else flow)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise QueryError(
            "this chart is drawn from a flow, or the columns of its steps(); there is no "
            f"{missing[0]!r}"
        )
    wanted = table.project(", ".join(_COLUMNS)).filter(f"place <= {most}").to_arrow_table()
    rows = [*zip(*(wanted[name].to_pylist() for name in _COLUMNS), strict=True)]
    sizes: Counter[str] = Counter()
    for place, source, target, cases in rows:
        sizes[source] += cases
        if place == most and target is not None:
            sizes[target] += cases
    ranked = sorted(sizes, key=lambda name: (-sizes[name], name))
    # One type left over takes no more room than the word "other".
    kept = ranked if len(ranked) <= types + 1 else ranked[:types]
    number = {name: place for place, name in enumerate(kept)}
    others = len(ranked) - len(kept)
    merged: Counter[tuple[int, int, int]] = Counter()
    for place, source, target, cases in rows:
        to = _END if target is None else number.get(target, len(kept))
        merged[place, number.get(source, len(kept)), to] += cases
    order = sorted(merged, key=lambda key: (key[0], -merged[key], key[1:]))
    names = [*kept, other_label((*kept,))] if others else kept
    return _Flows(tuple(names), others, tuple((*key, merged[key]) for key in order))


def _boxes(
    found: _Flows, total: int
) -> tuple[dict[tuple[int, int], tuple[float, float]], Counter[tuple[int, int]]]:
    """Return top and height of each type at each place, and how many cases are there."""
    spots: Counter[tuple[int, int]] = Counter()
    last = max(place for place, *_ in found.rows)
    for place, source, target, cases in found.rows:
        spots[place, source] += cases
        if place == last or target == _END:
            spots[place + 1, target] += cases
    boxes = {}
    most = max(Counter(place for place, _ in spots).values())
    scale = (_HEIGHT - _GAP * (most - 1)) / total
    tops: dict[int, float] = {}
    for place, number in sorted(spots, key=lambda key: (key[0], key[1] == _END, key[1])):
        top, size = tops.get(place, float(_HEAD)), spots[place, number] * scale
        boxes[place, number] = (top, size)
        tops[place] = top + size + _GAP
    return boxes, spots


def _streams(
    found: _Flows,
    boxes: dict[tuple[int, int], tuple[float, float]],
    spots: Counter[tuple[int, int]],
    names: list[str],
    ended: str,
    total: int,
) -> list[dict[str, Any]]:
    """Return the outlines of the flows, each between two curves."""
    left: dict[tuple[int, int], float] = {}
    right: dict[tuple[int, int], float] = {}
    rows = []
    ends = len(names)
    for place, source, target, cases in sorted(
        found.rows, key=lambda row: (row[0], row[1], ends if row[2] == _END else row[2])
    ):
        top, size = boxes[place, source]
        part = size * cases / spots[place, source]
        y0 = left.get((place, source), top)
        left[place, source] = y0 + part
        spot = (place + 1, target)
        y1 = right.get(spot, boxes[spot][0])
        right[spot] = y1 + part
        x0, x1 = (place - 1) * _COLUMN + _NODE, place * _COLUMN
        half = (x0 + x1) / 2
        line = {
            "places": f"{place} to {place + 1}",
            "from": tip(names[source]),
            "to": ended if target == _END else tip(names[target]),
            "cases": f"{cases:,} ({share(cases, total)} of all)",
            "of the cases from there": share(cases, spots[place, source]),
        }
        rows.append(
            {
                "p": f"M{x0},{y0:.2f}C{half},{y0:.2f} {half},{y1:.2f} {x1},{y1:.2f}"
                     f"V{y1 + part:.2f}C{half},{y1 + part:.2f} {half},{y0 + part:.2f} "
                     f"{x0},{y0 + part:.2f}Z",
                "c": ended if target == _END else names[source],
                "d": ", ".join(f"{key} {value}" for key, value in line.items()), **tips(line),
            }
        )  # fmt: skip
    return rows


def _ordinal(place: int) -> str:
    return f"event {place}"
