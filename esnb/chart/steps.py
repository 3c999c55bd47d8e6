"""Steps of a time axis: ``"1 day"``, ``"15 minutes"``, or one that fits."""

from __future__ import annotations

import re
from dataclasses import dataclass

from duckdb import ConstantExpression, Expression, FunctionExpression

from esnb.errors import QueryError, shown

__all__ = ["Step", "fitting", "step"]

_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "week": 7 * 86_400,
    "month": 30 * 86_400,
    "year": 365 * 86_400,
}
_MAKERS = {
    "second": ("to_seconds", 1),
    "minute": ("to_minutes", 1),
    "hour": ("to_hours", 1),
    "day": ("to_days", 1),
    "week": ("to_days", 7),
    "month": ("to_months", 1),
    "year": ("to_months", 12),
}
_TEXT = re.compile(r"\s*(?:(\d{1,4})\s+)?([a-z]+?)s?\s*", re.ASCII | re.IGNORECASE)
_LADDER = (
    "1 second", "10 seconds", "1 minute", "5 minutes", "15 minutes", "1 hour", "6 hours",
    "1 day", "1 week", "1 month", "3 months", "1 year", "10 years", "100 years",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A step of `number` `unit` (``"second"`` … ``"year"``)."""

    number: int
    unit: str

    def __str__(self) -> str:
        return f"{self.number} {self.unit}{'s' if self.number > 1 else ''}"

    @property
    def seconds(self) -> int:
        """Length in seconds; of a month or year roughly."""
        return self.number * _SECONDS[self.unit]

    @property
    def civil(self) -> bool:
        """Whether it follows the calendar of a place (days and longer)."""
        return self.seconds >= _SECONDS["day"]

    def interval(self) -> Expression:
        """Return it as a DuckDB interval."""
        maker, times = _MAKERS[self.unit]
        return FunctionExpression(maker, ConstantExpression(self.number * times))


def step(text: str) -> Step:
    """Read a step.

    >>> step("15 minutes")
    Step(number=15, unit='minute')

    Raises
    ------
    QueryError
        If the text is not a number and a unit.
    """
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if found is not None:
        number, unit = int(found[1] or 1), found[2].lower()
        if unit in _SECONDS and number > 0:
            return Step(number, unit)
    raise QueryError(f"{shown(text)} is not a step; say e.g. '1 day', '15 minutes' or 'auto'")


def fitting(seconds: float, most: int = 120) -> Step:
    """Return the shortest step that cuts `seconds` into at most `most` parts.

    >>> str(fitting(200 * 86_400))
    '1 week'
    """
    for text in _LADDER:
        candidate = step(text)
        if seconds <= most * candidate.seconds:
            return candidate
    return step(_LADDER[-1])
