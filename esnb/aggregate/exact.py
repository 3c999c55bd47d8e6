"""Whether a state that was written and read again is what it was, to the last detail."""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel

__all__ = ["same"]

_CHANGEABLE = (list, dict, set, bytearray)


def same(a: Any, b: Any, seen: set[int]) -> bool:
    """Tell whether `b` is `a` to the last detail; what changes may stand in `a` only once."""
    if type(a) is not type(b):
        return False
    if isinstance(a, Enum):
        return a is b
    if isinstance(a, _CHANGEABLE) or hasattr(a, "__dict__"):
        if id(a) in seen:
            return False
        seen.add(id(a))
    if isinstance(a, BaseModel):
        return bool(a == b) and all(
            same(value, other, seen)
            for (_, value), (_, other) in zip(_parts(a), _parts(b), strict=True)
        )
    if isinstance(a, Mapping):
        return len(a) == len(b) and all(
            same(key, other_key, seen) and same(value, other, seen)
            for (key, value), (other_key, other) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b, [seen] * len(a)))
    if isinstance(a, set | frozenset):
        return a == b and {(type(item), repr(item)) for item in a} == {
            (type(item), repr(item)) for item in b
        }
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, Decimal):
        return bool(a.as_tuple() == b.as_tuple())
    if isinstance(a, dt.datetime | dt.time):
        # In a zone with summer time a day later is another instant than at a fixed offset.
        return a == b and a.utcoffset() == b.utcoffset() and not _has_rules(a.tzinfo)
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name), seen) for f in fields(a))
    return bool(a == b)


def _parts(model: BaseModel) -> Iterator[tuple[str, Any]]:
    yield from vars(model).items()
    yield from (model.__pydantic_extra__ or {}).items()


def _has_rules(zone: dt.tzinfo | None) -> bool:
    return isinstance(zone, zoneinfo.ZoneInfo) and zone.key != "UTC"
