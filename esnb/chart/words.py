"""Lengths of time, numbers and shares, as a chart writes them; and classes of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log
from typing import Any

from esnb.show import visible

__all__ = [
    "Classes",
    "count_classes",
    "counted",
    "duration",
    "linear_ticks",
    "log_ticks",
    "seconds",
    "share",
    "tip",
    "wait_classes",
]

_DAY = 86_400
_UNITS = ((60, 1, "s"), (3600, 60, "min"), (_DAY, 3600, "h"), (730 * _DAY, _DAY, "d"))
_YEAR = 365.25 * _DAY
# Longer texts make a tooltip that nobody can read to its end.
_LONGEST_TIP = 400

_WAITS: tuple[tuple[float, str], ...] = (
    (0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1, "1 s"), (10, "10 s"), (60, "1 min"),
    (300, "5 min"), (900, "15 min"), (3600, "1 h"), (6 * 3600, "6 h"), (_DAY, "1 d"),
    (3 * _DAY, "3 d"), (7 * _DAY, "7 d"), (30 * _DAY, "30 d"), (90 * _DAY, "90 d"),
    (365 * _DAY, "1 y"), (3650 * _DAY, "10 y"),
)  # fmt: skip
# Round lengths for ticks at equal distances.
_STEPS = (
    *(part * 10**power for power in (-6, -5, -4, -3, -2, -1) for part in (1, 2, 5)),
    *(unit * part for unit in (1, 60) for part in (1, 2, 5, 10, 15, 30)),
    *(3600 * part for part in (1, 2, 3, 6, 12)),
    *(_DAY * part * 10**power for power in range(6) for part in (1, 2, 5)),
)


@dataclass(frozen=True)
class Classes:
    """Some numbers sorted into a few classes.

    Attributes
    ----------
    names
        Of all classes, from the lowest.
    of
        The class of each number, None for None.
    edges
        Where each class but the first begins.
    """

    names: tuple[str, ...]
    of: tuple[int | None, ...]
    edges: tuple[float, ...] = ()


def duration(length: float | None) -> str:
    """Return a length of time in seconds in a few letters.

    >>> [duration(length) for length in (0, 2e-5, 0.25, 15_480, 183_000, 1e9, None)]
    ['0s', '20µs', '250ms', '4.3h', '2.1d', '31.7y', '—']
    """
    if length is None:
        return "—"
    sign, size = ("-" if length < 0 else ""), abs(length)
    if size < 0.9995:
        if size >= 0.0009995:
            return f"{sign}{size * 1000:.0f}ms"
        return f"{sign}{size * 1e6:.0f}µs" if size >= 5e-7 else "0s"
    for under, unit, name in _UNITS:
        if round(size / unit, 1) * unit < under:
            return f"{sign}{_few(size / unit)}{name}"
    return f"{sign}{_few(size / _YEAR)}y"


def _few(number: float) -> str:
    return f"{number:,.1f}" if number < 99.95 else f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """Return a share; what is not all is never rounded to 100 %, what is some never to 0 %.

    >>> share(93.2, 100), share(99_999, 100_000), share(1, 100_000), share(0, 0)
    ('93.2 %', '> 99.9 %', '< 0.1 %', '0.0 %')
    """
    percent = 100 * part / whole if whole else 0.0
    if part < whole and percent >= 99.95:
        return "> 99.9 %"
    if part > 0 and percent < 0.05:
        return "< 0.1 %"
    return f"{percent:.1f} %"


def counted(number: int, what: str) -> str:
    """Return a number of things.

    >>> counted(1, "cases"), counted(4_000, "cases")
    ('1 case', '4,000 cases')
    """
    return f"{number:,} {what.removesuffix('s') if number == 1 else what}"


def tip(text: str | None) -> str:
    """Return a text of an event for a tooltip: whole up to some hundred letters."""
    return "(none)" if text is None else visible(text, _LONGEST_TIP) or "(empty)"


def seconds(intervals: Iterable[Any]) -> list[float | None]:
    """Return intervals in seconds, as Arrow gives those of DuckDB (or durations); None stays."""
    result: list[float | None] = []
    for value in intervals:
        if value is None:
            result.append(None)
        elif isinstance(value, tuple):
            months, days, nanoseconds = value
            result.append((months * 30 + days) * _DAY + nanoseconds / 1e9)
        else:
            result.append(value.total_seconds())
    return result


def log_ticks(low: float, high: float, most: int = 9) -> dict[float, str]:
    """Return usual lengths of time between two in seconds, and how they are written.

    >>> log_ticks(3000, 100_000)
    {3600: '1 h', 21600: '6 h', 86400: '1 d'}
    """
    found = {edge: name for edge, name in _WAITS if low <= edge <= high}
    return dict([*found.items()][:: -(-len(found) // most) or 1])


def linear_ticks(low: float, high: float, most: int = 9) -> dict[float, str]:
    """Return round lengths of time between two in seconds at equal distances.

    >>> linear_ticks(0, 20_000)
    {0: '0s', 3600: '1h', 7200: '2h', 10800: '3h', 14400: '4h', 18000: '5h'}
    """
    span = max(high - low, 1e-6)
    step = next((step for step in _STEPS if span / step <= most - 1), span)
    first = ceil(low / step)
    places = [place * step for place in range(first, floor(high / step) + 1)]
    return {place: duration(place).replace(".0", "") for place in places}


def wait_classes(lengths: Sequence[float | None]) -> Classes:
    """Sort lengths of time, in seconds, into up to four classes between usual lengths.

    >>> wait_classes([14_000, 15_000, 120_000, 300_000, None]).names
    ('< 6 h', '6 h to 1 d', '1 d to 3 d', '≥ 3 d')
    """
    return _classes(lengths, _WAITS)


def count_classes(counts: Sequence[float | None]) -> Classes:
    """Sort counts into up to four classes between round numbers.

    >>> count_classes([3, 20, 80, 300, 800]).names
    ('< 20', '20 to 100', '100 to 200', '≥ 200')
    """
    ladder = [(float(f * 10**n), f"{f * 10**n:,}") for n in range(16) for f in (1, 2, 5)]
    return _classes(counts, ladder)


def _classes(values: Sequence[float | None], ladder: Sequence[tuple[float, str]]) -> Classes:
    known = sorted(value for value in values if value is not None)
    if not known:
        return Classes((), tuple(None for _ in values))
    between = [rung for rung in ladder if known[0] < rung[0] <= known[-1]]
    if not between:
        name = next((f"< {name}" for edge, name in ladder if known[-1] < edge), "all")
        return Classes((name,), tuple(None if value is None else 0 for value in values))
    cuts = between if len(between) <= 3 else _spread(known, between)
    edges, names = [edge for edge, _ in cuts], [name for _, name in cuts]
    inner = [f"{low} to {high}" for low, high in pairwise(names)]
    return Classes(
        (f"< {names[0]}", *inner, f"≥ {names[-1]}"),
        tuple(None if value is None else bisect_right(edges, value) for value in values),
        tuple(edges),
    )


def _spread(known: list[float], between: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Return three of many cuts, near the quarters of the numbers; the top ones weigh most."""
    chosen: list[tuple[float, str]] = []
    # Where many waits are none, the first of the others says where classes begin.
    least = next(value for value in known if value > 0)
    for part in (0.4, 0.7, 0.9):
        goal = max(known[int(part * (len(known) - 1))], least)
        left = [rung for rung in between if rung not in chosen]
        chosen.append(min(left, key=lambda rung: abs(log(rung[0] / goal))))
    return sorted(chosen)
