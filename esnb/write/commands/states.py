"""The state of an aggregate as JSON text, and back, exactly.

What JSON cannot keep to the last detail is refused when it is written: a state that comes
back different, be it by a digit or a type, would fold on differently.
"""

from __future__ import annotations

import datetime as dt
import math
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Optional

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from esnb.aggregate import Aggregate

__all__ = ["NotKept", "States"]

# What every aggregate has beside its fields.
_OWN = {"stream", "revision", "uncommitted", "_ended", "_breach"}
_CHANGEABLE = (list, dict, set, bytearray)
# JSON has these as they are.
_PLAIN = (type(None), bool, int, str)


class NotKept(Exception):
    """A state that cannot be kept, and why."""


class States:
    """Writes and reads the states of one aggregate class.

    Raises
    ------
    NotKept
        If a field is of a type that has no JSON form.
    """

    def __init__(self, kind: type[Aggregate]) -> None:
        self._kind = kind
        annotations = kind.description.annotations
        self._names = tuple(annotations)
        types = tuple(_or_none(annotation) for annotation in annotations.values())
        try:
            whole: Any = tuple.__class_getitem__((bool, dict[str, Any], *types))
            self._adapter: TypeAdapter[Any] = TypeAdapter(whole)
        except (PydanticUserError, TypeError) as error:
            raise NotKept(f"{_first_bad(kind)}: {_line(error)}") from None

    def write(self, aggregate: Aggregate) -> str:
        """Return the state as JSON text.

        Raises
        ------
        NotKept
            If it would not come back as it is.
        """
        held = vars(aggregate)
        other = held.keys() - {*self._names} - _OWN
        if other:
            raise NotKept(f"it holds {min(other)!r}, which is no field")
        values = [held[name] for name in self._names]
        # Whatever the type of a field says, it may begin as None, and amounts as 0.
        plain = {name: held[name] for name in self._names if type(held[name]) in _PLAIN}
        typed = (None if name in plain else held[name] for name in self._names)
        try:
            said = (aggregate.ended, plain, *typed)
            text = self._adapter.dump_json(said, warnings="error").decode()
            back, _ = self.read(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise NotKept(_line(error)) from None
        seen: set[int] = set()
        for name, value in zip(self._names, values, strict=True):
            if not _same(value, back[name], seen):
                raise NotKept(f"its field {name!r} would not come back as it is")
        return text

    def read(self, text: str) -> tuple[dict[str, Any], bool]:
        """Return the fields, and whether the aggregate has ended.

        Raises
        ------
        ValueError
            If `text` is not such a state.
        """
        ended, plain, *values = self._adapter.validate_json(text)
        return dict(zip(self._names, values, strict=True)) | plain, ended


def _or_none(annotation: Any) -> Any:
    return Optional[annotation]  # noqa: UP045 (an annotation may not know the operator)


def _first_bad(kind: type[Aggregate]) -> str:
    for name, annotation in kind.description.annotations.items():
        try:
            TypeAdapter(annotation)
        except (PydanticUserError, TypeError):
            return f"its field {name!r}"
    return "its fields"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _same(a: Any, b: Any, seen: set[int]) -> bool:
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
            _same(value, other, seen)
            for (_, value), (_, other) in zip(_parts(a), _parts(b), strict=True)
        )
    if isinstance(a, Mapping):
        return len(a) == len(b) and all(
            _same(key, other_key, seen) and _same(value, other, seen)
            for (key, value), (other_key, other) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b, [seen] * len(a)))
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
        return all(_same(getattr(a, f.name), getattr(b, f.name), seen) for f in fields(a))
    return bool(a == b)


def _parts(model: BaseModel) -> Iterator[tuple[str, Any]]:
    yield from vars(model).items()
    yield from (model.__pydantic_extra__ or {}).items()


def _has_rules(zone: dt.tzinfo | None) -> bool:
    return isinstance(zone, zoneinfo.ZoneInfo) and zone.key != "UTC"
