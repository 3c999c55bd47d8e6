"""The state of an aggregate as JSON text, and back, exactly.

What JSON cannot keep to the last detail is refused when it is written: a state that comes
back different, be it by a digit or a type, would fold on differently.
"""

from __future__ import annotations

from typing import Any, Optional

from pydantic import PydanticUserError, TypeAdapter

from esnb.aggregate import Aggregate
from esnb.aggregate.exact import same

__all__ = ["NotKept", "States"]

# What every aggregate has beside its fields.
_OWN = {"stream", "revision", "uncommitted", "_ended", "_breach"}
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
            if not same(value, back[name], seen):
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
