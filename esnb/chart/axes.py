"""Axes of pixels, of lengths of time, and of times on the clocks of a place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from esnb import instants
from esnb.chart.words import linear_ticks

__all__ = ["Lengths", "across", "down", "key", "named_axis", "reading", "time_axis", "wall"]


def across(name: str, frame: Mapping[str, float], margin: float = 0) -> Any:
    """Return a field as pixels from the left side of the frame, without an axis to be seen."""
    import altair as alt

    domain = [-margin, frame["width"] - margin]
    scale = alt.Scale(domain=domain, nice=False, zero=False, padding=0)
    return alt.X(f"{name}:Q", scale=scale, axis=None)


def down(name: str, frame: Mapping[str, float], margin: float = 0) -> Any:
    """Return a field as pixels from the top of the frame, without an axis to be seen."""
    import altair as alt

    domain = [frame["height"] - margin, -margin]
    scale = alt.Scale(domain=domain, nice=False, zero=False, padding=0)
    return alt.Y(f"{name}:Q", scale=scale, axis=None)


class Lengths:
    """An axis of lengths of time from `low` to `high`, in seconds, with ticks at round ones.

    Places on it go from 0 to 1000, so that JavaScript writes their numbers as Python does.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high if high > low else low + 1

    def place(self, length: float) -> float:
        """Return where a length lies."""
        return 1000 * (length - self.low) / (self.high - self.low)

    def encoding(self, name: str, title: str, *, vertical: bool = False) -> Any:
        """Return the encoding of a field of places."""
        import altair as alt

        ticks = linear_ticks(self.low, self.high)
        axis = named_axis({self.place(length): text for length, text in ticks.items()})
        scale = alt.Scale(domain=[0, 1000], nice=False, zero=False)
        kind = alt.Y if vertical else alt.X
        return kind(f"{name}:Q", title=title, scale=scale, axis=axis)


def named_axis(ticks: Mapping[float, str]) -> Any:
    """Return an axis with these names at these places; both are ours, never an event's."""
    import altair as alt

    names = ", ".join(f'"{key(place)}": "{name}"' for place, name in ticks.items())
    return alt.Axis(
        values=[round(place, 4) for place in ticks],
        labelExpr=f"({{{names}}})[datum.value]",
        grid=False,
        labelOverlap=True,
    )


def key(number: float) -> str:
    """Return the number as JavaScript writes it, which Python does alike between 1e-5 and 1e15.

    >>> key(12.0), key(3.14159)
    ('12', '3.1416')
    """
    return repr(round(number, 4)).removesuffix(".0")


def time_axis(name: str) -> Any:
    """Return the encoding of a field of `wall` times."""
    import altair as alt

    axis = alt.Axis(grid=False, labelOverlap=True, labelFlush=True)
    return alt.X(f"{name}:T", scale=alt.Scale(type="utc"), title=None, axis=axis)


def wall(micros: int, zone: str) -> str:
    """Return a time on the clocks of the zone as if it were UTC: the browser's zone is not ours."""
    return instants.iso(_local(micros, zone).replace(tzinfo=UTC))


def reading(micros: int, zone: str) -> str:
    """Return a time on the clocks of the zone as a reader would write it."""
    return _local(micros, zone).isoformat(sep=" ", timespec="seconds")


def _local(micros: int, zone: str) -> datetime:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    try:
        return at.astimezone(instants.zone(zone))
    except OverflowError:
        return at
