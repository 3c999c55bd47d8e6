"""Given what happened, when something happens or time goes by, then a saga sends commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NoReturn

from esnb import instants
from esnb.aggregate import Event
from esnb.errors import CommandError, SagaError, shown
from esnb.event import DomainEvent, RecordedEvent
from esnb.testing.expected import State, diff, differing, listed
from esnb.write.commands.command import Command
from esnb.write.commands.dispatch import Outcome
from esnb.write.sagas.saga import Saga
from esnb.write.sagas.state import Head
from esnb.write.sagas.state import State as Standing
from esnb.write.sagas.steps import Steps

__all__ = ["Answers", "GivenSaga", "InStream", "SentCommand", "WhenSaga", "answers", "in_stream"]

_SHOWN = 6


@dataclass(frozen=True)
class InStream:
    """What `in_stream` says."""

    stream: str
    event: Event | DomainEvent


@dataclass(frozen=True)
class Answers:
    """What `answers` says."""

    command: type[Command]
    how: tuple[bool | Exception, ...]


Item = Event | DomainEvent | InStream | Answers | timedelta


def in_stream(stream: str, event: Event | DomainEvent) -> InStream:
    """Say in which stream an event is, where the saga looks at it, or is found by it.

    Events that are given without one are taken to be for the saga.  One that is given with its
    stream has to be: that is checked, by ``id_of`` as a runner does.
    """
    return InStream(stream, event)


def answers(command: type[Command], *how: bool | Exception) -> Answers:
    """Say how a command of a saga ends from here on.

    Parameters
    ----------
    how
        ``CommandRejected("sold out")`` or whatever else its handler raises; True, it is accepted,
        as all commands are of which nothing is said; False, it had nothing to change.  Several
        for one try after the other, the last of them for all that come after.

    Examples
    --------
    >>> from esnb import Command, CommandRejected
    >>> class ReserveStock(Command, stream="stock-{sku}"):
    ...     sku: str
    >>> sold_out = answers(ReserveStock, CommandRejected("sold out"))
    >>> away_twice = answers(ReserveStock, ConnectionError("away"), ConnectionError("away"), True)
    """
    if not (isinstance(command, type) and issubclass(command, Command)):
        raise CommandError(f"answers takes a command class, not {shown(command)}")
    for one in how:
        if not isinstance(one, bool | Exception):
            raise CommandError(f"a command ends with an error, True or False, not {shown(one)}")
    if not how:
        raise CommandError("say how the command ends: an error, True or False")
    return Answers(command, how)


@dataclass(frozen=True)
class SentCommand:
    """A command that a saga sent.

    Attributes
    ----------
    name, fields
        Its class, and its fields as JSON has them, its id aside.
    undoes
        Whether it takes a step back.
    ended
        As `answers` has it.
    at
        When it was sent.
    """

    name: str
    fields: Mapping[str, Any]
    undoes: bool
    ended: bool | Exception
    at: datetime


@dataclass(frozen=True)
class GivenSaga:
    """What happened before; see `given`."""

    kind: type[Saga]
    id: str
    items: tuple[Item, ...]
    _begin: datetime = field(repr=False)

    def when(self, *items: Event | DomainEvent | InStream | Answers | timedelta) -> WhenSaga:
        """Let events happen, or time go by (a timedelta); say next what is then sent.

        Raises
        ------
        SagaError
            If an event that is given with its stream is for another saga.
        """
        one = _One(self.kind, self.id, self._begin)
        for item in self.items:
            one.take(item)
        before = len(one.sent)
        for item in items:
            one.take(item)
        return WhenSaga(self, items, tuple(one.sent[before:]), one.told())


@dataclass(frozen=True)
class WhenSaga:
    """What a saga did.

    Attributes
    ----------
    commands
        What it sent, in order.  Each try is there, and what takes steps back.
    fields
        Its fields afterwards, and ``status``, ``step``, ``waiting``, ``deadline``, ``tries``,
        ``error``, as `esnb.write.SagaRunner.status` has them.
    """

    before: GivenSaga
    items: tuple[Item, ...]
    commands: tuple[SentCommand, ...]
    fields: Mapping[str, Any]

    def then(self, *expected: Command | State) -> WhenSaga:
        """Say which commands are sent, in order, and `state`; none at all if left out.

        Where only a `state` is said, any commands are right.  A saga that is stuck, because its
        handler raised or a step failed, is wrong unless ``state(status="stuck")`` is said.

        Raises
        ------
        AssertionError
            If something else was sent, with the difference.
        """
        wanted = [one for one in expected if isinstance(one, Command)]
        states = [one for one in expected if isinstance(one, State)]
        for one in expected:
            if not isinstance(one, Command | State):
                raise CommandError(f"then says commands and state(…), not {shown(one)}")
        stuck = self.fields["status"] == "stuck"
        if stuck and not any(one.fields.get("status") == "stuck" for one in states):
            self._fail(f"it is stuck: {self.fields['error']}", ())
        if wanted or not states:
            told = [(type(one).__name__, _fields(one)) for one in wanted]
            if told != [(one.name, one.fields) for one in self.commands]:
                lines = listed(told), listed([(one.name, one.fields) for one in self.commands])
                self._fail("other commands were sent", diff(*lines))
        for state in states:
            different = differing(state, self.fields, self.before.kind.__name__)
            if different:
                self._fail("the state is another", different)
        return self

    def _fail(self, what: str, lines: Sequence[str]) -> NoReturn:
        happened = ", ".join(map(_named, self.items)) or "nothing"
        before = ", ".join(map(_named, self.before.items[-_SHOWN:]))
        more = len(self.before.items) - _SHOWN
        after = f" after {f'{more} more, ' if more > 0 else ''}{before}" if before else ""
        about = f"{self.before.kind.__name__} at {happened}{after}: {what}"
        raise AssertionError("\n".join([about, *lines]))


class _One:
    """One saga with a runner that never sleeps, and whoever answers its commands.

    It decides with the very steps of a runner; only log and aggregates are left out.
    """

    def __init__(self, kind: type[Saga], saga_id: str, now: datetime) -> None:
        self._kind, self._id, self._now = kind, saga_id, now
        self._steps = Steps(kind.description)
        self._answers: dict[str, list[bool | Exception]] = {}
        self._place = 0
        self.state: Standing = self._steps.new(f"{kind.description.category}-{saga_id}")
        self.sent: list[SentCommand] = []

    def take(self, item: Item) -> None:
        if isinstance(item, Answers):
            self._answers[item.command.__name__] = list(item.how)
        elif isinstance(item, timedelta):
            if item < timedelta(0):
                raise CommandError(f"time goes on, and not back by {-item}")
            self._until(self._now + item)
        elif isinstance(item, Event | DomainEvent | InStream):
            self._steps.react(self.state, self._recorded(item), self._now)
            self._drain()
        else:
            raise CommandError(
                f"say events, in_stream(…), answers(…) or a timedelta, not {shown(item)}"
            )

    def told(self) -> dict[str, Any]:
        state = self.state
        told = state.told()
        until = told["deadline"]
        told["deadline"] = None if until is None else instants.instant(until)
        return {**self._kind.description.read(state.fields), **told}

    def _until(self, end: datetime) -> None:
        """Let time go by; whatever falls due does so at its moment."""
        while (due := self.state.due()) is not None and due.at <= end:
            self._now = max(self._now, due.at)
            if due.what is not None:
                self._steps.late(self.state, due.what, self._now)
            self._drain()
        self._now = end

    def _drain(self) -> None:
        state = self.state
        while state.ready(self._now):
            head = state.head()
            assert head is not None  # noqa: S101 (said to the checker of types)
            how = self._answer(head)
            fields = dict(head.fields)
            self.sent.append(SentCommand(head.command, fields, head.undoes, how, self._now))
            self._steps.ended(state, head, self._ended(head, how), self._now)
        state.pending.clear()

    def _answer(self, head: Head) -> bool | Exception:
        known = self._answers.get(head.command)
        if not known:
            return True
        return known.pop(0) if len(known) > 1 else known[0]

    def _ended(self, head: Head, how: bool | Exception) -> Outcome | Exception:
        if isinstance(how, Exception):
            return how
        events = (self._event("answer-1", DomainEvent("Answered")),) if how else ()
        return Outcome(events, "answer-1", 0, False, str(head.command_id))

    def _recorded(self, item: Event | DomainEvent | InStream) -> RecordedEvent:
        self._place += 1
        if not isinstance(item, InStream):
            by = self._kind.description.by
            return self._event("given-1" if by is None else f"{by}-{self._id}", item)
        recorded = self._event(item.stream, item.event)
        found = self._kind.id_of(recorded)
        if found != self._id:
            whose = "for no saga" if found is None else f"for the saga {found!r}"
            raise SagaError(
                f"{recorded.event_type} in {shown(item.stream)} is {whose}, and given is "
                f"{self._id!r}"
            )
        return recorded

    def _event(self, stream: str, event: Event | DomainEvent) -> RecordedEvent:
        written = (
            event
            if isinstance(event, DomainEvent)
            else event.to_domain_event(occurred_on=self._now)
        )
        if written.correlation_id is None:
            written = written.replace(correlation_id=self._id)
        return RecordedEvent.of(written, self._place, stream, 0, self._now)


def _fields(command: Command) -> dict[str, Any]:
    return command.model_dump(mode="json", exclude={"command_id"})


def _named(item: Item) -> str:
    if isinstance(item, InStream):
        return f"{_named(item.event)} in {item.stream}"
    if isinstance(item, Answers):
        return f"answers({item.command.__name__}, …)"
    if isinstance(item, timedelta):
        return str(item)
    return type(item).event_type if isinstance(item, Event) else item.event_type
