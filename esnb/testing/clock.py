"""Time that goes on when it is told to."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from esnb import instants
from esnb.errors import InputError, shown

__all__ = ["Clock"]


class Clock:
    """A clock that stands still: call it for the time, as logs and commands do.

    Parameters
    ----------
    at
        Where it begins: an instant with its zone.
    step
        How far it goes on after each look; not at all by default.

    Raises
    ------
    InstantError
        If `at` is no instant.

    Examples
    --------
    >>> clock = Clock("2026-03-01T12:00Z")
    >>> clock().isoformat()
    '2026-03-01T12:00:00+00:00'
    >>> clock.advance(hours=2).isoformat()
    '2026-03-01T14:00:00+00:00'
    """

    def __init__(self, at: object = "2026-01-01T00:00Z", *, step: timedelta = timedelta(0)) -> None:
        self._now = instants.instant(at)
        self._step = step
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            now = self._now
            self._now += self._step
            return now

    @property
    def now(self) -> datetime:
        """The time, without a look that lets it go on."""
        return self._now

    def advance(self, amount: timedelta = timedelta(0), **parts: float) -> datetime:
        """Let time go by: a timedelta, or ``days=1, hours=2``; return the new time.

        Raises
        ------
        InputError
            If it would go back; `set` does that.
        """
        try:
            amount += timedelta(**parts)
        except TypeError:
            raise InputError(
                f"say weeks, days, hours, minutes, seconds or a timedelta, not {shown(parts)}"
            ) from None
        if amount < timedelta(0):
            raise InputError(f"{amount} would go back; say set(…) if that is meant")
        with self._lock:
            self._now += amount
            return self._now

    def set(self, at: object) -> datetime:
        """Set the clock, forwards or back; return the new time."""
        with self._lock:
            self._now = instants.instant(at)
            return self._now

    def sleep(self, seconds: float) -> None:
        """Stand in for `time.sleep`: nobody waits, and it is later."""
        self.advance(seconds=seconds)

    def __repr__(self) -> str:
        return f"Clock({instants.iso(self._now)!r})"
