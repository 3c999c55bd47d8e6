"""The tables of read models: their columns, and the values that can stand in them.

A value is checked when a handler gives it, so that what a database would refuse, or would
keep other than it is, is told with the event and the handler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact
from enum import Enum
from typing import Any
from uuid import UUID

from esnb import instants, jsontext
from esnb.errors import InputError, ProjectionError, shown

__all__ = ["DIGITS", "EXACT", "KINDS", "SCALE", "check_key", "check_name", "checked", "kind_of"]

# Of an amount: digits behind the point, and before it.  Together they are what the narrowest
# sink (MongoDB's decimals, 34 digits) keeps exactly.
SCALE, DIGITS = 12, 22
# Sums of amounts are exact, whatever the context of the caller.
EXACT = Context(prec=200, traps=[Inexact])
_INT = 2**63
_NAME_BYTES = 48
_KEY_BYTES = 1024

KINDS: dict[Any, str] = {
    str: "text",
    int: "int",
    Decimal: "decimal",
    float: "float",
    bool: "bool",
    datetime: "instant",
    date: "date",
    dict: "json",
    list: "json",
}


def kind_of(column: str, given: Any) -> str:
    """Return the kind of a column by the Python type that it holds."""
    found = KINDS.get(given) if isinstance(given, type) else None
    if found is None:
        names = ", ".join(kind.__name__ for kind in KINDS)
        raise ProjectionError(f"column {shown(column)}: {shown(given)} is none of {names}")
    return found


def check_name(what: str, name: object) -> str:
    """Return a name of a projection, table or column that every database can keep.

    Raises
    ------
    ProjectionError
        If it is empty, too long, or holds NUL or a lone surrogate.
    """
    if not isinstance(name, str) or not name:
        raise ProjectionError(f"the name of a {what} must be text, not {shown(name)}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ProjectionError(f"{what} {shown(name)} holds a lone surrogate") from None
    if "\x00" in name:
        raise ProjectionError(f"{what} {shown(name)} holds a NUL character")
    if size > _NAME_BYTES:
        raise ProjectionError(
            f"{what} {shown(name)} has {size} bytes; {_NAME_BYTES} are allowed, since PostgreSQL "
            "cuts longer names"
        )
    return name


def check_key(key: object, *, nul: bool) -> str:
    """Return the key of a row: text, not empty."""
    if isinstance(key, UUID):
        key = str(key)
    if not isinstance(key, str):
        raise InputError(f"the key of a row must be text, not {shown(key)}")
    if not key:
        raise InputError("the key of a row is empty")
    text = _text(key, nul)
    if len(text) > _KEY_BYTES // 4 and len(text.encode()) > _KEY_BYTES:
        raise InputError(f"the key {shown(text)} is longer than {_KEY_BYTES} bytes")
    return text


def checked(kind: str, value: Any, *, nul: bool) -> Any:
    """Return `value` as a column of a kind keeps it; None stays None.

    Parameters
    ----------
    nul
        Whether the database can keep text with NUL characters.

    Raises
    ------
    InputError
        If the column could not keep it as it is.
    """
    if value is None:
        return None
    if isinstance(value, Enum):
        value = value.value
    return _CHECKS[kind](value, nul)


def _text(value: Any, nul: bool) -> str:
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{shown(value)} is no text")
    if not nul and "\x00" in value:
        raise InputError(f"{shown(value)} holds a NUL character, which this database cannot keep")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{shown(value)} holds a lone surrogate, which is no character") from None
    return value


def _int(value: Any, nul: bool) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{shown(value)} is no whole number")
    if not -_INT <= value < _INT:
        raise InputError(f"{shown(value)} does not fit into 64 bits")
    return value


def _decimal(value: Any, nul: bool) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise InputError(f"{shown(value)} is no amount; give a Decimal")
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -SCALE:
        raise InputError(f"{shown(value)} has more than {SCALE} digits behind the point")
    if value and value.adjusted() >= DIGITS:
        raise InputError(f"{shown(value)} has more than {DIGITS} digits before the point")
    return value or abs(value)  # the databases do not agree on a zero below zero


def _float(value: Any, nul: bool) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{shown(value)} is no finite number")
    return float(value)


def _bool(value: Any, nul: bool) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{shown(value)} is neither True nor False")
    return value


def _instant(value: Any, nul: bool) -> datetime:
    return instants.instant(value).astimezone(UTC)


def _date(value: Any, nul: bool) -> date:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise InputError(f"{shown(value)} is no date")
    return value


def _json(value: Any, nul: bool) -> str:
    if not isinstance(value, Mapping | list | tuple):
        raise InputError(f"{shown(value)} is neither a dict nor a list")
    return jsontext.canonical(jsontext.freeze(value))


_CHECKS: dict[str, Callable[[Any, bool], Any]] = {
    "text": _text,
    "int": _int,
    "decimal": _decimal,
    "float": _float,
    "bool": _bool,
    "instant": _instant,
    "date": _date,
    "json": _json,
}
