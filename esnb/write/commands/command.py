"""Commands: what somebody wants to happen to one aggregate."""

from __future__ import annotations

from enum import Enum
from string import Formatter
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from esnb.errors import CommandError, EventError, shown
from esnb.event import new_event_id
from esnb.schema import category_of, check_text

__all__ = ["Command"]


class Command(BaseModel):
    """Base of command classes: typed fields, validated by pydantic, that cannot change.

    A command names the aggregate that it is for.  ``class ConfirmOrder(Command,
    stream="order-{order_id}")`` makes the stream of its fields; without the option it is the
    field named after the category of the aggregate, ``order_id`` for the category ``order``,
    which may hold ``"17"`` or ``"order-17"``.

    Attributes
    ----------
    command_id
        Its identity, a new UUIDv7 by default.  Sending one id twice is sending it once.

    Raises
    ------
    CommandError
        When the class is made: if the option names no field, or cannot make a stream.  When a
        command is made: naming the field and the value that does not fit.

    Examples
    --------
    >>> class ConfirmOrder(Command, stream="order-{order_id}"):
    ...     order_id: str
    >>> ConfirmOrder(order_id="17").stream_in("order")
    'order-17'
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    command_id: UUID = Field(default_factory=lambda: UUID(new_event_id()))

    _pattern: ClassVar[tuple[tuple[str, str | None], ...] | None] = None

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise CommandError(_told(type(self), error)) from None

    def __init_subclass__(cls, **options: Any) -> None:
        """Take the options of the class, which pydantic then gets to the next method."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, *, stream: str | None = None, **options: Any) -> None:
        if options:
            raise CommandError(
                f"{cls.__name__} has no option {shown(next(iter(options)))}; there is stream"
            )
        if stream is not None:
            cls._pattern = _pattern(cls, stream)

    def stream_in(self, category: str) -> str:
        """Return the stream of the aggregate, which is of a category.

        Raises
        ------
        CommandError
            If the command does not say which.
        """
        kind = type(self)
        if kind._pattern is None:
            field = f"{category}_id"
            if field not in kind.model_fields:
                raise CommandError(
                    f"{kind.__name__} does not say which {category}: {_advice(kind)}"
                )
            text = self._text(field)
            stream = text if text.startswith(f"{category}-") else f"{category}-{text}"
        else:
            stream = self._filled(kind._pattern)
        try:
            return check_text("stream", stream)
        except EventError as error:
            raise CommandError(f"{kind.__name__} names no stream: {error}") from None

    def _filled(self, pattern: tuple[tuple[str, str | None], ...]) -> str:
        text = ""
        for number, (literal, field) in enumerate(pattern):
            text += literal
            if field is None:
                continue
            value = self._text(field)
            after = pattern[number + 1][0] if number + 1 < len(pattern) else ""
            # Otherwise two different commands might name one stream.
            if after and after in value:
                raise CommandError(
                    f"{type(self).__name__}.{field} is {shown(value)}, and {after!r} stands "
                    "behind it in the name of the stream; it may not hold that"
                )
            text += value
        return text

    def _text(self, field: str) -> str:
        value = getattr(self, field)
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, bool) or not isinstance(value, str | int | UUID):
            raise CommandError(
                f"{type(self).__name__}.{field} is {shown(value)}; a stream is named by a text, a "
                "whole number or a UUID"
            )
        text = str(value)
        if not text:
            raise CommandError(f"{type(self).__name__}.{field} is empty, so it names no stream")
        return text


def _advice(kind: type[Command]) -> str:
    return f"give it a field, or say class {kind.__name__}(Command, stream='order-{{order_id}}')"


def _pattern(cls: type[Command], stream: str) -> tuple[tuple[str, str | None], ...]:
    """Take the name of a stream apart: texts, each with the field that follows it."""
    wrong = f"{cls.__name__}: stream={shown(stream)} "
    try:
        parts = list(Formatter().parse(stream))
    except (ValueError, TypeError) as error:
        raise CommandError(f"{wrong}cannot be read: {error}") from None
    for number, (literal, field, spec, conversion) in enumerate(parts):
        if field is None:
            continue
        if spec or conversion or field not in cls.model_fields:
            raise CommandError(
                f"{wrong}names {{{field}}}; say fields and nothing more, such as "
                + (", ".join(name for name in cls.model_fields if name != "command_id") or "none")
            )
        if number and not literal:
            raise CommandError(f"{wrong}needs a text between its fields, so that it is one stream")
    if not parts or "-" not in parts[0][0]:
        raise CommandError(f"{wrong}has no category: begin with it, as in 'order-{{order_id}}'")
    return tuple((literal, field) for literal, field, _, _ in parts)


def pattern_category(command: type[Command]) -> str | None:
    """Return the category of the streams that a command class names; None without an option."""
    pattern = command._pattern
    return None if pattern is None else category_of(pattern[0][0])


def _told(cls: type[Command], error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"])) or "fields"
    value = "" if first["type"] == "missing" else f", not {shown(first['input'])}"
    more = error.error_count() - 1
    return f"{cls.__name__}.{field}: {first['msg']}{value}" + (
        f" ({more} more like it)" if more else ""
    )
