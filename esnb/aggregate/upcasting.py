"""What simple upcasters make of old payloads, found by running them on a payload of stand-ins.

Most upcasters rename a key, add one, take one away, or move a point: straight code, which gives
one answer for all payloads.  Where the bytecode of a function shows that it is no more than
that, it is run once, and what stands in its result says where each field comes from.  Any other
upcaster is called for each payload.
"""

from __future__ import annotations

import dis
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import CodeType, FunctionType
from typing import Any

from esnb.aggregate.event import Event

__all__ = ["Taken", "traced_upcasters"]

# All that straight code may be made of, in the versions of Python that we know: anything that is
# not here (a jump, a loop, `in`, an f-string) is not traced.
_STRAIGHT = {
    "RESUME", "NOP", "CACHE", "EXTENDED_ARG", "POP_TOP", "SWAP", "COPY", "PUSH_NULL", "PRECALL",
    "KW_NAMES", "NOT_TAKEN", "LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_LOAD_FAST",
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW", "LOAD_FAST_CHECK", "STORE_FAST", "STORE_FAST_LOAD_FAST",
    "STORE_FAST_STORE_FAST", "LOAD_CONST", "LOAD_SMALL_INT", "LOAD_CONST_IMMORTAL", "LOAD_GLOBAL",
    "LOAD_ATTR", "LOAD_METHOD", "BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR", "BINARY_OP",
    "CALL", "CALL_KW", "BUILD_MAP", "BUILD_CONST_KEY_MAP", "DICT_UPDATE", "DICT_MERGE",
    "RETURN_VALUE", "RETURN_CONST",
}  # fmt: skip
_MISSING = object()
# Powers of ten by which an amount may be moved, so that it fits its column.
_MOST, _LEAST = 6, -3


class _NotStraightError(Exception):
    """The function asks for what a stand-in cannot know."""


@dataclass(frozen=True)
class Taken:
    """Where a value is taken from: the key of an old payload.

    Attributes
    ----------
    key
        The key, which has to be there.
    point
        None: the value as it is.  Else it is a whole number, of which the point is moved so
        many digits to the left.
    """

    key: str
    point: int | None = None


class _Place:
    """Stands for what is under a key; it can be passed on, and knows nothing of itself."""

    __slots__ = ("taken",)
    __hash__ = None  # type: ignore[assignment]  # no key of a payload that is made

    def __init__(self, taken: Taken) -> None:
        object.__setattr__(self, "taken", taken)

    def __getattribute__(self, name: str) -> Any:
        raise _NotStraightError

    def __bool__(self) -> bool:
        raise _NotStraightError

    def __str__(self) -> str:
        raise _NotStraightError

    __repr__ = __str__

    def __truediv__(self, other: object) -> _Place:
        return _moved(self, _power(other))

    def __mul__(self, other: object) -> _Place:
        return _moved(self, -_power(other))

    __rmul__ = __mul__


def _taken(place: _Place) -> Taken:
    taken: Taken = object.__getattribute__(place, "taken")
    return taken


def _moved(place: _Place, digits: int) -> _Place:
    taken = _taken(place)
    if taken.point is None or not _LEAST <= taken.point + digits <= _MOST:
        raise _NotStraightError
    return _Place(Taken(taken.key, taken.point + digits))


class _Knowledge:
    """What a stand-in for a payload knows; no value that an upcaster could give back."""

    def __init__(self, *, all_keys: bool) -> None:
        # A payload that an upcaster made has just the keys that it gave it.
        self.all_keys = all_keys
        self.needed: set[str] = set()


class _OldPayload(dict[str, Any]):
    """Stands for any payload of an old version: under each key there is something."""

    def __init__(self, values: Mapping[str, Any], knowledge: _Knowledge) -> None:
        super().__init__(values)
        self._esnb = knowledge

    def __getitem__(self, key: Any) -> Any:
        if key in self:
            value = super().__getitem__(key)
        elif self._esnb.all_keys or type(key) is not str:
            raise _NotStraightError
        else:
            value = _Place(Taken(key))
        if type(value) is _Place and not self._esnb.all_keys:
            self._esnb.needed.add(_taken(value).key)
        return value

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        # Where the key is missing, Python will look.
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        before = set(self._esnb.needed)
        value = self[key]
        super().pop(key, None)
        if default:
            self._esnb.needed = before
        return value

    def setdefault(self, key: str, default: Any = None) -> Any:
        raise _NotStraightError


def traced_upcasters(event: type[Event]) -> dict[int, dict[str, Any]]:
    """Return what brings payloads of old versions to the newest, where that can be told.

    Returns
    -------
    dict
        By version, for each field of the class a `Taken` or a constant.  A version of which an
        upcaster has to be called is not there.
    """
    found = {}
    for version in event.upcasters():
        try:
            found[version] = _traced(event, version)
        except Exception:  # noqa: S112 (whatever it was, the upcaster itself will say it)
            continue
    return found


def _traced(event: type[Event], version: int) -> dict[str, Any]:
    old = _Knowledge(all_keys=False)
    fields = {name: _Place(Taken(name)) for name in event.model_fields}
    payload = _OldPayload(fields, old)
    for number in range(version, event.version):
        made = _called(event.upcasters()[number], payload)
        payload = _OldPayload(made, _Knowledge(all_keys=True))
    values = {}
    for name in event.model_fields:
        value = payload[name]
        values[name] = _taken(value) if type(value) is _Place else value
    if not all(map(_is_value, values.values())):
        raise _NotStraightError
    used = {value.key for value in values.values() if type(value) is Taken}
    if not old.needed <= used:
        raise _NotStraightError
    return values


def _called(function: Any, payload: _OldPayload) -> dict[str, Any]:
    """Run an upcaster on stand-ins, if it is straight."""
    if type(function) is not FunctionType or not _is_straight(function.__code__):
        raise _NotStraightError
    names = {name for name in function.__code__.co_names if name in _CALLED}
    for name in names:
        if _looked_up(function, name) is not _CALLED[name][0]:
            raise _NotStraightError
    scope = {"__builtins__": {}} | {name: stand_in for name, (_, stand_in) in _CALLED.items()}
    result = FunctionType(function.__code__, scope)(payload)
    if not isinstance(result, dict):
        raise _NotStraightError
    return result


def _is_straight(code: CodeType) -> bool:
    if code.co_argcount != 1 or code.co_kwonlyargcount or code.co_flags & 0x2C:
        return False  # more than the payload, or a generator
    return all(one.opname in _STRAIGHT for one in dis.get_instructions(code))


def _looked_up(function: FunctionType, name: str) -> Any:
    builtins = getattr(function, "__builtins__", {})
    return function.__globals__.get(name, builtins.get(name, _MISSING))


def _decimal(value: Any) -> Any:
    if type(value) is not _Place:
        return Decimal(value)
    taken = _taken(value)
    return value if taken.point is not None else _Place(Taken(taken.key, 0))


_CALLED: dict[str, tuple[Any, Any]] = {"Decimal": (Decimal, _decimal), "dict": (dict, dict)}


def _power(value: object) -> int:
    """Return of what power of ten a constant is."""
    if type(value) not in (int, Decimal):
        raise _NotStraightError
    digits = Decimal(value).normalize().as_tuple()  # type: ignore[arg-type]  # it is one of both
    if digits.sign or digits.digits != (1,) or not isinstance(digits.exponent, int):
        raise _NotStraightError
    return digits.exponent


def _is_value(value: object) -> bool:
    return value is None or type(value) in (Taken, str, int, bool, Decimal)
