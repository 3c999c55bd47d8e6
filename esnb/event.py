"""Events: what you write (`DomainEvent`) and what the log gives back (`RecordedEvent`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from esnb import instants, jsontext
from esnb.errors import EventError, JsonError
from esnb.frozen import FrozenDict
from esnb.schema import MAX_PAYLOAD, check_text

__all__ = ["DomainEvent", "RecordedEvent", "Writable", "domain_events", "new_event_id"]

_EMPTY = FrozenDict()
# Of the 80 bits behind the milliseconds: what chance fills, and the marks of a UUIDv7.
_CHANCE = 0x0FFF_3FFF_FFFF_FFFF_FFFF
_VERSION_7 = 0x7000_8000_0000_0000_0000


def new_event_id() -> str:
    """Return a new UUIDv7 (RFC 9562): ids sort by the millisecond they were made in."""
    chance = int.from_bytes(os.urandom(10), "big") & _CHANCE
    text = f"{time.time_ns() // 1_000_000 << 80 | _VERSION_7 | chance:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Frozen:
    """Fields set once, compared and hashed by value."""

    __slots__ = ("_data", "_metadata")
    _fields: tuple[str, ...] = ()

    data_text: str
    metadata_text: str
    _data: FrozenDict | None
    _metadata: FrozenDict | None

    @property
    def data(self) -> FrozenDict:
        """The payload, read when first asked for."""
        return self._parsed("_data", self.data_text)

    @property
    def metadata(self) -> FrozenDict:
        """The metadata, read when first asked for."""
        return self._parsed("_metadata", self.metadata_text)

    def _parsed(self, slot: str, text: str) -> FrozenDict:
        value: FrozenDict | None = getattr(self, slot)
        if value is None:
            value = jsontext.parse_object(text)
            object.__setattr__(self, slot, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an event cannot change: {name} is set for ever")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an event cannot change: {name} is set for ever")

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._fields)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


def _text_and_value(
    field: str, given: Mapping[str, Any] | str | None
) -> tuple[str, FrozenDict | None]:
    """Return the JSON text, checked, and the value; None where it is still to be read."""
    if given is None or ((type(given) is dict or isinstance(given, Mapping)) and not given):
        return "{}", _EMPTY
    try:
        if isinstance(given, str):
            jsontext.check_object(given)
            return given, None
        if type(given) is not dict and not isinstance(given, Mapping):
            raise JsonError(f"must be a mapping or JSON text, not {type(given).__name__}")
        value = jsontext.freeze(given)
        text = jsontext.canonical(value)
        if len(text) > MAX_PAYLOAD:
            raise JsonError(f"is longer than {MAX_PAYLOAD} bytes")
        return text, value
    except JsonError as error:
        raise EventError(field, str(error)) from None


def _optional(field: str, value: str | None) -> str | None:
    return None if value is None else check_text(field, value)


class DomainEvent(_Frozen):
    """Something that happened, as you write it.

    Parameters
    ----------
    event_type
        Its name, in the past tense: ``"OrderConfirmed"``.
    data
        The payload: a mapping, or JSON text, which is kept to the letter.
        ``Decimal``, ``UUID`` and aware datetimes in a mapping become text.
    occurred_on
        When it happened in the world (see `esnb.instants.instant`); now by default.
    event_id
        Its identity, at most 256 bytes; a new UUIDv7 by default.  Appending one
        id twice is one event.
    schema_version
        Shape of the payload, from 1.
    actor, correlation_id, causation_id
        Who did it; the business conversation; the event or command that caused it.
    tags
        Other things it concerns, such as ``"customer:7"``.
    metadata
        Everything else known about it: a mapping or JSON text.

    Raises
    ------
    EventError
        Naming the field that cannot be accepted.

    Examples
    --------
    >>> event = DomainEvent("OrderPlaced", {"total": 10}, actor="ann")
    >>> event.data["total"]
    10
    """

    __slots__ = (
        "actor",
        "causation_id",
        "correlation_id",
        "data_text",
        "event_id",
        "event_type",
        "metadata_text",
        "occurred_on",
        "schema_version",
        "tags",
    )
    _fields = (
        "event_id",
        "event_type",
        "schema_version",
        "occurred_on",
        "actor",
        "correlation_id",
        "causation_id",
        "tags",
        "data_text",
        "metadata_text",
    )

    event_id: str
    event_type: str
    schema_version: int
    occurred_on: datetime
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    tags: tuple[str, ...]

    def __init__(
        self,
        event_type: str,
        data: Mapping[str, Any] | str | None = None,
        *,
        occurred_on: object = None,
        event_id: str | None = None,
        schema_version: int = 1,
        actor: str | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, Any] | str | None = None,
    ) -> None:
        put = object.__setattr__
        put(self, "event_type", check_text("event_type", event_type))
        given = new_event_id() if event_id is None else check_text("event_id", event_id)
        put(self, "event_id", given)
        put(self, "schema_version", _version(schema_version))
        when = instants.now() if occurred_on is None else instants.instant(occurred_on)
        put(self, "occurred_on", when)
        put(self, "actor", _optional("actor", actor))
        put(self, "correlation_id", _optional("correlation_id", correlation_id))
        put(self, "causation_id", _optional("causation_id", causation_id))
        put(self, "tags", _tags(tags))
        text, value = _text_and_value("data", data)
        put(self, "data_text", text)
        put(self, "_data", value)
        text, value = _text_and_value("metadata", metadata)
        put(self, "metadata_text", text)
        put(self, "_metadata", value)

    def replace(self, **changes: Any) -> DomainEvent:
        """Return a copy with some arguments of the constructor changed; the id stays.

        >>> DomainEvent("OrderPlaced").replace(actor="ann").actor
        'ann'
        """
        arguments: dict[str, Any] = {
            "event_type": self.event_type,
            "data": self.data_text,
            "occurred_on": self.occurred_on,
            "event_id": self.event_id,
            "schema_version": self.schema_version,
            "actor": self.actor,
            "correlation_id": self.correlation_id,
            "causation_id": self.causation_id,
            "tags": self.tags,
            "metadata": self.metadata_text,
        }
        return DomainEvent(**(arguments | changes))

    def __reduce__(self) -> tuple[object, ...]:
        return (_domain_event, self._values())

    def __repr__(self) -> str:
        when = instants.iso(self.occurred_on)
        return f"DomainEvent({self.event_type!r}, {self.data!r}, occurred_on={when!r})"


class RecordedEvent(_Frozen):
    """An event as it stands in a log: everything in `DomainEvent`, and its place.

    Attributes
    ----------
    position
        Place in the whole log, from 0.
    stream, category, revision
        Its stream, the stream's category, and its place in the stream, from 0.
    recorded_on
        When the system of record knew it (UTC).
    """

    __slots__ = (
        *(name for name in DomainEvent._fields),
        "position",
        "recorded_on",
        "revision",
        "stream",
    )
    _fields = ("position", "stream", "revision", "recorded_on", *DomainEvent._fields)

    position: int
    stream: str
    revision: int
    recorded_on: datetime
    event_id: str
    event_type: str
    schema_version: int
    occurred_on: datetime
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    tags: tuple[str, ...]

    def __init__(self, **fields: Any) -> None:
        put = object.__setattr__
        for name in self._fields:
            put(self, name, fields[name])
        put(self, "_data", None)
        put(self, "_metadata", None)

    @classmethod
    def of(
        cls,
        event: DomainEvent | RecordedEvent,
        position: int,
        stream: str,
        revision: int,
        recorded_on: datetime,
    ) -> RecordedEvent:
        """Return an event that was just written, at its place."""
        made = cls.__new__(cls)
        put = object.__setattr__
        put(made, "position", position)
        put(made, "stream", stream)
        put(made, "revision", revision)
        put(made, "recorded_on", recorded_on)
        for name in _CARRIED:
            put(made, name, getattr(event, name))
        return made

    @property
    def category(self) -> str:
        """Category of the stream."""
        return self.stream.partition("-")[0]

    def __reduce__(self) -> tuple[object, ...]:
        return (_recorded_event, self._values())

    def __repr__(self) -> str:
        return (
            f"RecordedEvent(position={self.position}, {self.stream!r}, revision={self.revision}, "
            f"{self.event_type!r}, {self.data_text})"
        )


class Writable(Protocol):
    """What can be written as an event, such as an object of an event class."""

    def to_domain_event(self) -> DomainEvent: ...


def domain_events(
    events: DomainEvent | Writable | Iterable[DomainEvent | Writable],
) -> tuple[DomainEvent, ...]:
    """Return one or several events as a log takes them.

    Raises
    ------
    EventError
        If something else is among them.
    """
    if isinstance(events, DomainEvent):
        return (events,)
    # Asked of the class: an instance may answer to any name.
    if hasattr(type(events), "to_domain_event"):
        return (events.to_domain_event(),)  # type: ignore[union-attr]
    made = []
    for event in events:  # type: ignore[union-attr]
        if isinstance(event, DomainEvent):
            made.append(event)
        elif hasattr(type(event), "to_domain_event"):
            made.append(event.to_domain_event())
        else:
            raise EventError("events", f"must be events, not {type(event).__name__}")
    return tuple(made)


# What a recorded event has from the one that was written: its fields, and what was read of them.
_CARRIED = (*DomainEvent._fields, "_data", "_metadata")


def _version(value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 2**31 - 1:
        raise EventError("schema_version", f"must be a whole number from 1, not {value!r}")
    return value


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    if type(tags) is tuple and not tags:
        return tags
    if isinstance(tags, str):
        raise EventError("tags", f"must be a list of texts; say [{tags!r}]")
    return tuple(check_text("tag", tag) for tag in tags)


def _domain_event(*values: Any) -> DomainEvent:
    named = dict(zip(DomainEvent._fields, values, strict=True))
    named["data"] = named.pop("data_text")
    named["metadata"] = named.pop("metadata_text")
    return DomainEvent(named.pop("event_type"), **named)


def _recorded_event(*values: Any) -> RecordedEvent:
    return RecordedEvent(**dict(zip(RecordedEvent._fields, values, strict=True)))
