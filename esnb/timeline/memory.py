"""The state of an aggregate as JSON text, from which a fold that only Python can do goes on.

What the annotation of a field decides comes back by it.  Where it leaves open what is in there
(``Any``, a bare ``list``, a choice of types), each value is tried: it comes back as the annotation
says, or by marks of its own, or not at all.  In that case the text says so, and whoever needs the
state folds it anew from its events.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from dataclasses import make_dataclass
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from esnb.aggregate.exact import same
from esnb.aggregate.kinds import Kind, kind_of
from esnb.aggregate.root import Aggregate
from esnb.errors import AggregateError
from esnb.frozen import FrozenDict

__all__ = ["Memory", "NotKept"]

# JSON has these as they are.
_PLAIN = (type(None), bool, int, str)
_WRITERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    Decimal: ("decimal", str),
    float: ("float", repr),
    dt.datetime: ("datetime", dt.datetime.isoformat),
    dt.date: ("date", dt.date.isoformat),
    dt.time: ("time", dt.time.isoformat),
    dt.timedelta: ("timedelta", lambda span: [span.days, span.seconds, span.microseconds]),
    bytes: ("bytes", bytes.hex),
    UUID: ("uuid", str),
    tuple: ("tuple", lambda items: [_marked(item) for item in items]),
    set: ("set", lambda items: [_marked(item) for item in items]),
    frozenset: ("frozenset", lambda items: [_marked(item) for item in items]),
    dict: ("dict", lambda items: [[_marked(k), _marked(v)] for k, v in items.items()]),
    FrozenDict: ("frozendict", lambda items: [[_marked(k), _marked(v)] for k, v in items.items()]),
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "decimal": Decimal,
    "float": float,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": lambda parts: dt.timedelta(*parts),
    "bytes": bytes.fromhex,
    "uuid": UUID,
    "tuple": lambda items: tuple(map(_unmarked, items)),
    "set": lambda items: set(map(_unmarked, items)),
    "frozenset": lambda items: frozenset(map(_unmarked, items)),
    "dict": lambda pairs: {_unmarked(key): _unmarked(value) for key, value in pairs},
    "frozendict": lambda pairs: FrozenDict(
        {_unmarked(key): _unmarked(value) for key, value in pairs}
    ),
}


class NotKept(AggregateError):
    """A state that is needed could not be kept; its events have it."""


class Memory:
    """Writes and reads the states of one aggregate class.

    Raises
    ------
    AggregateError
        If pydantic has no JSON form for the type of a field.
    """

    def __init__(self, owner: type[Aggregate]) -> None:
        annotations = owner.description.annotations
        self._owner = owner
        self._names = tuple(annotations)
        self._open = [name for name, of in annotations.items() if _leaves_open(kind_of(of), ())]
        try:
            self._held = make_dataclass(
                "State",
                [
                    (name, _tried(of) if name in self._open else of | None)
                    for name, of in annotations.items()
                ],
            )
            self._adapter: TypeAdapter[Any] = TypeAdapter(self._held)
        except Exception as error:
            raise AggregateError(
                f"{owner.__name__}: pydantic cannot keep a field's type, which a fold that goes on "
                f"later needs: {error}"
            ) from error

    def keep(self, aggregate: Aggregate) -> str:
        """Return the state as text."""
        state = aggregate.__dict__
        held: Any = object.__new__(self._held)
        held.__dict__ = {name: state[name] for name in self._names}
        return self._adapter.dump_json(held, warnings=False).decode()

    def recall(self, aggregate: Aggregate, text: str | None) -> None:
        """Give an aggregate a state that was kept.

        Raises
        ------
        NotKept
            If that could not be kept as it is.
        """
        if text is None:
            return
        found = self._adapter.validate_json(text).__dict__
        for name in self._open:
            if isinstance(found[name], _Lost):
                raise NotKept(
                    f"{self._owner.__name__}.{name}: {found[name].kind} cannot be kept for a fold "
                    "that goes on later; say in the annotation what the field holds"
                )
        aggregate.__dict__.update(found)


class _Lost:
    """Stands for a value that could not be kept."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def _tried(annotation: Any) -> Any:
    """Return the annotation by which a value is written and read, that leaves open what it is."""
    adapter: TypeAdapter[Any] = TypeAdapter(annotation | None)

    def write(value: Any) -> Any:
        try:
            text = adapter.dump_json(value, warnings=False).decode()
            if same(value, adapter.validate_json(text), set()):
                return ["as declared", text]
        except (ValueError, TypeError, RecursionError):
            pass  # it holds something else than it is declared to
        try:
            marked = _marked(value)
            if same(value, _unmarked(marked), set()):
                return ["marked", marked]
        except (ValueError, TypeError, RecursionError):
            pass
        return ["lost", type(value).__name__]

    def read(given: Any) -> Any:
        way, value = given
        if way == "lost":
            return _Lost(value)
        return adapter.validate_json(value) if way == "as declared" else _unmarked(value)

    return Annotated[Any, PlainSerializer(write), BeforeValidator(read)]


def _leaves_open(kind: Kind, models: tuple[Any, ...]) -> bool:
    """Tell whether values of several types can be of this kind; `models` were looked into."""
    if kind.name == "model" and kind.python not in models:
        seen = (*models, kind.python)
        fields = kind.python.model_fields.values()
        return any(_leaves_open(kind_of(field.annotation), seen) for field in fields)
    parts = [part for part in (kind.key, kind.item) if part is not None]
    return kind.name == "any" or any(_leaves_open(part, models) for part in parts)


def _marked(value: Any) -> Any:
    """Return a value as JSON has it, each part that JSON has not with a mark of what it is."""
    if type(value) in _PLAIN or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is list:
        return [_marked(item) for item in value]
    if type(value) not in _WRITERS:
        raise TypeError(f"there is no mark for {type(value).__name__}")
    mark, write = _WRITERS[type(value)]
    return {mark: write(value)}


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if isinstance(value, dict):
        ((mark, inner),) = value.items()
        return _READERS[mark](inner)
    return value
