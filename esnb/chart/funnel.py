"""A funnel: how many cases take each step, and how many are lost before it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from esnb.chart.axes import across, down
from esnb.chart.frame import BLUE, data, layered, nothing, tips, tooltips
from esnb.chart.measure import width, wrapped
from esnb.chart.relations import relation
from esnb.chart.words import counted, duration, seconds, share, tip
from esnb.errors import QueryError

if TYPE_CHECKING:
    import altair as alt

__all__ = ["funnel_chart"]

_TITLE = "Funnel"
_COLUMNS = ("step", "event_type", "cases", "share", "of_previous", "median_wait", "p95_wait")
_ROW, _BAR, _FULL, _FONT = 52, 26, 360, 12


def funnel_chart(
    flow: Any, types: Sequence[str] | None = None, within: str | timedelta | None = None
) -> alt.LayerChart | alt.Chart:
    """Draw how many cases take one step after the other.

    ``flow.funnel(types, within)`` returns what it draws.

    Parameters
    ----------
    flow
        A flow; or the table that its ``funnel()`` returned, without the other parameters.
    types, within
        The event types in order, and the longest time since the first: see
        `esnb.flow.Flow.funnel`.

    Returns
    -------
    altair.LayerChart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        If a column is missing, or a flow comes without types.
    FlowError
        If no event has such a type.
    """
    import altair as alt

    ask = getattr(flow, "funnel", None)
    if callable(ask) and types is None:
        raise QueryError("say the event types of the funnel, in order: types=['Placed', 'Paid']")
    table = relation(ask(types, within) if callable(ask) else flow)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise QueryError(
            "a funnel is drawn from a flow and types, or the columns of its funnel(); there is no "
            f"{missing[0]!r}"
        )
    found = table.order("step").to_arrow_table()
    rows = found.to_pylist()
    if not rows or not rows[0]["cases"]:
        return nothing(_TITLE, "no case takes the first step")
    medians, p95s = (seconds(found[name].to_pylist()) for name in ("median_wait", "p95_wait"))
    highest = rows[0]["cases"]
    names = [" ".join(wrapped(row["event_type"], _FONT, 220, lines=1)) for row in rows]
    left = round(max(width(name, _FONT) for name in names)) + 16
    frame = {"width": left + _FULL + 130, "height": _ROW * len(rows) - (_ROW - _BAR) + 4}
    bars, between, losses = [], [], []
    before: dict[str, float] | None = None
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        top, cases = _ROW * number, row["cases"]
        long = _FULL * cases / highest
        line = {
            "step": f"{row['step']} of {len(rows)}",
            "event type": tip(row["event_type"]),
            "cases": f"{cases:,}",
            "of all cases": f"{100 * row['share']:.1f} %",
            "of the step before": _percent(row["of_previous"]),
            "median wait since the step before": duration(medians[number]),
            "95 % wait at most": duration(p95s[number]),
        }
        bars.append(
            {
                "left": left, "right": left + long, "top": top, "bottom": top + _BAR,
                "y": top + _BAR / 2, "name": name, "beside": left + long + 8,
                "text": f"{cases:,} · {share(cases, highest)}",
                "d": ", ".join(f"{key} {value}" for key, value in line.items()), **tips(line),
            }
        )  # fmt: skip
        if before is not None:
            between.append(
                {
                    "x": left + 10, "y": top - (_ROW - _BAR) / 2,
                    "text": f"{_percent(row['of_previous'])} go on · {duration(medians[number])}",
                }
            )  # fmt: skip
            losses.append(
                {
                    "p": f"M{left},{before['bottom']}H{before['right']:.1f}"
                         f"L{left + long:.1f},{top}H{left}Z"
                }
            )  # fmt: skip
        before = {"bottom": top + _BAR, "right": left + long}
    y = down("y", frame)
    lines = tooltips(dict.fromkeys(line, ""))
    layers = [
        alt.Chart(data(losses))
        .mark_point(filled=True, size=4, color=BLUE, opacity=0.14)
        .encode(shape=alt.Shape("p:N", scale=None), x=alt.value(0), y=alt.value(0)),
        alt.Chart(data(bars))
        .mark_rect(color=BLUE, fillOpacity=0.85, cornerRadius=2)
        .encode(
            x=across("left", frame), x2="right:Q", y=down("top", frame), y2="bottom:Q",
            tooltip=lines, description="d:N",
        ),
        alt.Chart(data(bars))
        .mark_text(align="right", baseline="middle", fontSize=_FONT)
        .encode(x=alt.value(left - 8), y=y, text="name:N", tooltip=lines),
        alt.Chart(data(bars))
        .mark_text(align="left", baseline="middle", fontSize=_FONT)
        .encode(x=across("beside", frame), y=y, text="text:N", tooltip=lines),
        alt.Chart(data(between))
        .mark_text(align="left", baseline="middle", fontSize=10.5, opacity=0.75)
        .encode(x=across("x", frame), y=y, text="text:N"),
    ]  # fmt: skip
    whole = rows[0]["cases"] / rows[0]["share"] if rows[0]["share"] else 0
    said = [
        f"{highest:,} of {counted(round(whole), 'cases')} take the first step, "
        f"{rows[-1]['cases']:,} of them the last ({share(rows[-1]['cases'], highest)})",
        "each step is the first of its type after the step before"
        + (f", within {within} of the first" if within is not None else "")
        + " · median wait between them",
    ]
    shown = layers if len(rows) > 1 else layers[1:4]
    made: alt.LayerChart = layered(
        shown, _TITLE, said, **frame, resolve={"scale": {"shape": "independent"}}
    )
    return made


def _percent(part: float | None) -> str:
    return "—" if part is None else f"{100 * part:.1f} %"
