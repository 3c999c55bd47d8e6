"""Instants: the one place where a time is read.

An instant is an aware ``datetime`` in UTC with microseconds, in the years 1 to
9999.  Naive times need a zone that somebody declared; nothing is guessed and
nothing is rounded.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from esnb.errors import InstantError

__all__ = ["from_micros", "instant", "iso", "micros", "now", "zone"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d+))?)?"
    r" ?(?P<offset>Z|z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)


def now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """Return the time zone called `name` (an IANA name such as ``Europe/Berlin``).

    Raises
    ------
    InstantError
        If there is no such zone.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InstantError(name, "no time zone has this name (say e.g. 'Europe/Berlin')") from None


def instant(value: object, *, declared: str | None = None) -> datetime:
    """Read `value` as an instant.

    Parameters
    ----------
    value
        A ``datetime`` or ``date``, a pandas ``Timestamp``, a numpy
        ``datetime64``, or ISO 8601 text: ``2026-03-01``, ``2026-03-01 12:00``,
        ``2026-03-01T12:00:00.5+01:00``.  A date alone means its midnight.
    declared
        Zone (IANA name) for values that carry none.

    Returns
    -------
    datetime
        In UTC, to the microsecond.

    Raises
    ------
    InstantError
        If the value is naive and no zone is declared, or is unreadable, out of
        range or finer than a microsecond.
    """
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    if isinstance(value, str):
        return _utc(_from_text(value), value, declared)
    nanosecond = getattr(value, "nanosecond", 0)  # pandas Timestamp
    if nanosecond:
        raise InstantError(value, "finer than a microsecond; round it first, knowingly")
    if isinstance(value, datetime):
        if value != value:  # pandas NaT is a datetime that is not itself
            raise InstantError(value, "it is missing")
        plain = getattr(value, "to_pydatetime", None)  # pandas Timestamp
        return _utc(value if plain is None else plain(), value, declared)
    if isinstance(value, date):
        return _utc(datetime(value.year, value.month, value.day), value, declared)
    if type(value).__module__ == "numpy" and type(value).__name__ == "datetime64":
        return _utc(_from_numpy(value), value, declared)
    raise InstantError(value, "say a datetime or ISO text such as '2026-03-01 12:00+01:00'")


def micros(value: datetime) -> int:
    """Return microseconds since 1970-01-01 UTC of an aware `value`."""
    return (value - EPOCH) // _MICRO


def from_micros(value: int) -> datetime:
    """Return the instant `value` microseconds after 1970-01-01 UTC."""
    return EPOCH + timedelta(microseconds=value)


def iso(value: datetime) -> str:
    """Return `value` as ``2026-03-01T12:00:00.000000Z``, always with microseconds."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _utc(value: datetime, given: object, declared: str | None) -> datetime:
    if value.tzinfo is None:
        if declared is None:
            raise InstantError(
                given, "it has no time zone. Add one ('…Z', '…+01:00') or declare the zone"
            )
        value = value.replace(tzinfo=zone(declared))
        if value.astimezone(UTC).astimezone(value.tzinfo).replace(tzinfo=None) != value.replace(
            tzinfo=None
        ):
            raise InstantError(given, f"the clocks of {declared} skipped this time; add an offset")
    try:
        return value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise InstantError(given, "in UTC it lies outside the years 1 to 9999") from None


def _from_text(text: str) -> datetime:
    found = _ISO.fullmatch(text.strip())
    if found is None:
        raise InstantError(text, "say ISO 8601 text such as '2026-03-01 12:00+01:00'")
    part = found.groupdict()
    fraction = part["fraction"] or ""
    if fraction[6:].strip("0"):
        raise InstantError(text, "finer than a microsecond; round it first, knowingly")
    try:
        value = datetime(
            int(part["year"]),
            int(part["month"]),
            int(part["day"]),
            int(part["hour"] or 0),
            int(part["minute"] or 0),
            int(part["second"] or 0),
            int(fraction[:6].ljust(6, "0") or 0),
        )
    except ValueError as error:
        raise InstantError(text, str(error)) from None
    offset = part["offset"]
    if offset is None:
        return value
    if offset in "Zz":
        return value.replace(tzinfo=UTC)
    digits = offset[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    # ISO 8601 has no bound; the IANA database stays within -12 to +14 (RFC 3339 allows 23:59).
    if hours > 15 or minutes > 59:
        raise InstantError(text, f"no place on earth has the offset {offset}")
    shift = timedelta(hours=hours, minutes=minutes)
    return value.replace(tzinfo=timezone(-shift if offset[0] == "-" else shift))


def _from_numpy(value: object) -> datetime:
    import numpy as np

    exact = np.datetime64(value, "us")  # type: ignore[call-overload]
    if np.isnat(exact):
        raise InstantError(value, "it is missing")
    if exact != value:
        raise InstantError(value, "finer than a microsecond; round it first, knowingly")
    result = exact.item()
    if not isinstance(result, datetime):
        raise InstantError(value, "it lies outside the years 1 to 9999")
    return result
