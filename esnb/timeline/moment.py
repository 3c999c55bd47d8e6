"""When: an instant or a place in the log, and the rows of an interval table it selects."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Literal

from esnb import instants
from esnb.errors import InstantError, TimelineError
from esnb.event import RecordedEvent

__all__ = ["LATEST", "Moment", "as_position", "instant_sql", "moment", "ordered"]

_MAX = 2**63 - 1


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
    """

    clock: Literal["instant", "position"]
    sql: str
    order: int = 0

    def reached(self, t: str) -> str:
        """SQL: the event of row `t` had happened."""
        by = "position" if self.clock == "position" else "system_from"
        return f"{t}.{by} <= {self.sql}"

    def left(self, t: str) -> str:
        """SQL: when row `t` was replaced, on this clock."""
        return f"{t}.{'next_position' if self.clock == 'position' else 'system_to'}"


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
