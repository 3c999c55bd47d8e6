"""Which function decides on which command, and how it is asked."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import FunctionType
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from esnb.aggregate import Aggregate, Event
from esnb.errors import CommandError, CommandRejected, EsnbError, EventError, shown
from esnb.event import DomainEvent
from esnb.write.commands.command import Command, pattern_category

__all__ = ["Handler", "Handlers", "Letter", "event_id_of", "handles"]

F = TypeVar("F", bound=Callable[..., Any])

COMMAND, CAUSED_BY = "command", "caused_by"
# Of the 128 bits of a UUID: what the digest fills, and the marks of version 5.
_CHANCE = 0xFFFF_FFFF_FFFF_0FFF_3FFF_FFFF_FFFF_FFFF
_VERSION_5 = 0x5000_8000_0000_0000_0000


@dataclass(frozen=True)
class Mark:
    """What `handles` notes of a function."""

    commands: tuple[type[Command], ...]
    creates: bool | None
    of: type[Aggregate] | None
    names: Mapping[str, Any] = field(repr=False)


def handles(
    *commands: type[Command], creates: bool | None = False, of: type[Aggregate] | None = None
) -> Callable[[F], F]:
    """Make a function decide on commands.

    It is a method of the aggregate, ``def confirm(self, command)``, or a function
    ``def confirm(order: Order, command)``.  It looks at the state, and either raises
    `CommandRejected` naming the rule, or lets events happen: by ``order.apply(event)``, or by
    giving back an event or several.  It may be ``async``.  It may be called again, on a newer
    state, so whatever else it does must bear that.

    Parameters
    ----------
    *commands
        Classes of commands.
    creates
        Whether the aggregate is new: false, it must be there; true, it must not be; None,
        either.  One that an event ended is not there.
    of
        The aggregate class, for a function whose first parameter is not annotated with it.

    Raises
    ------
    CommandError
        If something else than a command class is given.
    """
    for command in commands:
        if not (isinstance(command, type) and issubclass(command, Command)):
            raise CommandError(
                f"@handles takes command classes, as in @handles(ConfirmOrder): {shown(command)}"
            )
    if not commands:
        raise CommandError("say which command, as in @handles(ConfirmOrder)")
    # Annotations that are texts are read where the function is written.
    names = sys._getframe(1).f_locals

    def marked(function: F) -> F:
        function._esnb_handles = Mark(commands, creates, of, names)  # type: ignore[attr-defined]
        return function

    return marked


@dataclass(eq=False)
class Letter:
    """A command and what is said of its sending.

    Attributes
    ----------
    command_id, first_id
        Ids of the command and of its first event, as texts.
    """

    command: Command
    actor: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    occurred_on: object = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    command_id: str = field(init=False, repr=False)
    first_id: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.command, Command):
            raise CommandError(
                f"a command is an object of a command class, not {shown(self.command)}"
            )
        if not isinstance(self.metadata, Mapping):
            raise CommandError(
                f"say the metadata of a command as a mapping: {shown(self.metadata)}"
            )
        for key in (COMMAND, CAUSED_BY):
            if key in self.metadata:
                raise CommandError(f"metadata: {key!r} is esnb's own; call it otherwise")
        # They are asked for often.
        self.command_id = str(self.command.command_id)
        self.first_id = event_id_of(self.command.command_id, 0)

    def event_id(self, place: int) -> str:
        """Return the id of an event by its number from 0: a UUID of version 5 (RFC 9562)."""
        return event_id_of(self.command.command_id, place) if place else self.first_id

    @property
    def correlation(self) -> str:
        """The conversation, which a command begins that is not part of one."""
        return self.correlation_id or self.command_id

    def envelope(self, now: datetime) -> Callable[[int, dict[str, Any]], dict[str, Any]]:
        """Return what makes the envelope of an event, of its number and of what is said of it."""
        metadata: dict[str, Any] = {**self.metadata, COMMAND: type(self.command).__name__}
        if self.causation_id is not None:
            metadata[CAUSED_BY] = self.causation_id
        said = {
            "actor": self.actor,
            "correlation_id": self.correlation,
            "causation_id": self.command_id,
            "occurred_on": now if self.occurred_on is None else self.occurred_on,
            "tags": self.tags,
            "metadata": metadata,
        }

        def made(place: int, own: dict[str, Any]) -> dict[str, Any]:
            for name in ("event_id", "causation_id"):
                if name in own:
                    raise CommandError(
                        f"the {name} of an event comes from its command; leave it out"
                    )
            found = said | own
            if "metadata" in own:
                if not isinstance(own["metadata"], Mapping):
                    raise CommandError("say the metadata of an event as a mapping")
                found["metadata"] = {**own["metadata"], **metadata}
            found["event_id"] = self.event_id(place)
            return found

        return made


def event_id_of(command_id: UUID, place: int) -> str:
    """Return the id of an event by the command that it comes from, and its number from 0."""
    # What uuid.uuid5 does, in a third of the time.
    name = command_id.bytes + str(place).encode()
    digest = hashlib.sha1(name, usedforsecurity=False).digest()
    text = f"{int.from_bytes(digest[:16], 'big') & _CHANCE | _VERSION_5:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@dataclass(frozen=True)
class Handler:
    """A function that decides on a command.

    Attributes
    ----------
    kind
        Class of the aggregates.
    creates
        As `handles` has it.
    waits
        Whether it is ``async``.
    """

    command: type[Command]
    kind: type[Aggregate]
    function: Callable[..., Any]
    name: str
    creates: bool | None
    waits: bool

    def decide(self, aggregate: Aggregate, letter: Letter, now: datetime) -> tuple[Event, ...]:
        """Return the events that a command leads to; `aggregate` moves with them."""
        return self._settled(aggregate, letter, self._begun(aggregate, letter, now))

    async def adecide(
        self, aggregate: Aggregate, letter: Letter, now: datetime
    ) -> tuple[Event, ...]:
        """Decide as `decide` does, with a function that is ``async``."""
        found = self._begun(aggregate, letter, now)
        try:
            made = await found
        except Exception as error:
            raise self._told(error, aggregate, letter) from error.__cause__
        return self._settled(aggregate, letter, made)

    def _begun(self, aggregate: Aggregate, letter: Letter, now: datetime) -> Any:
        gone = aggregate.ended or aggregate.revision < 0
        if self.creates is not None and gone != self.creates:
            category = self.kind.description.category
            there = "has ended" if aggregate.ended else "is there already"
            rule = f"the {category} {there}"
            if aggregate.revision < 0 and not aggregate.ended:
                rule = f"there is no such {category}"
            raise self._told(CommandRejected(rule), aggregate, letter)
        aggregate._said = letter.envelope(now)
        try:
            return self.function(aggregate, letter.command)
        except Exception as error:
            raise self._told(error, aggregate, letter) from error.__cause__

    def _settled(self, aggregate: Aggregate, letter: Letter, given: Any) -> tuple[Event, ...]:
        try:
            return taken(aggregate, given, self.name)
        except Exception as error:
            raise self._told(error, aggregate, letter) from error.__cause__

    def _told(self, error: Exception, aggregate: Aggregate, letter: Letter) -> Exception:
        """Return an error with what is known of the command."""
        if isinstance(error, CommandRejected):
            error.command = letter.command
            error.stream, error.revision = aggregate.stream, aggregate.revision
        elif isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_context=False)[0]
            place = ".".join(map(str, first["loc"])) or "payload"
            return EventError(
                place, f"{first['msg']} ({error.title}, made by {self.name} of this command)"
            )
        elif not isinstance(error, EsnbError):
            error.add_note(
                f"in {self.name}, which decides on {type(letter.command).__name__} for "
                f"{shown(aggregate.stream)} at revision {aggregate.revision}; nothing was written"
            )
        return error


def taken(aggregate: Aggregate, given: Any, name: str) -> tuple[Event, ...]:
    """Let happen to an aggregate what a function gave back; return all that happened to it.

    Parameters
    ----------
    given
        Nothing, an event, or several; the function may have applied its events instead.
    name
        Of the function, for errors.

    Raises
    ------
    CommandError
        If it gave back something else, or both applied events and gave some back.
    """
    applied = len(aggregate.uncommitted)
    if given is None:
        return aggregate.uncommitted
    if isinstance(given, Event | DomainEvent):
        given = (given,)
    if isinstance(given, Awaitable):
        given.close()  # type: ignore[attr-defined]
        raise CommandError(f"{name} gave back something to wait for; make it async")
    if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
        raise CommandError(f"{name} must give back events or nothing, not {shown(given)}")
    for event in given:
        if not isinstance(event, Event):
            raise CommandError(f"{name} gave back {shown(event)}, no object of an event class")
        if applied:
            raise CommandError(f"{name} both applied events and gave some back; do one of the two")
        aggregate.apply(event)
    return aggregate.uncommitted


class Handlers:
    """The handlers of some aggregate classes and functions, by command.

    Raises
    ------
    CommandError
        If two of them decide on one command, or one says not of which aggregate.
    """

    def __init__(self, *given: type[Aggregate] | Callable[..., Any]) -> None:
        self._by_command: dict[type[Command], Handler] = {}
        for one in given:
            found = _methods(one) if isinstance(one, type) else [_of_function(one)]
            for function, mark, kind, name in found:
                for command in mark.commands:
                    self._add(command, function, mark, kind, name)

    def _add(
        self, command: type[Command], function: Any, mark: Mark, kind: type[Aggregate], name: str
    ) -> None:
        other = self._by_command.get(command)
        if other is not None and other.function is not function:
            raise CommandError(
                f"{command.__name__} is handled twice, by {other.name} and {name}; keep one"
            )
        category = kind.description.category
        named = pattern_category(command)
        if named is None and f"{category}_id" not in command.model_fields:
            raise CommandError(
                f"{command.__name__} does not say which {category}: give it a field {category}_id, "
                f"or say class {command.__name__}(Command, stream='{category}-{{…}}')"
            )
        if named is not None and named != category:
            raise CommandError(
                f"{command.__name__} is for the category {named!r}, and {name} decides on "
                f"{category!r}"
            )
        waits = inspect.iscoroutinefunction(function)
        self._by_command[command] = Handler(command, kind, function, name, mark.creates, waits)

    def __iter__(self) -> Any:
        return iter(self._by_command.values())

    def of(self, command: Command) -> Handler:
        """Return the handler of a command.

        Raises
        ------
        CommandError
            If there is none, naming those that there are.
        """
        handler = self._by_command.get(type(command))
        if handler is None:
            known = ", ".join(sorted(kind.__name__ for kind in self._by_command)) or "none"
            raise CommandError(
                f"nothing handles {type(command).__name__}; handled are: {known}. Give its "
                "aggregate class or function to the dispatcher"
            )
        return handler


Found = tuple[Callable[..., Any], Mark, type[Aggregate], str]


def _methods(kind: type) -> list[Found]:
    if not issubclass(kind, Aggregate):
        raise CommandError(f"{shown(kind)} is no aggregate class")
    marks: dict[str, Mark] = {}
    for base in reversed(kind.__mro__):
        for name, member in vars(base).items():
            mark = getattr(member, "_esnb_handles", None)
            if isinstance(member, FunctionType) and isinstance(mark, Mark):
                marks[name] = mark
    # What a class extends may decide otherwise under the same name.
    return [
        (getattr(kind, name), mark, kind, f"{kind.__name__}.{name}") for name, mark in marks.items()
    ]


def _of_function(function: Any) -> Found:
    mark = getattr(function, "_esnb_handles", None)
    name = getattr(function, "__qualname__", shown(function))
    if not isinstance(mark, Mark):
        raise CommandError(f"{name} is no handler: say @handles(…) above it")
    kind = mark.of or _annotated(function, mark)
    if not (isinstance(kind, type) and issubclass(kind, Aggregate)):
        raise CommandError(
            f"{name} does not say of which aggregate: annotate its first parameter, as in "
            f"(order: Order, command), or say @handles(…, of=Order)"
        )
    return function, mark, kind, name


def _annotated(function: Callable[..., Any], mark: Mark) -> Any:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        return None
    annotation = parameters[0].annotation
    if isinstance(annotation, str):
        names = {**getattr(function, "__globals__", {}), **mark.names}
        # A name and nothing else: no text is run for it.
        return names.get(annotation)
    return annotation
