"""Sagas: what follows from what, across aggregates, written as an ordinary class."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import FunctionType
from typing import Any, ClassVar, Optional, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from esnb.aggregate import Event
from esnb.errors import SagaError, shown
from esnb.event import RecordedEvent
from esnb.schema import category_of
from esnb.write.commands.command import Command

__all__ = ["Asked", "Description", "Retry", "Saga", "late", "refused"]

F = TypeVar("F", bound=Callable[..., Any])

_COLLECTIONS: dict[Any, Callable[[], Any]] = {dict: dict, list: list, set: set}
# What every saga has, or its events tell of it.
_TAKEN = frozenset(
    {
        "id", "stream", "now", "send", "wait", "got", "forget", "compensate", "done", "id_of",
        "description", "status", "step", "waiting", "deadline", "tries", "error", "did",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Retry:
    """How often a command is tried, and how long the pauses are.

    Attributes
    ----------
    times
        Tries in all, the first one too.
    first, factor, most
        The first pause; how much longer each next one is; the longest.
    refusals
        Whether what a rule refused is tried again too.  Mostly it will be refused again; what
        failed for another reason is tried again in any case.
    """

    times: int = 5
    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    most: timedelta = timedelta(minutes=10)
    refusals: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.times, int) or self.times < 1:
            raise SagaError(f"Retry(times={shown(self.times)}): say a whole number from 1")
        if not timedelta(0) < self.first <= self.most or not self.factor >= 1:
            raise SagaError("Retry: pauses are above 0 and do not become shorter")

    def pause(self, tries: int) -> timedelta:
        """Return how long to wait after so many tries."""
        seconds = self.first.total_seconds()
        longest = self.most.total_seconds()
        for _ in range(tries - 1):
            seconds = min(seconds * self.factor, longest)
        return timedelta(seconds=seconds)

    def told(self) -> list[Any]:
        """Return it as JSON has it."""
        first, most = self.first.total_seconds(), self.most.total_seconds()
        return [self.times, first, self.factor, most, self.refusals]

    @classmethod
    def of(cls, told: list[Any]) -> Retry:
        """Return what `told` tells."""
        times, first, factor, most, refusals = told
        return cls(times, timedelta(seconds=first), factor, timedelta(seconds=most), refusals)


def late(what: str) -> Callable[[F], F]:
    """Make a method of a saga say what to do when something waited for does not come in time.

    Without one the saga goes back (`Saga.compensate`).
    """
    return _mark("_esnb_late", what)


def refused(step: str) -> Callable[[F], F]:
    """Make a method ``(self, reason)`` of a saga say what to do when a step fails for good.

    Without one the saga goes back, or is stuck, as its option ``on_failure`` says.
    """
    return _mark("_esnb_refused", step)


def _mark(name: str, what: str) -> Callable[[F], F]:
    if not isinstance(what, str):
        raise SagaError(f"say a name, as in @late('payment'), not {shown(what)}")

    def marked(function: F) -> F:
        setattr(function, name, what)
        return function

    return marked


@dataclass
class Asked:
    """What a handler asked for."""

    send: list[dict[str, Any]] = field(default_factory=list)
    wait: dict[str, timedelta | None] = field(default_factory=dict)
    got: list[str] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    reason: str | None = None
    done: bool = False


class Saga:
    """Base of sagas: typed fields, and handlers that say which commands follow from an event.

    A method whose name begins with ``when`` handles the events that its parameter is annotated
    with.  It may set fields, and calls `send`, `wait`, `got`, `forget`, `compensate` and `done`;
    it does nothing else, since after a crash it may be called again.  A field without a default
    begins as None, a set, dict or list as an empty one; fields are kept as JSON.

    Options of the class: ``begins``, event classes or types that begin a saga; ``by="order"``,
    how an event tells which saga it is for: by its stream ``order-17``, its tag ``order:17``, or
    its payload key ``order`` or ``order_id``; without it by its ``correlation_id``.
    ``category`` of the sagas' own streams (the class name by default); ``retry``, a `Retry`;
    ``on_failure``, what becomes of a saga one of whose steps fails for good: ``"compensate"``
    or ``"stuck"``.

    Attributes
    ----------
    id, stream
        Which one it is; where its own events are.
    now
        The time at which it decides.

    Examples
    --------
    >>> class Placed(Event):
    ...     amount: int
    >>> class Paid(Event): ...
    >>> class Charge(Command):
    ...     payment_id: str
    ...     amount: int
    >>> class Refund(Command):
    ...     payment_id: str
    >>> class Fulfilment(Saga, by="order", begins=Placed):
    ...     amount: int = 0
    ...     def when_placed(self, e: Placed):
    ...         self.amount = e.amount
    ...         charge = Charge(payment_id=self.id, amount=e.amount)
    ...         self.send(charge, undo=Refund(payment_id=self.id))
    ...         self.wait("payment", within=timedelta(hours=1))
    ...     def when_paid(self, e: Paid):
    ...         self.got("payment")
    ...         self.done()
    >>> sorted(Fulfilment.description.handlers)
    ['Paid', 'Placed']
    """

    description: ClassVar[Description]

    id: str
    stream: str
    now: datetime
    _asked: Asked

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__()
        cls.description = Description(cls, options)

    @classmethod
    def id_of(cls, event: RecordedEvent) -> str | None:
        """Return the id of the saga that an event is for; None for no saga."""
        by = cls.description.by
        if by is None:
            return event.correlation_id
        own, _, number = event.stream.partition("-")
        if own == by and number:
            return number
        for tag in event.tags:
            if tag.startswith(f"{by}:"):
                return tag[len(by) + 1 :] or None
        value = event.data.get(by, event.data.get(f"{by}_id"))
        if isinstance(value, bool) or not isinstance(value, str | int):
            return None
        return str(value).removeprefix(f"{by}-") or None

    def send(
        self,
        command: Command,
        *,
        undo: Command | None = None,
        step: str | None = None,
        retry: Retry | None = None,
    ) -> None:
        """Send a command, after those that were asked for before.

        Parameters
        ----------
        undo
            What takes it back, should the saga go back after it was accepted and changed
            something.  One a step: that of the newest time.
        step
            Name of the step, that of the class of the command by default.  A step may be taken
            again, which makes it another command.
        retry
            How often it is tried; as the class says by default.

        Raises
        ------
        SagaError
            If it is no command.
        """
        for one in (command, *(() if undo is None else (undo,))):
            if not isinstance(one, Command):
                raise SagaError(f"send takes an object of a command class, not {shown(one)}")
        item: dict[str, Any] = {"step": step or type(command).__name__, **_written(command)}
        if undo is not None:
            item["undo"] = _written(undo)
        if retry is not None:
            item["retry"] = retry.told()
        self._asked.send.append(item)

    def wait(self, what: str, *, within: timedelta | None = None) -> None:
        """Wait for something until `got` is called for it; anew if it is waited for already.

        Parameters
        ----------
        what
            A name, by which a method marked with `late` may know it.
        within
            How long, from now; for ever without it.
        """
        if within is not None and not (isinstance(within, timedelta) and within > timedelta(0)):
            raise SagaError(f"within={shown(within)}: say a timedelta above 0")
        self._asked.wait[_name(what)] = within
        if what in self._asked.got:
            self._asked.got.remove(what)

    def got(self, what: str) -> None:
        """Wait for something no more, because it came or is no longer wanted."""
        self._asked.wait.pop(_name(what), None)
        self._asked.got.append(what)

    def forget(self, step: str) -> None:
        """Leave a step alone should the saga go back, because it came to nothing."""
        self._asked.forget.append(_name(step))

    def compensate(self, reason: str) -> None:
        """Go back: take back all steps, the newest first, and end.

        What was not accepted yet is not sent any more, and events are not handled any more.
        """
        self._asked.reason = _name(reason)

    def done(self) -> None:
        """End well, as soon as all that was asked for is accepted."""
        self._asked.done = True

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.stream!r})"


class Description:
    """What a saga class says of itself.

    Attributes
    ----------
    category
        Of the streams of its own events.
    begins
        Types of the events that begin one.
    handlers
        Event class and function by event type.
    late, refused
        Functions by what was waited for, and by step.
    model
        Reads and writes the fields.
    """

    def __init__(self, owner: type[Saga], options: dict[str, Any]) -> None:
        self.owner = owner
        self.category: str = options.pop("category", None) or _snake(owner.__name__)
        self.by: str | None = options.pop("by", None)
        self.begins = _types(options.pop("begins", ()))
        self.retry: Retry = options.pop("retry", Retry())
        self.on_failure: str = options.pop("on_failure", "compensate")
        name = owner.__name__
        if options:
            raise SagaError(
                f"{name} has no option {shown(next(iter(options)))}; there are "
                "begins, by, category, retry, on_failure"
            )
        if not self.category or category_of(self.category) != self.category:
            raise SagaError(f"{name}: {shown(self.category)} is no category: it ends at the '-'")
        if self.by is not None and category_of(self.by) != self.by:
            raise SagaError(f"{name}: by={shown(self.by)} has a '-' in it, so it is no category")
        if not isinstance(self.retry, Retry) or self.on_failure not in ("compensate", "stuck"):
            raise SagaError(f"{name}: retry is a Retry, on_failure 'compensate' or 'stuck'")
        self.handlers: dict[str, tuple[type[Event], FunctionType]] = {}
        self.late: dict[str, FunctionType] = {}
        self.refused: dict[str, FunctionType] = {}
        for member, function in _methods(owner).items():
            self._handle(member, function)
        unknown = self.begins - set(self.handlers)
        if not self.begins or unknown:
            told = (
                f"{min(unknown)} begins it and is not handled" if unknown else "nothing begins it"
            )
            raise SagaError(f"{name}: {told}; say begins=OrderPlaced and write its handler")
        self.model = _model(owner)
        self.fields = frozenset(self.model.model_fields)
        self.initial: dict[str, Any] = self.model().model_dump(mode="json")

    def _handle(self, member: str, function: FunctionType) -> None:
        name = f"{self.owner.__name__}.{member}"
        for mark, known, many in (
            ("_esnb_late", self.late, 1),
            ("_esnb_refused", self.refused, 2),
        ):
            what = getattr(function, mark, None)
            if what is not None:
                if what in known:
                    raise SagaError(f"{name}: {shown(what)} has a method already")
                if function.__code__.co_argcount != many:
                    raise SagaError(f"{name} must take {'self, reason' if many == 2 else 'self'}")
                known[what] = function
        if not member.startswith("when"):
            return
        for event in _events_of(name, function):
            for event_type in (event.event_type, *event.aliases):
                if event_type in self.handlers:
                    raise SagaError(f"{name}: {event_type} is handled already")
                self.handlers[event_type] = (event, function)

    def read(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields as Python values, of JSON values."""
        known = {name: value for name, value in fields.items() if name in self.fields}
        return dict(self.model.model_validate(known).__dict__)

    def write(self, saga: Saga) -> dict[str, Any]:
        """Return the fields of a saga as JSON values.

        Raises
        ------
        SagaError
            If a value does not fit its type, or something is set that is no field.
        """
        held = {name: value for name, value in vars(saga).items() if name not in _HELD}
        other = held.keys() - self.fields
        if other:
            raise SagaError(f"{saga!r} has no field {shown(min(other))} that could be kept")
        try:
            return self.model.model_validate(held).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise SagaError(f"{saga!r}.{place}: {first['msg']}") from None


_HELD = {"id", "stream", "now", "_asked"}


def _written(command: Command) -> dict[str, Any]:
    fields = command.model_dump(mode="json", exclude={"command_id"})
    if type(command)(command_id=command.command_id, **fields) != command:
        raise SagaError(f"{shown(command)} is another command when it comes back from JSON")
    return {"command": type(command).__name__, "fields": fields}


def _name(what: object) -> str:
    if not isinstance(what, str) or not what:
        raise SagaError(f"say a text, not {shown(what)}")
    return what


def _types(given: Any) -> frozenset[str]:
    if isinstance(given, str) or (isinstance(given, type) and issubclass(given, Event)):
        given = (given,)
    names: set[str] = set()
    for one in given:
        names.update((one,) if isinstance(one, str) else (one.event_type, *one.aliases))
    return frozenset(names)


def _methods(owner: type[Saga]) -> dict[str, FunctionType]:
    found: dict[str, FunctionType] = {}
    for base in reversed(owner.__mro__):
        for name, member in vars(base).items():
            found.pop(name, None)
            if isinstance(member, FunctionType) and (
                name.startswith("when")
                or hasattr(member, "_esnb_late")
                or hasattr(member, "_esnb_refused")
            ):
                found[name] = member
    return found


def _events_of(name: str, function: FunctionType) -> tuple[type[Event], ...]:
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 2:
        raise SagaError(f"{name} must take the saga and one event")
    annotation = _resolved(parameters[1].annotation, function.__globals__)
    union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    given = typing.get_args(annotation) if union else (annotation,)
    for one in given:
        if not (isinstance(one, type) and issubclass(one, Event)):
            raise SagaError(
                f"{name}: annotate its event with an event class, such as "
                f"'{parameters[1].name}: OrderPlaced'; {shown(one)} is none"
            )
    return given


def _model(owner: type[Saga]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for base in reversed(owner.__mro__):
        if base in (object, Saga):
            continue
        names = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        for name, given in inspect.get_annotations(base).items():
            annotation = _resolved(given, names)
            if name.startswith("_") or typing.get_origin(annotation) is ClassVar:
                continue
            if name in _TAKEN or isinstance(annotation, str):
                why = "the name is esnb's own" if name in _TAKEN else f"{given!r} is not known here"
                raise SagaError(f"{owner.__name__}.{name}: {why}")
            fields[name] = _field(owner, name, annotation)
    config = ConfigDict(
        validate_default=True, protected_namespaces=(), ser_json_inf_nan="constants"
    )
    try:
        made: type[BaseModel] = create_model(f"{owner.__name__}Fields", __config__=config, **fields)
        made()
    except Exception as error:
        raise SagaError(f"the fields of {owner.__name__} cannot be kept: {error}") from error
    return made


def _field(owner: type[Saga], name: str, annotation: Any) -> tuple[Any, Any]:
    absent = object()
    default = next((vars(b)[name] for b in owner.__mro__ if name in vars(b)), absent)
    make = _COLLECTIONS.get(typing.get_origin(annotation) or annotation)
    if default is not absent:
        return Optional[annotation], Field(default=default)  # noqa: UP045
    if make is not None:
        return annotation, Field(default_factory=make)
    return Optional[annotation], Field(default=None)  # noqa: UP045


def _resolved(annotation: Any, names: Mapping[str, Any]) -> Any:
    """Evaluate an annotation that stands as text, where the class is being made."""
    if not isinstance(annotation, str):
        return annotation
    frame = sys._getframe(1)
    places: list[dict[str, Any]] = []
    while frame is not None:
        if frame.f_globals is names:
            places.append(dict(frame.f_locals))
        frame = frame.f_back  # type: ignore[assignment]
    for place in (*places, {}):
        try:
            # The text of an annotation, in the code of whoever wrote the class.
            return eval(annotation, dict(names), place)  # noqa: S307
        except NameError:
            continue
    return annotation


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
