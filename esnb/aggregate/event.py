"""Event classes: what an event of one type says, in every version it ever had.

The fields are those of the newest version.  An older payload is brought up to it by
upcasters, ``from1`` making version 2 of version 1, ``from2`` version 3 of version 2,
and so on, each a plain function from payload to payload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from esnb.errors import EventError, InputError, SchemaError, shown
from esnb.event import DomainEvent, RecordedEvent
from esnb.frozen import FrozenDict

__all__ = ["ENVELOPE", "Event", "Payload", "happening"]

# What an event knows beside its payload.
ENVELOPE = (
    "stream",
    "revision",
    "position",
    "event_id",
    "occurred_on",
    "recorded_on",
    "actor",
    "correlation_id",
    "causation_id",
    "tags",
    "metadata",
)


# What pydantic keeps in slots, of an event that was made without it.
_FIELDS_SET = "__pydantic_fields_set__"
_UNSET = (_FIELDS_SET, "__pydantic_extra__", "__pydantic_private__")


# Asking for these first spares most values the slow question whether they are a mapping.
_SCALARS = frozenset({str, int, float, bool, type(None)})
_new, _put = object.__new__, object.__setattr__


class Payload(dict[str, Any]):
    """An old payload, as an upcaster gets it: ``d["amount"]`` and ``d.amount`` are the same."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Event(BaseModel):
    """Base of event classes: typed fields, validated by pydantic, that cannot change.

    ``class OrderPlaced(Event)`` reads and writes the event type ``OrderPlaced``;
    ``name="order.placed"`` says another, ``aliases=("OrderCreated",)`` former names
    that are read as well.  What the event knows beside its payload (``occurred_on``,
    ``actor``, ``event_id``, `ENVELOPE`) is there under its name unless a field has it.

    Attributes
    ----------
    version
        Schema version of the fields, from 1.
    event_type
        The name in the log.

    Raises
    ------
    SchemaError
        When the class is made: if the chain of upcasters to `version` has a gap, or
        goes beyond it, or a name is given twice.

    Examples
    --------
    >>> class OrderPlaced(Event):
    ...     version = 2
    ...     customer: str
    ...     def from1(d):
    ...         return {"customer": d.client}
    >>> OrderPlaced.from_payload({"client": "ann"}, version=1)
    OrderPlaced(customer='ann')
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)
    __slots__ = ("_esnb_envelope",)

    version: ClassVar[int] = 1
    event_type: ClassVar[str] = "Event"
    aliases: ClassVar[tuple[str, ...]] = ()
    _chain: ClassVar[dict[int, Callable[[Payload], Mapping[str, Any]]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Take the options of the class, which pydantic then gets to `_described`."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(
        cls, *, name: str | None = None, aliases: tuple[str, ...] = (), **options: Any
    ) -> None:
        if options:
            raise SchemaError(f"{cls.__name__} has no option {shown(next(iter(options)))}")
        cls.event_type = name or cls.__name__
        cls.aliases = (aliases,) if isinstance(aliases, str) else tuple(aliases)
        if len({cls.event_type, *cls.aliases}) <= len(cls.aliases):
            raise SchemaError(f"{cls.__name__}: an alias is named twice, or is the name itself")
        _check_versions(cls)
        cls._chain = cls.upcasters()

    @classmethod
    def upcasters(cls) -> dict[int, Callable[[Payload], Mapping[str, Any]]]:
        """Return the upcasters by the version that they begin with."""
        found = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                if name.startswith("from") and name[4:].isdigit():
                    found[int(name[4:])] = getattr(value, "__func__", value)
        return dict(sorted(found.items()))

    @classmethod
    def reads(cls, version: int) -> bool:
        """Tell whether payloads of a version can be brought to the newest."""
        return min(cls._chain, default=cls.version) <= version <= cls.version

    @classmethod
    def upcast(cls, payload: Mapping[str, Any], version: int) -> Mapping[str, Any]:
        """Bring a payload of an older `version` to the newest.

        Raises
        ------
        SchemaError
            If the version is newer than the class, or an upcaster fails.
        """
        if version > cls.version:
            raise SchemaError(
                f"{cls.event_type} of version {version} is newer than {cls.__name__}, "
                f"which knows {cls.version}; bring the class up to date"
            )
        chain = cls._chain
        for number in range(version, cls.version):
            if number not in chain:
                raise SchemaError(
                    f"{cls.event_type} of version {version} is older than {cls.__name__} can read: "
                    f"there is no from{number}"
                )
            try:
                payload = chain[number](_payload(payload))
            except SchemaError:
                raise  # of an upcaster that this one asks
            except RecursionError:
                raise SchemaError(
                    f"{cls.__name__}.from{number} goes round in a circle: it asks for what it is "
                    f"to make, version {number + 1}"
                ) from None
            except Exception as error:
                raise SchemaError(
                    f"{cls.__name__}.from{number} cannot read {shown(dict(payload))}: "
                    f"{type(error).__name__}: {error}"
                ) from error
            if not isinstance(payload, Mapping):
                raise SchemaError(
                    f"{cls.__name__}.from{number} must give back a payload, not {shown(payload)}"
                )
        return payload

    @classmethod
    def from_payload(
        cls,
        payload: Mapping[str, Any],
        *,
        version: int | None = None,
        envelope: RecordedEvent | DomainEvent | None = None,
    ) -> Self:
        """Read a payload: upcast it, validate it.

        Raises
        ------
        EventError
            Naming the event, the field and the value that does not fit.
        SchemaError
            If it cannot be brought to the newest version.
        """
        newest = cls.version if version is None else version
        if newest != cls.version:
            payload = cls.upcast(payload, newest)
        try:
            event = cls.model_validate(_thawed(payload))
        except ValidationError as error:
            raise _told(cls, error, envelope) from error
        object.__setattr__(event, "_esnb_envelope", envelope)
        return event

    @classmethod
    def made(cls, values: dict[str, Any], envelope: object, said: Set[str] | None = None) -> Self:
        """Return an event of values that are known to be right, without asking pydantic.

        Parameters
        ----------
        values
            All fields by name.
        envelope
            A recorded or domain event, or a function and what to call it with before the
            name of what is looked up.
        said
            Names of the fields that the payload has, ``model_fields_set``; all without it.
        """
        event = _new(cls)
        _put(event, "__dict__", values)
        if said is not None:
            _put(event, _FIELDS_SET, said)
        _put(event, "_esnb_envelope", envelope)
        return event

    @classmethod
    def from_recorded(cls, recorded: RecordedEvent) -> Self:
        """Read an event as it stands in a log (see `from_payload`)."""
        return cls.from_payload(recorded.data, version=recorded.schema_version, envelope=recorded)

    def to_domain_event(self, **envelope: Any) -> DomainEvent:
        """Return the event as a log takes it.

        Parameters
        ----------
        **envelope
            ``occurred_on``, ``actor``, ``event_id``, ``tags``…, as `DomainEvent` has them.
            An event that an aggregate applied has a time and an id already, and keeps them.
        """
        known = _envelope(self)
        if isinstance(known, DomainEvent):
            return known.replace(**envelope) if envelope else known
        return self.written(**envelope)

    def written(self, **envelope: Any) -> DomainEvent:
        """Return the event as one of its own, whatever it was written as before."""
        return DomainEvent(
            type(self).event_type,
            self.model_dump(mode="json", by_alias=True),
            schema_version=type(self).version,
            **envelope,
        )

    if not TYPE_CHECKING:  # a checker of types should know an unknown name for one

        def __getattr__(self, name: str) -> Any:
            if name in ENVELOPE:
                envelope = _envelope(self)
                if type(envelope) is tuple:
                    look_up, row = envelope
                    return look_up(row, name)
                return getattr(envelope, name, None)
            if name in _UNSET:
                return set(type(self).model_fields) if name == _FIELDS_SET else None
            return super().__getattr__(name)


def happening(event: Event, **envelope: Any) -> tuple[Event, DomainEvent]:
    """Return the event as one that happens now, and what is written of it.

    It is read from what is written, and knows its time and its id: what a handler sees of it is
    what it will see when the event is replayed, and writing it twice is writing it once.
    """
    cls = type(event)
    written = event.written(**envelope)
    return cls.from_payload(written.data, envelope=written), written


def _envelope(event: Event) -> object:
    try:
        return object.__getattribute__(event, "_esnb_envelope")
    except AttributeError:
        return None


def _check_versions(cls: type[Event]) -> None:
    version = cls.version
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise SchemaError(f"{cls.__name__}.version must be a whole number from 1, not {version!r}")
    chain = cls.upcasters()
    for number in chain:
        if not 1 <= number < version:
            raise SchemaError(
                f"{cls.__name__}.from{number} leads nowhere: the class is of version {version}, "
                f"and upcasters go from 1 to {version - 1}; raise the version, or take it away"
            )
    missing = [number for number in range(1, version) if number not in chain]
    if missing and chain:
        raise SchemaError(
            f"{cls.__name__} reads version {min(chain)} but has no from{missing[0]}: "
            "each upcaster leads to the next version"
        )


def _payload(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        return Payload({key: _payload(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [_payload(item) for item in value]
    return value


def _thawed(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if type(value) is FrozenDict or isinstance(value, Mapping):
        return {
            key: item if type(item) in _SCALARS else _thawed(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_thawed(item) for item in value]
    return value


def _told(
    cls: type[Event], error: ValidationError, envelope: RecordedEvent | DomainEvent | None
) -> InputError:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"])) or "payload"
    place = f"{cls.event_type}"
    if isinstance(envelope, RecordedEvent):
        place += f" at position {envelope.position} of {shown(envelope.stream)}"
    value = "" if first["type"] == "missing" else f", not {shown(first['input'])}"
    more = error.error_count() - 1
    return EventError(
        field,
        f"{first['msg']}{value} (event {place}" + (f"; {more} more like it)" if more else ")"),
    )
