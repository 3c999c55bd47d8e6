"""The two ends of a difference: as they are given, kept, shown, typed and asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from esnb import instants
from esnb.errors import QueryError, TimelineError
from esnb.event import RecordedEvent
from esnb.timeline.moment import as_position

__all__ = ["kept", "sides", "typed", "words", "written"]

_LAST = 2**63 - 1
_BEGIN = datetime(1, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
_PAIR = re.compile(r"\s+as\s+of\s+", re.IGNORECASE)
_POSITION = re.compile(r"-1|\d{1,18}", re.ASCII)
_BEYOND = {"a": "the beginning", "b": "now"}
One = int | str | None


def kept(when: object, zone: str | None) -> One | list[One]:
    """Return a moment, or a pair ``(as_of, valid_at)``, as settings keep it: small JSON.

    Raises
    ------
    InstantError
        If it cannot be read, or has no zone and none is declared.
    TimelineError
        If a pair is none.
    """
    if isinstance(when, tuple | list):
        if len(when) != 2:
            raise TimelineError(f"a pair is (as_of, valid_at), not {len(when)} of them")
        return [_kept_one(one, zone) for one in when]
    return _kept_one(when, zone)


def _kept_one(when: object, zone: str | None) -> One:
    if when is None:
        return None
    if isinstance(when, RecordedEvent):
        return when.position
    position = as_position(when)
    return instants.iso(instants.instant(when, declared=zone)) if position is None else position


def sides(a: Any, b: Any, clock: str) -> tuple[Any, Any]:
    """Return what is kept of both ends as `esnb.timeline.Timeline.compare` takes them."""
    if isinstance(a, list) or isinstance(b, list):
        # A moment beside a pair is one on the clock of what was known.
        return tuple(a) if isinstance(a, list) else _end(a, _BEGIN), (
            tuple(b) if isinstance(b, list) else _end(b, _END)
        )
    if clock == "occurred":
        return (None, _end(a, _BEGIN)), (None, _end(b, _END))
    counted = isinstance(a, int) or isinstance(b, int)
    return _end(a, -1 if counted else _BEGIN), _end(b, _LAST if counted else _END)


def _end(one: One, beyond: Any) -> Any:
    return beyond if one is None else one


def words(one: Any, end: str, zone: str | None) -> str:
    """Return what is kept of the end ``"a"`` or ``"b"`` as it is shown, and can be typed."""
    if isinstance(one, list):
        known, valid = one
        if valid is None:
            return _moment(known, "now", zone)
        return f"{_moment(valid, 'now', zone)} as of {_moment(known, 'now', zone)}"
    return _moment(one, _BEYOND[end], zone)


def _moment(one: One, none: str, zone: str | None) -> str:
    if one is None or isinstance(one, int):
        return none if one is None else str(one)
    local = instants.instant(one).astimezone(instants.zone(zone or "UTC"))
    text = local.isoformat(sep=" ", timespec="microseconds")[:26]
    for rest in (".000000", ":00", " 00:00"):
        text = text.removesuffix(rest)
    return text


def typed(text: str, zone: str | None) -> One | list[One]:
    """Read what somebody typed: a time, a position, or ``TIME as of TIME``.

    A time without a zone is meant in the log's, as it is shown; UTC where it declares none.

    Raises
    ------
    InstantError
        If it cannot be read.
    """
    parts = [_read(part, zone or "UTC") for part in _PAIR.split(text.strip())]
    if len(parts) > 2:
        raise QueryError("say one time, or 'TIME as of TIME'")
    return parts[0] if len(parts) == 1 else [parts[1], parts[0]]


def _read(text: str, zone: str) -> One:
    said = text.strip()
    if said.lower() in ("", *_BEYOND.values()):
        return None
    return int(said) if _POSITION.fullmatch(said) else _kept_one(said, zone)


def written(one: Any) -> str:
    """Return what is kept of an end as Python."""
    return f"({one[0]!r}, {one[1]!r})" if isinstance(one, list) else repr(one)
