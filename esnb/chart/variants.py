"""Variants: the ways that cases went, each as a row of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from esnb.chart.axes import across, down
from esnb.chart.frame import BLUE, COLORS, REST, data, layered, nothing, tips, tooltips
from esnb.chart.measure import fitted, width
from esnb.chart.relations import relation
from esnb.chart.words import counted, duration, seconds, share, tip
from esnb.errors import QueryError

if TYPE_CHECKING:
    import altair as alt

__all__ = ["short_names", "variants_chart"]

_TITLE = "Variants"
_COLUMNS = ("variant", "length", "cases", "share", "median_duration", "mean_duration")
# A row: 26 pixels; a step: 30, so that two or three letters have room in it.
_ROW, _STEP, _BAR = 26, 30, 90
_MOST_STEPS = 22
_STEPS_LEFT = 210
_CHEVRON = "M0,-9H{w}L{p},0L{w},9H0L5,0Z"


def variants_chart(flow: Any, limit: int = 15) -> alt.LayerChart | alt.Chart:
    """Draw the most frequent variants: how many cases went that way, its steps, how long.

    ``flow.variants(limit)`` returns what it draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow, or a table with the columns of its ``variants()``.
    limit
        How many variants to show.  Of one longer than 22 steps the first 21 are drawn, and how
        many follow.

    Returns
    -------
    altair.LayerChart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        If a column is missing, or `limit` is not above 0.
    """
    import altair as alt

    if limit < 1:
        raise QueryError(f"limit={limit}: say how many variants to draw, from 1")
    shown, variants, cases = _asked(flow, limit)
    if not shown.num_rows:
        return nothing(_TITLE, "no cases in this selection")
    rows = shown.to_pylist()
    known, codes, colours = _types(rows)
    medians = seconds(shown["median_duration"].to_pylist())
    means = seconds(shown["mean_duration"].to_pylist())
    highest = max(row["cases"] for row in rows)
    bars, steps, more = [], [], []
    for number, (row, median, mean) in enumerate(zip(rows, medians, means, strict=True)):
        middle = _ROW * number + _ROW / 2
        about = {
            "variant": f"{number + 1} of {variants:,}",
            "steps": f"{row['length']:,}",
            "cases": f"{row['cases']:,}",
            "of all cases": share(row["cases"], cases),
            "median duration": duration(median),
            "mean duration": duration(mean),
        }
        bars.append(
            {
                "y": middle, "top": middle - 7, "bottom": middle + 7, "left": _STEPS_LEFT - 118,
                "right": _STEPS_LEFT - 118 + _BAR * row["cases"] / highest,
                "cases": f"{row['cases']:,}", "share": share(row["cases"], cases),
                "median": duration(median),
                "d": ", ".join(f"{name} {value}" for name, value in about.items()),
                **tips(about),
            }
        )  # fmt: skip
        names = row["variant"]
        fitting = names if len(names) <= _MOST_STEPS else names[: _MOST_STEPS - 1]
        for place, name in enumerate(fitting):
            steps.append(
                {
                    "x": _STEPS_LEFT + _STEP * place, "y": middle, "type": known[name],
                    "middle": _STEPS_LEFT + _STEP * (place + 0.5) + 1, "code": codes[name],
                    **tips({"event type": tip(name), "step": f"{place + 1} of {len(names)}"}),
                }
            )  # fmt: skip
        if len(fitting) < len(names):
            text = f"+ {len(names) - len(fitting):,} more"
            more.append({"x": _STEPS_LEFT + _STEP * len(fitting) + 8, "y": middle, "text": text})
    drawn = sum(row["cases"] for row in rows)
    said = [
        f"{len(rows):,} of {counted(variants, 'variants')}, "
        f"{share(drawn, cases)} of {counted(cases, 'cases')}",
        "cases with their share · steps · median duration from first to last event",
    ]
    longest = max(min(row["length"], _MOST_STEPS) for row in rows) + (3 if more else 0)
    right = _STEPS_LEFT + _STEP * longest + 12
    frame = {"width": right + 60, "height": _ROW * len(rows)}
    y = down("y", frame)
    layers = [
        alt.Chart(data(bars))
        .mark_rect(color=BLUE, fillOpacity=0.75, cornerRadius=2)
        .encode(
            x=across("left", frame), x2="right:Q", y=down("top", frame), y2="bottom:Q",
            tooltip=tooltips(dict.fromkeys(about, "")), description="d:N",
        ),
        *(
            alt.Chart(data(bars))
            .mark_text(align="right", baseline="middle", fontSize=11, opacity=opacity)
            .encode(x=alt.value(place), y=y, text=f"{name}:N")
            for name, place, opacity in (
                ("cases", 44, 1), ("share", _STEPS_LEFT - 124, 0.7), ("median", right + 52, 1),
            )
        ),
        alt.Chart(data(steps))
        .mark_point(
            filled=True, size=4, opacity=1, shape=_CHEVRON.format(w=_STEP - 6, p=_STEP - 1)
        )
        .encode(
            x=across("x", frame), y=y,
            color=alt.Color(
                "type:N",
                scale=alt.Scale(domain=[*colours], range=[*colours.values()]),
                legend=alt.Legend(
                    title="event type", orient="bottom", columns=max(1, int(right // 240)),
                    symbolType="square", labelLimit=0, titleLimit=0,
                ),
            ),
            tooltip=tooltips({"event type": "", "step": ""}),
        ),
        alt.Chart(data(steps))
        .mark_text(fontSize=9, color="#ffffff", baseline="middle")
        .encode(
            x=across("middle", frame), y=y, text="code:N",
            tooltip=tooltips({"event type": "", "step": ""}),
        ),
    ]  # fmt: skip
    if more:
        layers.append(
            alt.Chart(data(more))
            .mark_text(align="left", baseline="middle", fontSize=11, opacity=0.7)
            .encode(x=across("x", frame), y=y, text="text:N")
        )
    made: alt.LayerChart = layered(layers, _TITLE, said, **frame)
    return made


def _asked(flow: Any, limit: int) -> tuple[Any, int, int]:
    """Return the first variants, how many there are, and how many cases."""
    if callable(getattr(flow, "variants", None)):
        return flow.variants(limit).to_arrow_table(), flow.variant_count, flow.built().cases
    table = relation(flow)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise QueryError(
            "variants are drawn from a flow, or the columns of its variants(); there is no "
            f"{missing[0]!r}"
        )
    sizes = table.aggregate("count(*), coalesce(sum(cases), 0)::bigint").fetchone() or (0, 0)
    return table.limit(limit).to_arrow_table(), *sizes


def _types(
    rows: Sequence[dict[str, Any]],
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Return the label and the code of each type, and the colour of each label."""
    counts: Counter[str] = Counter()
    order: dict[str, None] = {}
    for row in rows:
        for name in row["variant"]:
            counts[name] += row["cases"]
            order.setdefault(name)
    frequent = sorted(order, key=lambda name: (-counts[name], name))[: len(COLORS)]
    names = [name for name in order if name in frequent]
    others = [name for name in order if name not in frequent]
    codes = dict(zip(order, short_names(order), strict=True))
    shown = fitted((f"{codes[name]}  {name}" for name in names), 10, 200)
    rest = f"…  {len(others)} others, named in the tooltips"
    known = dict(zip(names, shown, strict=True)) | dict.fromkeys(others, rest)
    colours = dict(zip(shown, COLORS, strict=False)) | ({rest: REST} if others else {})
    return known, codes, colours


def short_names(names: Iterable[str]) -> list[str]:
    """Return a code of two or three letters for each name, no two alike.

    >>> short_names(["OrderPlaced", "Record Invoice", "OrderPicked", "paid", "🦆"])
    ['OP', 'RI', 'OP2', 'pa', '🦆']
    """
    used: set[str] = set()
    result = []
    for name in names:
        letters = [sign for sign in name[:1000] if sign.isprintable() and not sign.isspace()]
        heads = [
            sign
            for before, sign in zip(" " + name, name[:1000], strict=False)
            if sign.isalnum() and (sign.isupper() or not before.isalnum())
        ]
        code = "".join(heads[:2]) if len(heads) > 1 else "".join(letters[:2]) or "?"
        unique, number = code, 2
        while unique in used or width(unique, 9) > _STEP - 6:
            if width(f"{code}{number}", 9) > _STEP - 6:
                code = code[:1] if len(code) > 1 else "#"
            unique, number = f"{code}{number}", number + 1
            if number > 99:
                unique = ""
                break
        used.add(unique)
        result.append(unique)
    return result
