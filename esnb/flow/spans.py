"""Lengths of time as an analyst writes them."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

from esnb.errors import FlowError, shown

__all__ = ["micros"]

_MICRO = timedelta(microseconds=1)
_UNITS = {
    **dict.fromkeys(("w", "week", "weeks"), 604_800_000_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000_000),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60_000_000),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1_000_000),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 1_000),
    **dict.fromkeys(("us", "microsecond", "microseconds"), 1),
}
_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]+)\s*")


def micros(within: str | timedelta, name: str = "within") -> int:
    """Return a length of time in microseconds.

    Parameters
    ----------
    within
        ``"2d"``, ``"36 hours"``, ``"1h 30m"``, ``"1.5 weeks"``; or a `timedelta`.  A day has 24
        hours.
    name
        What the caller calls it, for the error.

    Raises
    ------
    FlowError
        If it is no length of time, or negative.

    >>> micros("1h 30m") // 60_000_000
    90
    """
    if isinstance(within, timedelta):
        length = Fraction(within // _MICRO)
    else:
        length = _read(within) if isinstance(within, str) else Fraction(-1)
    # More than any two instants are apart, and whole numbers of 64 bits hold it.
    if not 0 <= length < 10**18:
        raise FlowError(
            f"{name}={shown(within)} is no length of time; say e.g. '2d', '36 hours' or '1h 30m'"
        )
    return round(length)


def _read(text: str) -> Fraction:
    """Return the microseconds that a text says, or -1."""
    length, place = Fraction(0), 0
    text = text.strip().lower()
    while found := _PART.match(text, place):
        number, unit = found.groups()
        if unit not in _UNITS:
            return Fraction(-1)
        length += Fraction(number) * _UNITS[unit]
        place = found.end()
    return length if text and place == len(text) else Fraction(-1)
