"""What a field holds: Python's annotations, read as the few kinds that SQL can fold.

A kind that SQL has no exact twin for is ``"any"``: Python folds it, and its column
holds canonical JSON.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from esnb import jsontext
from esnb.instants import iso

__all__ = ["DECIMAL_SCALE", "Kind", "kind_of", "kind_of_value", "to_column"]

Name = Literal[
    "text", "int", "float", "bool", "decimal", "instant", "date", "enum",
    "set", "dict", "list", "model", "any",
]  # fmt: skip

# Digits behind the point of an amount in an event, and in a state that adds and multiplies them.
DECIMAL_SCALE = 6
_SQL = {
    "text": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "instant": "TIMESTAMPTZ",
    "date": "DATE",
    "model": "VARCHAR",
    "any": "VARCHAR",
}
_PLAIN: dict[type, Name] = {
    str: "text",
    bool: "bool",
    int: "int",
    float: "float",
    Decimal: "decimal",
    datetime: "instant",
    date: "date",
}


@dataclass(frozen=True)
class Kind:
    """What a value may be.

    Attributes
    ----------
    name
        See `Name`.
    nullable
        It may be None.
    scale
        Digits behind the point (decimals).
    python
        The class behind it: an Enum, or a model of pydantic.
    key, item
        What a dict's keys are; what a set, a list or a dict's values hold.
    domain
        All values that it can have, where they are few: of a bool, an Enum, a Literal.
    """

    name: Name
    nullable: bool = False
    scale: int = DECIMAL_SCALE
    python: Any = field(default=None, compare=False)
    key: Kind | None = None
    item: Kind | None = None
    domain: tuple[Any, ...] | None = field(default=None, compare=False)

    @property
    def collection(self) -> bool:
        """It is a set, a dict or a list, which changes piece by piece."""
        return self.name in ("set", "dict", "list")

    @property
    def scalar(self) -> bool:
        """SQL has a type whose values are, one by one, those of Python."""
        return (self.name in _SQL and self.name not in ("any", "model")) or self.name in (
            "decimal",
            "enum",
        )

    @property
    def sql(self) -> str:
        """DuckDB type of its column."""
        if self.name == "decimal":
            return f"DECIMAL({28 if self.scale <= DECIMAL_SCALE else 38}, {self.scale})"
        if self.name == "enum":
            return _SQL[kind_of_value(next(iter(self.python)).value).name]
        if self.name in ("set", "list") and self.item is not None and self.item.scalar:
            return f"{self.item.sql}[]"
        if (
            self.name == "dict"
            and self.key is not None
            and self.item is not None
            and self.key.scalar
            and self.item.scalar
        ):
            return f"MAP({self.key.sql}, {self.item.sql})"
        return _SQL.get(self.name, "VARCHAR")

    def known(self) -> Kind:
        """Return the kind without None."""
        return replace(self, nullable=False) if self.nullable else self

    def or_none(self) -> Kind:
        """Return the kind with None."""
        return self if self.nullable else replace(self, nullable=True)


def kind_of(annotation: Any) -> Kind:
    """Return the kind of an annotation.

    >>> kind_of(str | None)
    Kind(name='text', nullable=True, scale=6, python=None, key=None, item=None, domain=None)
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return kind_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        rest = [argument for argument in arguments if argument is not type(None)]
        inner = kind_of(rest[0]) if len(rest) == 1 else Kind("any")
        return inner.or_none() if len(rest) < len(arguments) else inner
    if origin is Literal:
        kinds = {kind_of_value(value).name for value in arguments}
        if len(kinds) == 1 and kinds <= {"text", "int", "bool"}:
            return Kind(kinds.pop(), domain=arguments)
        return Kind("any")
    if annotation in _PLAIN:
        domain = (False, True) if annotation is bool else None
        return Kind(_PLAIN[annotation], domain=domain)
    bare = origin or annotation
    if bare in (set, frozenset, collections.abc.Set):
        return Kind("set", item=kind_of(arguments[0]) if arguments else Kind("any"))
    if bare in (list, collections.abc.Sequence) or (
        bare is tuple and len(arguments) == 2 and arguments[1] is Ellipsis
    ):
        return Kind("list", item=kind_of(arguments[0]) if arguments else Kind("any"))
    if bare in (dict, collections.abc.Mapping):
        key, item = map(kind_of, arguments) if arguments else (Kind("any"), Kind("any"))
        return Kind("dict", key=key, item=item)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        values = [member.value for member in annotation]
        if values and len({type(value) for value in values}) == 1 and type(values[0]) in (str, int):
            return Kind("enum", python=annotation, domain=tuple(annotation))
        return Kind("any", python=annotation)
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        return Kind("model", python=annotation)
    return Kind("any", python=annotation)


def kind_of_value(value: Any) -> Kind:
    """Return the kind of a constant."""
    if value is None:
        return Kind("any", nullable=True)
    if isinstance(value, Enum):
        return kind_of(type(value))
    if type(value) is Decimal:
        exponent = value.as_tuple().exponent
        return Kind("decimal", scale=max(0, -exponent) if isinstance(exponent, int) else 0)
    name = _PLAIN.get(type(value))
    return Kind("any") if name is None else Kind(name)


def to_column(kind: Kind, value: Any) -> Any:
    """Return a value of the state as its column has it.

    Sets come sorted, dicts sorted by key, an Enum as its value; what has no type of its
    own in SQL as canonical JSON.

    Raises
    ------
    TypeError
        If the value is none of the kind's.
    """
    if value is None:
        return None
    if kind.scalar:
        return _scalar(kind, value)
    if kind.sql != "VARCHAR" and kind.item is not None:
        if kind.name == "set":
            return sorted(_scalar(kind.item, item) for item in value)
        if kind.name == "list":
            return [None if item is None else _scalar(kind.item, item) for item in value]
        key_kind = kind.key or kind.item
        return sorted(
            (_scalar(key_kind, key), None if item is None else _scalar(kind.item, item))
            for key, item in value.items()
        )
    return as_json(value)


_TYPES: dict[str, Any] = {
    "text": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "decimal": (Decimal, int),
    "instant": (datetime,),
    "date": (date,),
}


def _scalar(kind: Kind, given: Any) -> Any:
    value: Any = given.value if isinstance(given, Enum) else given
    if kind.name == "enum":
        return value
    allowed = _TYPES[kind.name]
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind.name != "bool"):
        raise TypeError(f"{value!r} is no {kind.name}")
    if kind.name == "instant" and value.tzinfo is None:
        raise TypeError(f"{value!r} has no time zone")
    if kind.name == "decimal":
        return Decimal(value)
    return float(value) if kind.name == "float" else value


def as_json(value: Any) -> str:
    """Return any value as canonical JSON: keys sorted, sets as sorted arrays."""
    told = jsontext.usual(value)
    return jsontext.canonical(jsontext.freeze(_plain(value))) if told is None else told


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return _plain(value.model_dump())
    if isinstance(value, collections.abc.Mapping):
        return {
            key if isinstance(key, str) else str(_plain(key)): _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=lambda item: (str(type(item)), item))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return iso(value) if value.tzinfo else value.isoformat()
    return value
