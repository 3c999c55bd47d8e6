"""What all charts of flows have in common: the frame, the words above it, the colours."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from esnb.chart.renderer import enable

if TYPE_CHECKING:
    import altair as alt

__all__ = [
    "BLUE",
    "COLORS",
    "MOST_MARKS",
    "MUTED",
    "REST",
    "WIDTH",
    "base",
    "data",
    "heading",
    "layered",
    "nothing",
    "pick_name",
    "tips",
    "tooltips",
]

# Above this the browser slows down and no eye gains anything.
MOST_MARKS = 20_000
WIDTH = 620
# Told apart on white as on black, and by most of those who see fewer colours.
COLORS = (
    "#3b82c4", "#e08a1e", "#2a9d7c", "#cf5c8d", "#8467c6", "#c9a227", "#4fa8b8", "#b5583c",
    "#7a9a3a", "#5f6caf", "#a0785a",
)  # fmt: skip
REST = "#8a8a8a"
BLUE = COLORS[0]
# A grey that stands out from white (4.5 to 1) as from the lab's black (4.2 to 1).
MUTED = "#767676"


def data(rows: Sequence[dict[str, Any]]) -> Any:
    """Return rows as data of a chart.

    As Altair's own class they would be looked through row by row: 80 µs each.
    """
    return {"values": list(rows)}


def heading(title: str, said: Sequence[str]) -> alt.TitleParams:
    """Return a title with what has to be said under it."""
    import altair as alt

    return alt.TitleParams(title, subtitle=list(said), anchor="start", frame="group", offset=12)


def layered(
    layers: Sequence[Any], title: str, said: Sequence[str], **properties: Any
) -> alt.LayerChart:
    """Lay charts on each other, with title, description and size, and have it shown by esnb."""
    import altair as alt

    enable()
    # Said at once: whatever Altair is told later it says on a copy, rows and all.
    made: alt.LayerChart = alt.LayerChart(
        layer=[*layers],
        title=heading(title, said),
        description=". ".join([title, *said]),
        **properties,
    )
    return made


def base(
    rows: Sequence[dict[str, Any]],
    title: str,
    said: Sequence[str],
    width: float = WIDTH,
    height: float = 240,
) -> alt.Chart:
    """Return a chart of `rows` without marks yet."""
    import altair as alt

    enable()
    return alt.Chart(
        data(rows),
        title=heading(title, said),
        description=". ".join([title, *said]),
        width=width,
        height=height,
    )


def nothing(title: str, said: str) -> alt.Chart:
    """Return a chart that says in words why there is nothing to see."""
    made: alt.Chart = (
        base([{"said": said}], title, [said], height=80)
        .mark_text(fontSize=14)
        .encode(text="said:N")
    )
    return made


def tips(lines: dict[str, Any]) -> dict[str, Any]:
    """Return the lines of a tooltip under the names of fields that `tooltips` gives them."""
    return {f"t{place}": value for place, value in enumerate(lines.values())}


def tooltips(formats: dict[str, str]) -> list[Any]:
    """Return a tooltip: titles of its lines with Vega's number formats, ``""`` for text."""
    import altair as alt

    return [
        alt.Tooltip(f"t{place}:Q", title=title, format=form)
        if form
        else alt.Tooltip(f"t{place}:N", title=title)
        for place, (title, form) in enumerate(formats.items())
    ]


def pick_name(*parts: object) -> str:
    """Return a name for a selection, so that charts can stand together."""
    return f"pick_{zlib.crc32(repr(parts).encode()):08x}"
