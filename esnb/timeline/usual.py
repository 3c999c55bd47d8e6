"""Patterns of the usual payloads of an event class, which one look at the text proves right.

Such a payload has just the fields of the class, in its order or sorted, as short plain
values: what is written by esnb, and most of what is imported.  Any other is looked into
key by key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Any

from esnb.aggregate.event import Event
from esnb.aggregate.kinds import Kind
from esnb.aggregate.layout import paths_of

__all__ = ["key_of", "shape_of", "usual_pattern"]

_TEXT = r'"[^"\\\x00-\x1f]*"'
_DAY = (
    r"(?:19|20)[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    r"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_PATTERNS = {
    "text": _TEXT,
    "int": r"(?:-?[1-9][0-9]{0,17}|0)",
    # Fewer digits than a double holds, so that none is lost on the way through one.
    "float": r"(?:-?[1-9][0-9]{0,7}|0)(?:\.[0-9]{1,6})?",
    "decimal": r'(?:"-?[0-9]{1,12}(?:\.[0-9]{1,6})?"|(?:-?[1-9][0-9]{0,7}|0)(?:\.[0-9]{1,6})?)',
    "bool": "(?:true|false)",
    "date": f'"{_DAY}"',
    "instant": (
        f'"{_DAY}' + r"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
        r'(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"'
    ),
}
# Longer patterns cost more memory than looking into the payloads costs time.
_MANY_FIELDS = 24


def usual_pattern(event: type[Event]) -> str | None:
    """Return the pattern (RE2) of a whole usual payload of a class, None if there is none.

    It is for events of the newest version.  A class whose fields have rules of their own
    has to be left out before.
    """
    fields = event.model_fields
    kinds = dict(paths_of(event))
    if set(kinds) != {(name,) for name in fields} or len(fields) > _MANY_FIELDS:
        return None
    members: dict[str, str] = {}
    for name in fields:
        key, value = key_of(event, name), _value(kinds[name,])
        # DuckDB does not tell `Amount` from `amount` in one shape.
        if key is None or value is None or key.lower() in map(str.lower, members):
            return None
        members[key] = f'"{key}": ?{value}'
    if not members:
        return None
    orders = dict.fromkeys((tuple(members), tuple(sorted(members))))
    return "|".join(r"\{" + ", ?".join(members[key] for key in order) + r"\}" for order in orders)


def key_of(event: type[Event], name: str) -> str | None:
    """Return the key of a field, if it is one that stands for itself in a pattern."""
    field = event.model_fields[name]
    key = field.validation_alias or field.alias or name
    # A field with an alias may be called by its name too.
    if not isinstance(key, str) or key != name or re.fullmatch("[A-Za-z0-9_]+", key) is None:
        return None
    return key


def shape_of(kind: Kind) -> str:
    """Return the type as which DuckDB reads a value that the pattern found good."""
    if kind.name == "decimal":
        return f"DECIMAL(18, {kind.scale})"
    # Of instants DuckDB's reader of JSON makes something else than its casts do.
    return "VARCHAR" if kind.name in ("instant", "date") else kind.sql


def _value(kind: Kind) -> str | None:
    pattern = _PATTERNS.get(kind.name)
    if kind.name == "decimal" and kind.scale != 6:
        return None
    if kind.domain is not None:
        pattern = _one_of(kind.domain)
    if pattern is None:
        return None
    return f"(?:null|{pattern})" if kind.nullable else pattern


def _one_of(domain: Iterable[Any]) -> str | None:
    """Return the pattern of one of some constants, where they are words or whole numbers."""
    found = []
    for given in domain:
        value = given.value if isinstance(given, Enum) else given
        if isinstance(value, str) and re.fullmatch("[A-Za-z0-9_]*", value):
            found.append(f'"{value}"')
        elif type(value) is int and abs(value) < 10**18:
            found.append(str(value))
        else:
            return None
    return f"(?:{'|'.join(found)})" if found else None
