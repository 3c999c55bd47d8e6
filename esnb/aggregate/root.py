"""Aggregates: an ordinary class whose ``when`` methods move the state, and nothing else."""

from __future__ import annotations

import copy
import hashlib
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from types import FunctionType
from typing import Any, ClassVar, Self

from esnb.aggregate.event import Event, happening
from esnb.aggregate.explain import Explanation, explained
from esnb.aggregate.fingerprint import model_parts, stable, type_parts
from esnb.aggregate.kinds import Kind, kind_of, to_column
from esnb.aggregate.layout import Layout
from esnb.aggregate.plan import Plan, plan
from esnb.errors import AggregateError, EsnbError, SchemaError, shown
from esnb.event import RecordedEvent

__all__ = ["Aggregate", "Description"]

# Columns that the tables of a timeline have themselves, and what every aggregate has.
_TAKEN = frozenset(
    {
        "stream", "revision", "position", "event_id", "event_type", "actor", "occurred_on",
        "recorded_on", "system_from", "system_to", "next_position", "ended", "valid_from",
        "valid_to", "apply", "replay", "restore", "uncommitted", "breach", "description",
    }
)  # fmt: skip


class Description:
    """What an aggregate class says of itself: its fields, handlers and options.

    Attributes
    ----------
    owner
        The class.
    category
        Category of the streams that it folds; the stem of its SQL macros.
    by
        For an aggregate across streams: the tag or payload key that names it.
    fields, defaults
        Kinds and first values by name, in the order of the class.
    handlers
        Event class and function by event type, aliases too.
    ends
        Types of the events after which there is no aggregate.
    ignores
        Types of events that are known and change nothing.
    noop
        Payload key by which an event tells that it failed: where it is there and not null,
        the event changes nothing.
    """

    def __init__(self, owner: type[Aggregate], options: dict[str, Any], hints: Any) -> None:
        self.owner = owner
        self.by: str | None = options.pop("by", None)
        self.category: str = options.pop("category", None) or _snake(owner.__name__)
        ends = _names(owner, "ends", options.pop("ends", ()))
        ignores = _names(owner, "ignores", options.pop("ignores", ()))
        self.noop: str | None = options.pop("noop", None)
        for option in ("category", "by", "noop"):
            said = getattr(self, option)
            if said is not None and not isinstance(said, str):
                raise AggregateError(f"{owner.__name__}: {option}={shown(said)} is no text")
        if options:
            raise AggregateError(
                f"{owner.__name__} has no option {shown(next(iter(options)))}; there are "
                "category, by, ends, ignores, noop"
            )
        if self.by is None and "-" in self.category:
            raise AggregateError(
                f"{owner.__name__}: no stream has the category {shown(self.category)}, since a "
                "category ends at the first '-' of a stream's name"
            )
        self.ends, self.ignores = ends, ignores
        self.fields: dict[str, Kind] = {}
        self.annotations: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        for name, annotation in hints.items():
            if name.startswith("_") or typing.get_origin(annotation) is ClassVar:
                continue
            if name in _TAKEN:
                raise AggregateError(
                    f"{owner.__name__}.{name}: the name is esnb's own; call the field otherwise"
                )
            self.annotations[name] = annotation
            self.fields[name] = kind_of(annotation)
            self.defaults[name] = _default(owner, name)
        self.handlers: dict[str, tuple[type[Event], FunctionType]] = {}
        for name, function in _handlers(owner).items():
            for event in _events_of(owner, name, function):
                for event_type in (event.event_type, *event.aliases):
                    if event_type in self.handlers:
                        other = self.handlers[event_type][1].__name__
                        raise AggregateError(
                            f"{owner.__name__} handles {event_type} twice, in {other} and {name}"
                        )
                    self.handlers[event_type] = (event, function)

    @property
    def known(self) -> frozenset[str]:
        """Types of the events that the class knows, handled or not."""
        return frozenset({*self.handlers, *self.ends, *self.ignores})

    def reads(self, event_type: str, version: int) -> bool:
        """Tell whether the class knows an event of that type and schema version."""
        handled = self.handlers.get(event_type)
        if handled is None or event_type in self.ends:
            return event_type in self.known
        return handled[0].reads(version)

    @cached_property
    def plan(self) -> Plan:
        """How each field is folded, by the code that `fingerprint` is of."""
        self.fingerprint  # noqa: B018 (it is taken)
        return plan(self.owner, self.handlers, self.fields, self.defaults)

    @cached_property
    def layout(self) -> Layout:
        """The columns in which the fields of the events stand."""
        return Layout({event_type: event for event_type, (event, _) in self.handlers.items()})

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that decides the states: fields, defaults, code, upcasters."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(repr(part).encode(errors="replace") + b"\0")
        return digest.hexdigest()

    def renew(self) -> None:
        """Look at the code again: functions and constants that it uses may have changed since."""
        before = self.__dict__.pop("fingerprint", None)
        if before is not None and self.fingerprint != before:
            self.__dict__.pop("plan", None)

    def _parts(self) -> Iterable[object]:
        yield self.category, self.by, self.ends, self.ignores, self.noop
        seen: set[int] = set()
        for name, kind in self.fields.items():
            yield name, str(self.annotations[name]), kind, stable(self.defaults[name])
            yield from type_parts(self.annotations[name], seen)
        for event_type, (event, function) in self.handlers.items():
            yield event_type, function.__name__, event.version
            yield from model_parts(event, seen)
        yield from type_parts(self.owner, seen)

    def initial(self) -> dict[str, Any]:
        """Return the state before any event, its collections its own."""
        state = self._template.copy()
        for name, make in self._mutable:
            state[name] = make()
        return state

    @cached_property
    def _template(self) -> dict[str, Any]:
        return dict(self.defaults)

    @cached_property
    def _mutable(self) -> list[tuple[str, Callable[[], Any]]]:
        found: list[tuple[str, Callable[[], Any]]] = []
        for name, kind in self.fields.items():
            default = self.defaults[name]
            if default is None and kind.collection and not kind.nullable:
                found.append((name, {"set": set, "dict": dict, "list": list}[kind.name]))
            elif default is not None and not kind.scalar:
                found.append((name, partial(copy.deepcopy, default)))
        return found


class Aggregate:
    """Base of aggregates: typed fields, and ``when`` methods that only move the state.

    A method whose name begins with ``when`` handles the events that its parameter is
    annotated with (``e: OrderPlaced``, or ``e: OrderPaid | OrderPrepaid``).  It never
    refuses: rules are for commands.  A field without a default begins as None, a set,
    dict or list as an empty one.

    Options of the class: ``category`` (of the streams; the class name by default),
    ``by="customer"`` for an aggregate across streams, keyed by the tag ``customer:…``
    or the payload key ``customer``; ``ends``, event classes or types after which there is
    no aggregate; ``ignores``, known events that change nothing; ``noop="errorCode"``, the
    payload key of failed operations: where it is there and not null, an event changes nothing.

    Attributes
    ----------
    stream
        The stream it is loaded from and saved to.
    revision
        Revision of the newest event that was recorded; -1 when there is none.
    uncommitted
        Events that were applied and are not recorded yet.

    Examples
    --------
    >>> class Placed(Event):
    ...     total: int
    >>> class Order(Aggregate):
    ...     total: int = 0
    ...     def when_placed(self, e: Placed):
    ...         self.total += e.total
    >>> order = Order("order-1")
    >>> order.apply(Placed(total=3))
    >>> order.total, len(order.uncommitted)
    (3, 1)
    """

    description: ClassVar[Description]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        inherited = getattr(cls, "_options", {})
        cls._options = {**inherited, **options}
        cls.description = Description(cls, dict(cls._options), _hints(cls))

    _options: ClassVar[dict[str, Any]] = {}
    # While a command is decided on: makes the envelope of an event of its number and of what
    # the handler said.
    _said: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None

    def __init__(self, stream: str = "") -> None:
        self.stream = stream
        self.revision = -1
        self.uncommitted: tuple[Event, ...] = ()
        self._ended = False
        self.__dict__.update(type(self).description.initial())

    def apply(self, event: Event, **envelope: Any) -> None:
        """Let something happen: the state moves, and the event waits to be saved.

        Parameters
        ----------
        **envelope
            ``occurred_on``, ``actor``, ``tags``…, as `DomainEvent` has them.  It happens
            now unless another time is given.

        Raises
        ------
        CommandError
            If a handler gives an event an id, which is the command's to give.
        """
        if self._said is not None:
            envelope = self._said(len(self.uncommitted), envelope)
        happens, _ = happening(event, **envelope)
        self._take(happens)
        self.uncommitted = (*self.uncommitted, happens)

    def _take(self, happening: Event) -> None:
        """Move as `apply` does, by an event that another object of this aggregate applied."""
        noop = type(self).description.noop
        if noop is None or happening.to_domain_event().data.get(noop) is None:
            self._move(happening, type(happening).event_type)

    @classmethod
    def fold(cls, events: Iterable[RecordedEvent], *, stream: str = "") -> Self:
        """Return the aggregate after `events`, which are of one stream and in order.

        Raises
        ------
        SchemaError
            If an event is of a type or version that the class does not know.
        EventError
            If a payload does not fit its event class.
        AggregateError
            If a handler raises.
        """
        aggregate = cls(stream)
        for event in events:
            aggregate.replay(event)
        return aggregate

    def replay(self, recorded: RecordedEvent) -> None:
        """Take in one recorded event (see `fold`)."""
        if not self.stream:
            self.stream = recorded.stream
        begins = self.revision < 0 and not self.uncommitted
        self.revision = recorded.revision
        description = type(self).description
        if description.noop is not None and recorded.data.get(description.noop) is not None:
            # What failed does not bring an aggregate about, nor back.
            self._ended = self._ended or begins
            return
        handled = description.handlers.get(recorded.event_type)
        event = None if handled is None else _read(handled[0], recorded)
        self._move(event, recorded.event_type, recorded)

    def restore(self, fields: Mapping[str, Any], *, revision: int, ended: bool) -> None:
        """Take over a state that was kept, as it stood after a revision."""
        self.__dict__.update(fields)
        self.revision = revision
        self._ended = ended

    def _move(
        self, event: Event | None, event_type: str, recorded: RecordedEvent | None = None
    ) -> None:
        description = type(self).description
        if event_type in description.ends:
            self.__dict__.update(description.initial())
            self._ended = True
            return
        self._ended = False
        handled = description.handlers.get(event_type)
        if handled is None:
            if event_type not in description.known:
                raise SchemaError(unknown_event(type(self), event_type, recorded))
            return
        try:
            handled[1](self, event)
        except EsnbError:
            raise
        except Exception as error:
            raise handler_error(type(self), handled[1], event_type, recorded, error) from error

    @property
    def ended(self) -> bool:
        """Whether its last event ended it."""
        return self._ended

    def state(self) -> dict[str, Any]:
        """Return the fields as the columns of a timeline have them."""
        return {
            name: column_value(type(self), name, kind, self.__dict__[name])
            for name, kind in type(self).description.fields.items()
        }

    def breach(self, rule: str) -> None:
        """Say in a handler that the event broke a rule; it changes nothing.

        ``timeline.breaches()`` lists such events, with the state before.
        """
        self._breach = rule

    @classmethod
    def explain(cls) -> Explanation:
        """Tell for each field how it is folded, with its SQL, and why not faster."""
        cls.description.renew()
        return explained(cls.__name__, cls.description.plan, cls.description.layout)

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name}={getattr(self, name, None)!r}" for name in type(self).description.fields
        )
        return f"{type(self).__name__}({self.stream!r}, revision={self.revision}, {fields})"


def _read(event: type[Event], recorded: RecordedEvent) -> Event:
    try:
        return event.from_recorded(recorded)
    except SchemaError as error:
        where = f"{recorded.event_type} at position {recorded.position} of {recorded.stream!r}"
        raise SchemaError(f"{error} (event {where})") from error


def unknown_event(owner: type[Aggregate], event_type: str, recorded: RecordedEvent | None) -> str:
    """Return what to say of an event that a class does not know."""
    where = ""
    if recorded is not None:
        where = f" (position {recorded.position} of {shown(recorded.stream)})"
    return (
        f"{owner.__name__} does not know the event type {shown(event_type)}{where}. Write a "
        f"handler for it, or say class {owner.__name__}(Aggregate, ignores=[{event_type!r}, …]), "
        "or unknown='keep' for the timeline"
    )


def handler_error(
    owner: type[Aggregate],
    handler: FunctionType,
    event_type: str,
    recorded: RecordedEvent | None,
    error: Exception,
) -> AggregateError:
    """Return the error for a handler that raised."""
    where = ""
    if recorded is not None:
        where = f" at position {recorded.position} of {shown(recorded.stream)}"
    return AggregateError(
        f"{owner.__name__}.{handler.__name__} cannot take {event_type}{where}: "
        f"{type(error).__name__}: {error}. A handler takes every event that was ever recorded; "
        "rules that refuse belong into commands"
    )


def column_value(owner: type[Aggregate], name: str, kind: Kind, value: Any) -> Any:
    """Return a field's value as its column has it, or say that it does not fit."""
    try:
        return to_column(kind, value)
    except (TypeError, AttributeError, EsnbError) as error:
        raise AggregateError(
            f"{owner.__name__}.{name} is declared {kind.name} and holds {shown(value)}: {error}"
        ) from error


def _default(owner: type[Aggregate], name: str) -> Any:
    for base in owner.__mro__:
        if base is Aggregate:
            break
        if name in vars(base):
            return vars(base)[name]
    return None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _names(owner: type[Aggregate], option: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str | type) or not isinstance(given, Iterable):
        given = (given,)
    names: list[str] = []
    for one in given:
        if isinstance(one, str):
            names.append(one)
        elif isinstance(one, type) and issubclass(one, Event):
            names += [one.event_type, *one.aliases]
        else:
            raise AggregateError(
                f"{owner.__name__}: {option} takes event classes and types, not {shown(one)}"
            )
    return tuple(dict.fromkeys(names))


def _handlers(owner: type[Aggregate]) -> dict[str, FunctionType]:
    found: dict[str, FunctionType] = {}
    for base in reversed(owner.__mro__):
        for name, member in vars(base).items():
            if name.startswith("when") and isinstance(member, FunctionType):
                found[name] = member
            elif name in found:
                del found[name]
    return found


def _events_of(owner: type, name: str, function: FunctionType) -> tuple[type[Event], ...]:
    parameters = list(inspect.signature(function).parameters.values())
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        raise AggregateError(
            f"{owner.__name__}.{name} is async or yields, so that calling it does nothing yet; "
            "a handler only sets fields"
        )
    if len(parameters) != 2:
        raise AggregateError(f"{owner.__name__}.{name} must take the aggregate and one event")
    annotation = parameters[1].annotation
    if isinstance(annotation, str):
        annotation = _resolved(annotation, function)
    given = (
        typing.get_args(annotation)
        if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
        else (annotation,)
    )
    for one in given:
        if not (isinstance(one, type) and issubclass(one, Event)):
            raise AggregateError(
                f"{owner.__name__}.{name}: annotate its event with an event class, such as "
                f"'{parameters[1].name}: OrderPlaced'; {shown(one)} is none"
            )
    return given


def _resolved(annotation: str, function: FunctionType) -> Any:
    """Evaluate an annotation that stands as text, where the class is being made."""
    places: list[Mapping[str, Any]] = [function.__globals__]
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is function.__globals__:
            places.append(frame.f_locals)
        frame = frame.f_back  # type: ignore[assignment]
    for names in (*reversed(places), vars(typing)):
        try:
            # The text of an annotation, in the code of whoever wrote the class.
            return eval(annotation, function.__globals__, dict(names))  # noqa: S307
        except NameError:
            continue
    return annotation


def _hints(owner: type) -> dict[str, Any]:
    hints: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base in (object, Aggregate):
            continue
        module = sys.modules.get(base.__module__)
        for name, annotation in inspect.get_annotations(base).items():
            if isinstance(annotation, str):
                anchor = _anchor(base, module)
                annotation = _resolved(annotation, anchor)
                if isinstance(annotation, str):
                    raise AggregateError(
                        f"{owner.__name__}.{name}: the type {annotation!r} is not known here"
                    )
            hints[name] = annotation
    return hints


def _anchor(base: type, module: Any) -> FunctionType:
    for member in vars(base).values():
        if isinstance(member, FunctionType):
            return member
    return FunctionType((lambda: None).__code__, vars(module) if module else {})
