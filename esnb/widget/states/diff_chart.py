"""Bars of a difference: how many aggregates came, went and changed, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esnb.chart.frame import REST, base, nothing, tips, tooltips
from esnb.chart.text import labels

if TYPE_CHECKING:
    import altair as alt
    import duckdb

__all__ = ["difference_bars"]

_COLOURS = {"added": "#2a9d7c", "removed": "#cf5c8d", "changed": "#3b82c4"}
_SIGNS = {"added": "+ added", "removed": "\u2212 removed", "changed": "~ changed"}
_MOST = 30
_TIPS = ("field", "change", "aggregates")


def difference_bars(
    counts: duckdb.DuckDBPyRelation, population: int, title: str
) -> alt.Chart | Any:
    """Draw what `esnb.timeline.Timeline.diff_counts` counts: a bar for each field.

    Parameters
    ----------
    counts
        ``change``, ``field``, ``streams``.
    population
        How many aggregates there are.
    title
        What is compared.
    """
    import altair as alt

    rows = counts.fetchall()
    total = sum(count for _, field, count in rows if field is None)
    if not total:
        return nothing(title, f"nothing differs in {population:,} aggregates")
    by_field: dict[str, int] = {}
    for _, field, count in rows:
        if field is not None:
            by_field[field] = by_field.get(field, 0) + count
    names = sorted(by_field, key=lambda name: (-by_field[name], name))
    shown = dict(zip(names[:_MOST], labels(names[:_MOST]), strict=True))
    made = [
        {
            "field": shown[field],
            "change": _SIGNS[change],
            "streams": count,
            **tips({"field": shown[field], "change": change, "aggregates": f"{count:,}"}),
        }
        for change, field, count in rows
        if field in shown
    ]
    said = [f"{total:,} of {population:,} aggregates differ"]
    if len(names) > _MOST:
        said.append(f"the {_MOST} fields in which most differ, of {len(names)}")
    order = [_SIGNS[change] for change in ("added", "removed", "changed")]
    chart: alt.Chart = (
        base(made, title, said, width=520, height=max(60, 20 * len(shown)))
        .mark_bar()
        .encode(
            x=alt.X("streams:Q", title="aggregates", axis=alt.Axis(format="~s", tickMinStep=1)),
            y=alt.Y("field:N", title=None, sort=list(shown.values())),
            color=alt.Color(
                "change:N",
                title=None,
                sort=order,
                scale=alt.Scale(domain=order, range=[_COLOURS[c] for c in _SIGNS]),
            ),
            order=alt.Order("change:N"),
            tooltip=tooltips(dict.fromkeys(_TIPS, "")),
        )
        .configure_axisY(labelLimit=220, domainColor=REST)
    )
    return chart
