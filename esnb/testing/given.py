"""Given events, when a command comes, then events, a state or a refusal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn, overload

from esnb import instants
from esnb.aggregate import Aggregate, Event
from esnb.errors import AggregateError, CommandError, CommandRejected, shown
from esnb.event import DomainEvent, RecordedEvent
from esnb.testing.expected import ABSENT, State, diff, differing, listed
from esnb.testing.saga import Answers, GivenSaga, InStream
from esnb.write.commands.command import Command
from esnb.write.commands.handlers import Handler, Handlers, Letter
from esnb.write.sagas.saga import Saga

__all__ = ["Given", "When", "given", "rejected"]

_SHOWN = 6


@dataclass(frozen=True)
class Rejected:
    """What `rejected` expects."""

    rule: str | re.Pattern[str] | None
    facts: dict[str, object]


def rejected(rule: str | re.Pattern[str] | None = None, **facts: object) -> Rejected:
    """Expect that a rule refuses the command.

    Parameters
    ----------
    rule
        The rule to the letter, or a compiled regular expression; any rule without it.
    **facts
        What the refusal must tell, others aside.
    """
    return Rejected(rule, facts)


@overload
def given(
    owner: type[Aggregate] | Aggregate,
    *events: Event | DomainEvent,
    handlers: Sequence[Callable[..., Any]] = ...,
    clock: Callable[[], datetime] = ...,
) -> Given: ...
@overload
def given(
    owner: type[Saga],
    *events: Event | DomainEvent | InStream | Answers | timedelta,
    id: str = ...,
    clock: Callable[[], datetime] = ...,
) -> GivenSaga: ...
def given(
    owner: type[Aggregate] | Aggregate | type[Saga],
    *events: Any,
    handlers: Sequence[Callable[..., Any]] = (),
    id: str = "1",
    clock: Callable[[], datetime] = instants.now,
) -> Given | GivenSaga:
    """Say what happened before, to an aggregate or to a saga.

    Parameters
    ----------
    owner
        The class of an aggregate, or a new object of it with a stream, ``Order("order-17")``;
        or the class of a saga.
    *events
        What happened, in order: event objects, or events that were read from a log.  For a saga
        also time that went by (a timedelta), streams
        (`in_stream`), and how its commands ended (`answers`): all are accepted otherwise.
    handlers
        Functions that handle commands, beside the methods of an aggregate.
    id
        Of a saga.
    clock
        Tells when the events of a command occur; when the first event comes to a saga.

    Raises
    ------
    AggregateError
        If the aggregate is not new, or what happened is no event.
    """
    if isinstance(owner, type) and issubclass(owner, Saga):
        return GivenSaga(owner, id, events, clock())
    if isinstance(owner, Aggregate):
        if owner.revision >= 0 or owner.uncommitted:
            raise AggregateError("say what happened to it as events: it must be new")
        kind, stream = type(owner), owner.stream
        category = kind.description.category
        if stream and not stream.startswith(f"{category}-"):
            stream = f"{category}-{stream}"
    else:
        kind, stream = owner, ""
    for event in events:
        if not isinstance(event, Event | DomainEvent | RecordedEvent):
            raise AggregateError(
                f"given is what happened: say event objects, or events of a log, not {shown(event)}"
            )
    return Given(kind, stream, events, Handlers(kind, *handlers), clock)


@dataclass(frozen=True)
class Given:
    """What happened before; see `given`."""

    kind: type[Aggregate]
    stream: str
    events: tuple[Event | DomainEvent | RecordedEvent, ...]
    _handlers: Handlers = field(repr=False)
    _clock: Callable[[], datetime] = field(repr=False)

    def when(self, command: Command, **envelope: Any) -> When:
        """Send a command; say next what then happens.

        Parameters
        ----------
        **envelope
            As `esnb.Commands.send` has it.

        Raises
        ------
        CommandError
            If nothing handles it, or it is for another aggregate.
        """
        letter, handler, aggregate = self._begun(command, envelope)
        if not handler.waits:
            return self._ended(letter, aggregate, self._decided(letter, handler, aggregate))
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.awhen(command, **envelope))
        raise CommandError(f"{handler.name} is async; say await given(…).awhen(…)")

    async def awhen(self, command: Command, **envelope: Any) -> When:
        """Send a command to a handler that is ``async``."""
        letter, handler, aggregate = self._begun(command, envelope)
        if not handler.waits:
            return self.when(command, **envelope)
        refused = None
        try:
            await handler.adecide(aggregate, letter, self._clock())
        except CommandRejected as error:
            refused = error
        return self._ended(letter, aggregate, refused)

    def _begun(
        self, command: Command, envelope: dict[str, Any]
    ) -> tuple[Letter, Handler, Aggregate]:
        letter = Letter(command, **envelope)
        handler = self._handlers.of(command)
        stream = command.stream_in(self.kind.description.category)
        if self.stream and stream != self.stream:
            raise CommandError(
                f"{type(command).__name__} is for {shown(stream)}, and given is {self.stream!r}"
            )
        return letter, handler, self.kind.fold(self._recorded(stream), stream=stream)

    def _recorded(self, stream: str) -> list[RecordedEvent]:
        written = [
            event.to_domain_event() if isinstance(event, Event) else event for event in self.events
        ]
        return [
            RecordedEvent.of(event, place, stream, place, event.occurred_on)
            for place, event in enumerate(written)
        ]

    def _decided(
        self, letter: Letter, handler: Handler, aggregate: Aggregate
    ) -> CommandRejected | None:
        try:
            handler.decide(aggregate, letter, self._clock())
        except CommandRejected as error:
            return error
        return None

    def _ended(self, letter: Letter, aggregate: Aggregate, refused: CommandRejected | None) -> When:
        stream, revision = aggregate.stream, aggregate.revision
        replayed = self.kind.fold(self._recorded(stream), stream=stream)
        events = () if refused is not None else aggregate.uncommitted
        for place, event in enumerate(events, revision + 1):
            written = event.to_domain_event()
            replayed.replay(RecordedEvent.of(written, place, stream, place, written.occurred_on))
        when = When(letter.command, self, events, refused, replayed)
        if refused is None:
            when._check_moved(aggregate)
        return when


@dataclass(frozen=True)
class When:
    """What a command led to.

    Attributes
    ----------
    events
        What happened; nothing if it was refused.
    refused
        Why it was refused, or None.
    aggregate
        The aggregate afterwards, as it is loaded again from its events.
    """

    command: Command
    before: Given
    events: tuple[Event, ...]
    refused: CommandRejected | None
    aggregate: Aggregate

    def then(self, *expected: Event | Rejected | State) -> When:
        """Say what happens: events in order, `rejected`, `state`; nothing at all if left out.

        Where only a `state` is said, any events are right.

        Raises
        ------
        AssertionError
            If something else happened, with the difference.
        """
        events = [one for one in expected if isinstance(one, Event)]
        for one in expected:
            if isinstance(one, Rejected):
                self._check_refused(one, events)
            elif not isinstance(one, Event | State):
                raise CommandError(f"then says events, rejected(…) and state(…), not {shown(one)}")
        if not any(isinstance(one, Rejected) for one in expected):
            self._check_accepted(events, any(isinstance(one, State) for one in expected))
        for one in expected:
            if isinstance(one, State):
                self._check_state(one)
        return self

    def _check_refused(self, expected: Rejected, events: list[Event]) -> None:
        if events:
            raise CommandError("what is refused has no events; say one of the two")
        named = "a refusal" if expected.rule is None else f"a refusal by {_rule(expected.rule)}"
        if self.refused is None:
            self._fail(f"expected {named}, and it was accepted:", _lines(self.events))
        found = self.refused.rule
        rule = expected.rule
        fits = rule is None or (found == rule if isinstance(rule, str) else rule.search(found))
        if not fits:
            self._fail(f"expected {named}, and it was refused by {found!r}", ())
        for name, value in expected.facts.items():
            if self.refused.facts.get(name, ABSENT) != value:
                told = self.refused.facts
                self._fail(
                    f"expected a refusal that tells {name}={value!r}, and it tells",
                    [f"  {key}={item!r}" for key, item in told.items()] or ["  nothing"],
                )

    def _check_accepted(self, events: list[Event], any_events: bool) -> None:
        if self.refused is not None:
            what = "events" if events else "nothing to happen"
            self._fail(f"expected {what}, and it was {_refusal(self.refused)}", ())
        if any_events and not events:
            return
        if [_value(event) for event in events] != [_value(event) for event in self.events]:
            self._fail("other events happened", diff(_lines(events), _lines(self.events)))

    def _check_state(self, expected: State) -> None:
        kind = type(self.aggregate)
        names = (*kind.description.fields, *expected.fields)
        known = {name: getattr(self.aggregate, name, ABSENT) for name in names}
        found = {name: value for name, value in known.items() if value is not ABSENT}
        lines = differing(expected, found, kind.__name__)
        if lines:
            self._fail("the state is another", lines)

    def _check_moved(self, decided: Aggregate) -> None:
        """Check that the state moved by its events, and by nothing else."""
        for name in type(decided).description.fields:
            moved, replayed = vars(decided).get(name), vars(self.aggregate).get(name)
            if moved != replayed:
                self._fail(
                    f"the handler left {name} = {moved!r}, and replay of its events gives "
                    f"{replayed!r}: let an event move it",
                    _lines(self.events),
                )

    def _fail(self, what: str, lines: Sequence[str]) -> NoReturn:
        before = [
            type(e).event_type if isinstance(e, Event) else e.event_type for e in self.before.events
        ]
        more = f"{len(before) - _SHOWN} more, " if len(before) > _SHOWN else ""
        after = f"after {more}{', '.join(before[-_SHOWN:])}" if before else "that is new"
        about = f"{type(self.command).__name__} on {self.before.kind.__name__} {after}: {what}"
        raise AssertionError("\n".join([about, *lines]))


def _rule(rule: str | re.Pattern[str]) -> str:
    return repr(rule) if isinstance(rule, str) else f"/{rule.pattern}/"


def _refusal(refused: CommandRejected) -> str:
    told = ", ".join(f"{name}={value!r}" for name, value in refused.facts.items())
    return f"refused by {refused.rule!r}" + (f" ({told})" if told else "")


def _value(event: Event) -> tuple[type[Event], dict[str, Any]]:
    return type(event), event.model_dump()


def _lines(events: Sequence[Event]) -> list[str]:
    return listed(
        (type(event).__name__, event.model_dump(mode="json", by_alias=True)) for event in events
    )
