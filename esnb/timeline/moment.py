"""When: an instant or a place in the log, and the rows of an interval table it selects."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from esnb import instants
from esnb.errors import InstantError, TimelineError
from esnb.event import RecordedEvent

__all__ = ["LATEST", "NEVER", "Bound", "Moment", "as_position", "instant_sql", "moment", "ordered"]

# The end of an open row in its file, on both clocks: a number, so that one condition on all rows
# says which stood at a moment, and one scan reads them.
NEVER = 2**63 - 1
_MAX = NEVER - 1


@dataclass(frozen=True)
class Moment:
    """A moment on the system clock: an instant, or a position of the log.

    Attributes
    ----------
    clock
        What it counts.
    sql
        The moment as an SQL value of that clock.
    order
        What two moments of one clock are compared by.
    given
        False for a parameter, whose value nobody knows yet: its order tells nothing.
    """

    clock: Literal["instant", "position"]
    sql: str
    order: int
    given: bool = True

    @classmethod
    def parameter(cls, sql: str) -> Moment:
        """Return the instant that the SQL parameter `sql` will be."""
        return cls("instant", sql, 0, given=False)

    @property
    def begun(self) -> Bound:
        """The event of a row had happened."""
        return Bound(self._begin, self)

    @property
    def unbegun(self) -> Bound:
        """The event of a row had not happened."""
        return Bound(self._begin, self, after=True)

    @property
    def ended(self) -> Bound:
        """A closed row had been replaced."""
        return Bound(self._end, self)

    @property
    def unended(self) -> Bound:
        """A closed row had not been replaced."""
        return Bound(self._end, self, after=True)

    def reached(self, t: str) -> str:
        """SQL: the event of row `t` had happened."""
        return self.begun.sql(t)

    def left(self, t: str) -> str:
        """SQL: when row `t` was replaced, on this clock."""
        return f"{t}.{self._end}"

    @property
    def _begin(self) -> str:
        return "position" if self.clock == "position" else "system_from"

    @property
    def _end(self) -> str:
        return "next_position" if self.clock == "position" else "system_to"


@dataclass(frozen=True)
class Bound:
    """A condition on a row of an interval table: one of its moments, up to another or after it."""

    column: str
    moment: Moment
    after: bool = False

    def sql(self, t: str) -> str:
        return f"{t}.{self.column} {'>' if self.after else '<='} {self.moment.sql}"

    def may_hold(self, spans: Mapping[str, tuple[int, int]]) -> bool:
        """Tell whether it can hold for any row whose columns lie within `spans`."""
        if not self.moment.given or self.column not in spans:
            return True
        least, greatest = spans[self.column]
        return greatest > self.moment.order if self.after else least <= self.moment.order

    def holds(self, spans: Mapping[str, tuple[int, int]]) -> bool:
        """Tell whether it holds for every row whose columns lie within `spans`."""
        if not self.moment.given or self.column not in spans:
            return False
        least, greatest = spans[self.column]
        return least > self.moment.order if self.after else greatest <= self.moment.order


# Before the end of what has not ended.
LATEST = Moment("position", str(_MAX), _MAX)


def moment(when: object, zone: str | None) -> Moment:
    """Read `when`: an instant (see `esnb.instants`), a position, or a recorded event.

    Raises
    ------
    InstantError
        If it is none of them, or a time without a zone where none is declared.
    """
    if isinstance(when, RecordedEvent):
        when = when.position
    position = as_position(when)
    if position is not None:
        position = max(-1, min(position, _MAX))
        return Moment("position", str(position), position)
    value = instants.instant(when, declared=zone)
    return Moment("instant", instant_sql(value), instants.micros(value))


def as_position(when: object) -> int | None:
    """Return `when` as a position if it is a whole number, else ``None``."""
    if isinstance(when, bool):
        raise InstantError(when, "say a time or a position")
    try:
        return operator.index(when)  # type: ignore[arg-type]
    except TypeError:
        return None


def ordered(a: Moment, b: Moment) -> None:
    """Refuse a pair of moments that is out of order, or on two clocks."""
    if a.clock != b.clock:
        raise TimelineError(
            "one end is an instant and the other a position (an event counts as its position); "
            "say both in the same way"
        )
    if a.order > b.order:
        raise TimelineError("the first moment lies after the second; swap them")


def instant_sql(value: object) -> str:
    """Return an aware ``datetime`` as an SQL constant."""
    read = instants.instant(value)
    return f"TIMESTAMPTZ '{instants.iso(read)}'"
