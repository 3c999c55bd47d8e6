"""JSON as esnb accepts and writes it: the one door for payloads.

Accepted is strict JSON (RFC 8259) with unique keys and finite numbers, at most
64 levels deep and 16 MiB long.  Text that passes is stored as it came.  A Python
value is written once, in the form of RFC 8785 (sorted keys, shortest numbers);
we depart from it in one point: integers past 2**53 keep all their digits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from esnb.errors import InstantError, JsonError
from esnb.frozen import FrozenDict
from esnb.instants import iso
from esnb.schema import MAX_PAYLOAD

__all__ = ["MAX_DEPTH", "canonical", "check_object", "freeze", "parse", "parse_object", "usual"]

MAX_DEPTH = 64
_PLAIN = frozenset({str, int, bool, type(None)})
# A decimal of up to 15 digits is the shortest text of its own float (IEEE 754); with its point.
_EXACT = 16
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2}")


def parse(text: str) -> Any:
    """Read strict JSON and return it frozen.

    Objects become `FrozenDict`, arrays tuples.  A number with a fraction becomes
    a ``float`` when that keeps every digit, else a ``Decimal``.

    Raises
    ------
    JsonError
        With the reason, and the character where it is known.
    """
    if not isinstance(text, str):
        raise JsonError(f"payload must be text, not {type(text).__name__}")
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise JsonError("holds a lone surrogate", error.start) from None
    if size > MAX_PAYLOAD:
        raise JsonError(f"has {size} bytes; {MAX_PAYLOAD} are allowed")
    _check_depth(text)
    try:
        value = _tupled(_DECODER.decode(text))
    except json.JSONDecodeError as error:
        raise JsonError(error.msg, error.pos) from None
    if _SURROGATE_ESCAPE.search(text):
        _refuse_surrogates(value)
    return value


def parse_object(text: str) -> FrozenDict:
    """Read strict JSON that must be an object (see `parse`)."""
    value = parse(text)
    if not isinstance(value, FrozenDict):
        raise JsonError('must be a JSON object, such as {"total": 10}')
    return value


def check_object(text: str) -> None:
    """Refuse `text` unless `parse_object` would read it.

    Several times faster than reading it: orjson says whether the text is JSON,
    and as many keys in the values as in the text means that none stands twice.
    Text for which that count is not certain is read strictly.
    """
    if text.count("{") + text.count("[") <= MAX_DEPTH and len(text) < MAX_PAYLOAD // 4:
        try:
            value = orjson.loads(text)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            value = None
        if (
            type(value) is dict
            and _count_keys(value) == text.count('":')
            and not any(gap in text for gap in (" :", "\t:", "\n:", "\r:"))
        ):
            return
    parse_object(text)


def _count_keys(value: Any) -> int:
    if type(value) is dict:
        count = len(value)
        for item in value.values():
            if type(item) is dict or type(item) is list:
                count += _count_keys(item)
        return count
    return sum(_count_keys(item) for item in value if type(item) is dict or type(item) is list)


def freeze(value: Any) -> Any:
    """Return `value` as JSON values that cannot change.

    ``Decimal``, ``UUID``, dates and aware datetimes become text, an ``Enum`` its
    value; mappings become `FrozenDict`, lists and tuples tuples.

    Raises
    ------
    JsonError
        If something in it has no JSON form.
    """
    return _freeze(value, 0)


def canonical(value: Any) -> str:
    """Return a frozen `value` as JSON text in the form of RFC 8785."""
    if isinstance(value, FrozenDict) and (told := usual(value._items)) is not None:
        return told
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts)


def usual(value: Any) -> str | None:
    """Return what `canonical` makes of a value when it is frozen; None where that takes longer.

    Lists and dicts of text, whole numbers and truth values, not frozen, go straight to text: their
    keys, all of ASCII, are in the same order by bytes.
    """
    if not _is_usual(value, 8):
        return None
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:  # a number of more than 64 bits, a lone surrogate
        return None


def _is_usual(value: Any, levels: int) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict and levels:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                return False
            if type(item) not in _PLAIN and not _is_usual(item, levels - 1):
                return False
        return True
    if (kind is list or kind is tuple) and levels:
        for item in value:  # noqa: SIM110 (half as long as a generator)
            if not _is_usual(item, levels - 1):
                return False
        return True
    return False


# --- reading -------------------------------------------------------------------------------


def _check_depth(text: str) -> None:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth = 0
    for found in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.DOTALL):
        sign = found.group()
        if sign in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise JsonError(f"is more than {MAX_DEPTH} levels deep", found.start())
        elif sign in "]}":
            depth -= 1


def _pairs(pairs: list[tuple[str, Any]]) -> FrozenDict:
    result = FrozenDict(tuple((key, _tupled(item)) for key, item in pairs))
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonError(f"the key {key!r} stands twice in one object")
            seen.add(key)
    return result


def _float(text: str) -> float | Decimal:
    number = float(text)
    if len(text) <= _EXACT and "e" not in text and "E" not in text:
        return number  # so few digits survive the way there and back
    if not math.isfinite(number):
        raise JsonError(f"the number {text[:40]} is out of range")
    exact = Decimal(text)
    return number if Decimal(repr(number)) == exact else exact


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise JsonError(f"a number of {len(text)} digits is too long") from None


def _constant(text: str) -> Any:
    raise JsonError(f"{text} is not a JSON number")


def _tupled(value: Any) -> Any:
    """Turn arrays into tuples; objects are frozen already, but for the arrays in them."""
    if isinstance(value, list):
        return tuple(_tupled(item) for item in value)
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_float=_float, parse_int=_int, parse_constant=_constant
)


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise JsonError("holds a lone surrogate, which is no character") from None
    elif isinstance(value, FrozenDict):
        for key, item in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(item)
    elif isinstance(value, tuple):
        for item in value:
            _refuse_surrogates(item)


# --- writing -------------------------------------------------------------------------------


def _freeze(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise JsonError(f"is more than {MAX_DEPTH} levels deep")
    kind = type(value)
    if kind is int or kind is bool or value is None or (kind is str and value.isascii()):
        return value
    if kind is dict:
        return _frozen(value, depth)
    if isinstance(value, Enum):
        return _freeze(value.value, depth)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise JsonError("holds a lone surrogate, which is no character") from None
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise JsonError(f"{value} has no JSON form; use None or text")
        # RFC 8785 writes these without a point, so that they are read as whole numbers.
        if 2**53 <= abs(value) < 1e21:
            return int(Decimal(repr(value)))
        return float(value) + 0.0  # it knows one zero only
    if isinstance(value, Mapping):
        return _frozen(value, depth)
    if isinstance(value, list | tuple):
        return tuple(_freeze(item, depth + 1) for item in value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise JsonError(f"{value} has no JSON form; use None or text")
        return format(value, "f")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InstantError(value, "a time in a payload needs its zone")
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return _freeze(value.item(), depth)
    raise JsonError(f"a {type(value).__name__} has no JSON form; turn it into text, list or dict")


def _frozen(value: Mapping[Any, Any], depth: int) -> FrozenDict:
    frozen = {}
    deeper = depth < MAX_DEPTH
    for key, item in value.items():
        if type(key) is not str or not key.isascii():
            if not isinstance(key, str):
                raise JsonError(f"the key {key!r} must be text, not {type(key).__name__}")
            key = _freeze(key, depth)
        # What `_freeze` gives back as it is, most of what there is.
        kind = type(item)
        plain = kind is int or item is None or (kind is str and item.isascii())
        frozen[key] = item if plain and deeper else _freeze(item, depth + 1)
    return FrozenDict(frozen)


def _write(value: Any, put: Callable[[str], None]) -> None:
    if isinstance(value, str):
        put(orjson.dumps(value).decode())
    elif value is None:
        put("null")
    elif value is True:
        put("true")
    elif value is False:
        put("false")
    elif isinstance(value, int):
        put(str(value))
    elif isinstance(value, float):
        put(_number(value))
    elif isinstance(value, Decimal):
        put(str(value))  # from `parse`: a number that no float holds
    elif isinstance(value, Mapping):
        sign = "{"
        for key in sorted(value, key=lambda k: k.encode("utf-16-be")):
            put(sign)
            put(orjson.dumps(key).decode())
            put(":")
            _write(value[key], put)
            sign = ","
        put("{}" if sign == "{" else "}")
    else:
        sign = "["
        for item in value:
            put(sign)
            _write(item, put)
            sign = ","
        put("[]" if sign == "[" else "]")


def _number(value: float) -> str:
    """Write a float as ECMAScript does (RFC 8785, section 3.2.2.3)."""
    if value == 0:
        return "0"
    exact = Decimal(repr(value))
    sign, digits, _ = exact.as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    point = exact.adjusted() + 1  # value = 0.text * 10**point
    if 0 < point <= 21:
        body = text.ljust(point, "0")
        if len(text) > point:
            body = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        body = "0." + "0" * -point + text
    else:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        body = f"{mantissa}e{point - 1:+d}"
    return "-" + body if sign else body
