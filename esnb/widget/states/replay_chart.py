"""Picture of a replay: the events around one, and what each of them changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from esnb.chart.axes import across, down, reading
from esnb.chart.frame import BLUE, MUTED, data, layered
from esnb.chart.measure import wrapped

if TYPE_CHECKING:
    import altair as alt

__all__ = ["replay_chart"]

_HIGH = 19  # pixels of a line
_SIZE = 11
_WIDTH = 760
# Where each column begins, and how wide it is.
_COLUMNS = {"#": (4, 44), "time": (52, 140), "event": (196, 160), "what it changed": (360, 396)}
_TEXT = 80  # characters of a value; more never have room


def replay_chart(told: Mapping[str, Any], title: str, zone: str, clock: str) -> alt.LayerChart:
    """Draw some events of a stream, a line each; that of the chosen one has a ground.

    Parameters
    ----------
    told
        Events as `esnb.widget.Replay` ships them.
    title
        What is replayed.
    zone
        Time zone of the times.
    clock
        By which the events are in order: ``"recorded"`` or ``"occurred"``.
    """
    import altair as alt

    columns, count = told["rows"], len(told["patches"])
    first, total = told["first"], told["total"]
    said = [
        f"event {first + told['chosen'] + 1:,} of {total:,}, "
        f"in the order in which they {'became known' if clock == 'recorded' else 'happened'}; "
        f"times in {zone}"
    ]
    if count < total:
        said.append(f"events {first + 1:,} to {first + count:,} are shown")
    lines = [list(_COLUMNS)]
    for place, change in enumerate(_changes(told)):
        kind = columns["event_type"][place]
        lines.append(
            [
                str(columns["revision"][place]),
                reading(columns["time"][place], zone)[:19],
                "" if kind is None else columns["event_types"][kind],
                change,
            ]
        )
    heads: list[dict[str, Any]] = []
    chosen: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for number, (begin, wide) in enumerate(_COLUMNS.values()):
        for place, line in enumerate(lines):
            text = line[number] and wrapped(line[number], _SIZE, wide, 1)[0]
            row = {"x": begin, "y": _HIGH * place + _HIGH / 2, "text": text}
            part = heads if not place else chosen if place - 1 == told["chosen"] else others
            part.append(row)
    frame = {"width": _WIDTH, "height": _HIGH * len(lines)}
    top = _HIGH * (told["chosen"] + 1)
    ground = alt.Chart(data([{"x": 0, "y": top, "x2": _WIDTH, "y2": top + _HIGH}]))
    layers: list[Any] = [
        ground.mark_rect(color=BLUE, opacity=0.2).encode(
            across("x", frame), down("y", frame), x2="x2:Q", y2="y2:Q"
        )
    ]
    looks: tuple[tuple[list[dict[str, Any]], dict[str, Any]], ...] = (
        (heads, {"fontWeight": "bold", "color": MUTED}),
        (chosen, {"fontWeight": "bold"}),
        (others, {}),
    )
    for part, look in looks:
        mark = alt.Chart(data(part)).mark_text(
            align="left", baseline="middle", fontSize=_SIZE, **look
        )
        layers.append(mark.encode(across("x", frame), down("y", frame), text="text:N"))
    return layered(layers, title, said, **frame)


def _changes(told: Mapping[str, Any]) -> list[str]:
    """Return in words what each event changed."""
    names = [field["name"] for field in told["fields"]]
    values = [_short(value) for value in told["base"]]
    made = []
    for patch in told["patches"]:
        parts = []
        for number, given in zip(patch[::2], patch[1::2], strict=True):
            before, values[number] = values[number], _short(given)
            came = f"{before} → " if before is not None else ""
            gone = values[number] is None
            parts.append(f"{names[number]} {came}{'—' if gone else values[number]}")
        made.append(", ".join(parts) or "nothing")
    return made


def _short(value: Any) -> str | None:
    text = value[0] if isinstance(value, list) else value
    return None if text is None else str(text)[:_TEXT]
