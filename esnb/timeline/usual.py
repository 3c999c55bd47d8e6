"""Patterns of the usual payloads of an event class, which one look at the text proves right.

Such a payload has just the fields of the class, in its order or sorted, as short plain
values: what is written by esnb, and most of what is imported.  Any other is looked into
key by key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import permutations
from typing import Any

from pydantic_core import PydanticUndefined

from esnb.aggregate.event import Event
from esnb.aggregate.kinds import Kind
from esnb.aggregate.layout import Path, paths_of
from esnb.aggregate.render import constant
from esnb.aggregate.upcasting import Taken

__all__ = [
    "key_and_default",
    "old_pattern",
    "old_shape",
    "old_value",
    "shape_of",
    "usual_pattern",
    "value_of",
]

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
# Of so many fields all orders are looked for.
_FEW_FIELDS = 3
_SCALE = 6


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
        key, value = _key_of(event, name), _value(kinds[name,])
        # DuckDB does not tell `Amount` from `amount` in one shape.
        if key is None or value is None or key.lower() in map(str.lower, members):
            return None
        members[key] = f'"{key}": ?{value}'
    if not members:
        return None
    return _whole(members, [tuple(members), tuple(sorted(members))])


def old_pattern(event: type[Event], values: Mapping[str, Any]) -> str | None:
    """Return the pattern of a whole usual payload of an old version, None if there is none.

    Parameters
    ----------
    values
        What the upcasters make of it (see `traced_upcasters`).
    """
    kinds = dict(paths_of(event))
    members: dict[str, str] = {}
    for name, taken in values.items():
        if _key_of(event, name) is None or (name,) not in kinds:
            return None
        kind = kinds[name,]
        if type(taken) is not Taken:
            if not _fits(taken, kind):
                return None
            continue
        value = _value(kind) if taken.point is None else _whole_number(kind, taken.point)
        member = f'"{taken.key}": ?{value}'
        known = members.get(taken.key, member)
        if (
            value is None
            or re.fullmatch("[A-Za-z0-9_]+", taken.key) is None
            or known != member
            or taken.key.lower() in (key.lower() for key in members if key != taken.key)
        ):
            return None
        members[taken.key] = member
    if not members:
        return None
    few = len(members) <= _FEW_FIELDS
    # Nobody tells in which order the keys of an old version stand.
    return _whole(members, permutations(members) if few else [tuple(members), sorted(members)])


def old_shape(kind: Kind, taken: Taken) -> str:
    """Return the type as which DuckDB reads what is taken from an old payload for a field."""
    return shape_of(kind) if taken.point is None else "BIGINT"


def old_value(read: str, kind: Kind, taken: Taken) -> str:
    """Return SQL of what is taken from an old payload, `read` as `old_shape` says."""
    if taken.point is None:
        return value_of(read, kind)
    if taken.point < 0:
        return f"CAST({read} * {10**-taken.point} AS DECIMAL(18, {kind.scale}))"
    moved = (
        f"CAST({read} AS DECIMAL(12, 0)) * CAST('1e-{taken.point}' AS DECIMAL(6, {taken.point}))"
    )
    return f"CAST({moved} AS DECIMAL(18, {kind.scale}))"


def _whole(members: Mapping[str, str], orders: Iterable[Iterable[str]]) -> str:
    """Return the pattern of an object with these members in one of some orders."""
    texts = (", ?".join(members[key] for key in order) for order in orders)
    return "|".join(r"\{" + text + r"\}" for text in dict.fromkeys(texts))


def _whole_number(kind: Kind, point: int) -> str | None:
    """Return the pattern of a whole number that fits a column when its point is moved."""
    if kind.name != "decimal" or kind.scale != _SCALE:
        return None
    digits = 12 + min(point, 0)
    return rf'(?:"-?[0-9]{{1,{digits}}}"|-?[1-9][0-9]{{0,{digits - 1}}}|0)'


def _fits(value: Any, kind: Kind) -> bool:
    """Tell whether a constant is one that pydantic lets through as it is."""
    if value is None:
        return kind.nullable
    if kind.domain is not None and not any(
        type(value) is type(one) and value == one for one in kind.domain
    ):
        return False
    names = {str: "text", bool: "bool", int: "int"}
    return names.get(type(value)) == kind.name and (kind.name != "int" or -(2**63) <= value < 2**63)


def _key_of(event: type[Event], name: str) -> str | None:
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


def value_of(read: str, kind: Kind) -> str:
    """Return SQL of a value that was read as `shape_of` says."""
    return f"CAST({read} AS {kind.sql})" if kind.name in ("instant", "date") else read


def _value(kind: Kind) -> str | None:
    pattern = _PATTERNS.get(kind.name)
    if kind.name == "decimal" and kind.scale != _SCALE:
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


def key_and_default(event: type[Event], path: Path) -> tuple[Path | None, Any]:
    """Return where a field stands in the payload, and its default; no path where it is odd."""
    model: Any = event
    keys: list[str] = []
    default: Any = PydanticUndefined
    for depth, name in enumerate(path):
        field = model.model_fields[name]
        alias = field.validation_alias or field.alias
        if alias is None:
            alias = name
        elif not isinstance(alias, str) or not alias or "\x00" in alias or depth:
            return None, default  # a key that no STRUCT has, or one of several
        if field.metadata or (depth and not _plain_model(model)):
            return None, default
        keys.append(alias)
        default = field.default if field.default_factory is None else PydanticUndefined
        if depth < len(path) - 1 and not field.is_required():
            return None, PydanticUndefined
        model = field.annotation
    if default is not PydanticUndefined and default is not None:
        try:
            constant(default)
        except TypeError:
            return None, default
    return tuple(keys), default


def _plain_model(model: Any) -> bool:
    rules = model.__pydantic_decorators__
    return not (rules.validators or rules.field_validators or rules.model_validators) and not (
        set(model.model_config) - {"frozen", "populate_by_name", "extra"}
    )
