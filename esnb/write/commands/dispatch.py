"""Sending commands: load, decide, append, and again if somebody else was faster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from esnb.aggregate import Aggregate
from esnb.errors import (
    CommandError,
    CommandRejected,
    DuplicateEventError,
    EsnbError,
    LogError,
    RevisionConflictError,
    StreamNotFoundError,
    shown,
)
from esnb.event import RecordedEvent
from esnb.log import NO_STREAM, Append, Glance, Log
from esnb.write import logging
from esnb.write.commands.command import Command
from esnb.write.commands.handlers import COMMAND, Handler, Handlers, Letter
from esnb.write.commands.pauses import TRIES, pauses
from esnb.write.commands.recent import Recent
from esnb.write.commands.repository import Loaded, Repository

__all__ = ["Dispatcher", "Open", "Outcome"]

_HELD = 10_000


@dataclass(frozen=True)
class Outcome:
    """What a command led to.

    Attributes
    ----------
    events
        The recorded events; none if it had nothing to change.
    stream, revision
        The aggregate, and its newest event after the command (for one that is repeated, the
        newest of the events); -1 for none.
    repeated
        Whether the command was sent before, and this is what it led to then.
    command_id
        Of the command.
    """

    events: tuple[RecordedEvent, ...]
    stream: str
    revision: int
    repeated: bool
    command_id: str


@dataclass(frozen=True)
class Open:
    """A command that is to be decided on, with the state on which it is.

    Attributes
    ----------
    aggregate
        A copy; it moves as the command is decided on.
    revision
        Of the newest event before; -1 for none.
    """

    letter: Letter
    handler: Handler
    aggregate: Aggregate
    revision: int

    @property
    def append(self) -> Append:
        """What is to be written, of the events that were applied."""
        events = [event.to_domain_event() for event in self.aggregate.uncommitted]
        expected = NO_STREAM if self.revision < 0 else self.revision
        return Append(self.aggregate.stream, events, expected, fresh=True)


class Dispatcher:
    """Loads, decides and appends; see `esnb.Commands` for the parameters."""

    def __init__(
        self,
        log: Log,
        handlers: Handlers,
        *,
        clock: Callable[[], datetime] | None = None,
        snapshot_every: int | None = 100,
        hold: int = _HELD,
        tries: int = TRIES,
    ) -> None:
        for name, number, least in (("hold", hold, 0), ("tries", tries, 1)):
            if not isinstance(number, int) or number < least:
                raise CommandError(f"{name}={shown(number)}: say a whole number from {least}")
        self.log = log
        self.handlers = handlers
        self.clock = log.clock if clock is None else clock
        self.tries = tries
        self._every = snapshot_every
        self.recent = Recent(log, hold)
        self._repositories: dict[type[Aggregate], Repository[Any]] = {}
        for handler in handlers:
            if handler.kind not in self._repositories:
                repository = Repository(log, handler.kind, snapshot_every=snapshot_every)
                self._repositories[handler.kind] = repository

    def send(self, letter: Letter) -> Outcome:
        """Load, decide and append."""
        handler = self._handler(letter)
        if handler.waits:
            raise CommandError(f"{handler.name} is async; say await commands.asend(…)")
        with _Told(letter, handler) as told:
            ended = self._at_once(letter, handler)
            if isinstance(ended, Outcome):
                return told.ended(ended)
            if ended is not None:
                told.conflict(ended)
            for pause in pauses(self.tries, len(told.conflicts)):
                time.sleep(pause)
                opened = self.open(letter, handler)
                if isinstance(opened, Outcome):
                    return told.ended(opened)
                try:
                    handler.decide(opened.aggregate, letter, self.clock())
                except CommandRejected:
                    # Perhaps by what the command itself led to, sent by another meanwhile.
                    if (before := self.before(letter, opened.aggregate.stream)) is not None:
                        return told.ended(before)
                    raise
                ended = self._append(opened)
                if isinstance(ended, Outcome):
                    return told.ended(ended)
                told.conflict(ended)
            raise told.conflicts[-1]

    async def asend(self, letter: Letter) -> Outcome:
        """Send without keeping the event loop from other work."""
        handler = self._handler(letter)
        if not handler.waits:
            return await asyncio.to_thread(self.send, letter)
        with _Told(letter, handler) as told:
            for pause in pauses(self.tries):
                await asyncio.sleep(pause)
                opened = await asyncio.to_thread(self.open, letter, handler)
                if isinstance(opened, Outcome):
                    return told.ended(opened)
                try:
                    await handler.adecide(opened.aggregate, letter, self.clock())
                except CommandRejected:
                    stream = opened.aggregate.stream
                    before = await asyncio.to_thread(self.before, letter, stream)
                    if before is not None:
                        return told.ended(before)
                    raise
                ended = await asyncio.to_thread(self._append, opened)
                if isinstance(ended, Outcome):
                    return told.ended(ended)
                told.conflict(ended)
            raise told.conflicts[-1]

    def check(self) -> None:
        """Refuse to send where a command would not see what was appended before it."""
        if self.log.batching:
            raise CommandError(
                "within log.batch() a command does not see what was appended before it; "
                "group commands with send_many, or with commands.batch(), outside of it"
            )

    def _handler(self, letter: Letter) -> Handler:
        self.check()
        return self.handlers.of(letter.command)

    def _at_once(self, letter: Letter, handler: Handler) -> Outcome | LogError | None:
        """Decide on the state that is held, without a look whether it is the newest.

        The append tells, since it expects that revision and ids that nobody has.  Where nothing
        is to be appended a look tells.  None if the command is to be decided on anew.
        """
        stream = letter.command.stream_in(handler.kind.description.category)
        held = self.recent.held(handler.kind, stream)
        if held is None and handler.creates is not True:
            return None
        aggregate = handler.kind(stream) if held is None else held.aggregate
        opened = Open(letter, handler, aggregate, aggregate.revision)
        try:
            handler.decide(aggregate, letter, self.clock())
        except Exception:
            if self._is_newest(letter, stream, held):
                raise
            return None
        if aggregate.uncommitted:
            return self._append(opened)
        return self.done(opened, ()) if self._is_newest(letter, stream, held) else None

    def _is_newest(self, letter: Letter, stream: str, held: Loaded[Aggregate] | None) -> bool:
        """Tell whether a command that is new was decided on with the newest state."""
        seen = self.log.glance([letter.first_id], [stream])
        if seen.known or seen.heads is None:
            return False
        head = seen.heads.get(stream)
        if held is None or head is None:
            return held is None and head is None
        return held.position == head.position

    # --- the steps ---------------------------------------------------------------------------

    def open(self, letter: Letter, handler: Handler) -> Open | Outcome:
        """Load the aggregate of a command, or find what the command led to before."""
        stream = letter.command.stream_in(handler.kind.description.category)
        seen = self.log.glance([letter.first_id], [stream])
        before = self.before(letter, stream) if seen.known else None
        if before is not None:
            return before
        aggregate = self.load(handler, stream, seen)
        return Open(letter, handler, aggregate, aggregate.revision)

    def load(self, handler: Handler, stream: str, seen: Glance) -> Aggregate:
        """Return an aggregate as it stands, or a new one where the handler may make one."""
        repository = self._repositories[handler.kind]
        loaded = None
        if seen.heads is None:
            loaded = self.recent.load(repository, stream, None)
        elif stream in seen.heads:
            loaded = self.recent.load(repository, stream, seen.heads[stream])
        if loaded is None:
            if handler.creates is False:
                raise StreamNotFoundError(stream, self.log.streams_near(stream))
            return handler.kind(stream)
        if self._every is not None and loaded.replayed >= self._every:
            repository.keep(loaded)
        return loaded.aggregate

    def before(self, letter: Letter, stream: str) -> Outcome | None:
        """Return what a command led to when it was sent before."""
        first = self.log.event(letter.first_id)
        if first is None:
            return None
        name = first.metadata.get(COMMAND)
        if first.stream != stream or name != type(letter.command).__name__:
            raise another(letter, stream, name, first.stream)
        events = [first]
        while (event := self.log.event(letter.event_id(len(events)))) is not None:
            events.append(event)
        return Outcome(tuple(events), stream, events[-1].revision, True, letter.command_id)

    def _append(self, opened: Open) -> Outcome | LogError:
        """Write what was decided; return the conflict if somebody else was faster."""
        if not opened.aggregate.uncommitted:
            return self.done(opened, ())
        append = opened.append
        try:
            events = self.log.append_many(append)
        except (RevisionConflictError, DuplicateEventError) as conflict:
            # The same command, sent by another at the same time, is found at the next try.
            return conflict
        except EsnbError:
            self.recent.forget(opened.handler.kind, append.stream)
            raise
        return self.done(opened, events)

    def done(self, opened: Open, events: tuple[RecordedEvent, ...]) -> Outcome:
        """Take in what was written."""
        stream, kind = opened.aggregate.stream, opened.handler.kind
        command_id = opened.letter.command_id
        if not events:
            return Outcome((), stream, opened.revision, False, command_id)
        self.recent.take(kind, stream, events)
        revision = events[-1].revision
        every = self._every
        if every is not None and (revision + 1) // every > (events[0].revision) // every:
            self._keep(self._repositories[kind], stream)
        return Outcome(events, stream, revision, False, command_id)

    def _keep(self, repository: Repository[Any], stream: str) -> None:
        newest = self.recent.held(repository.kind, stream)
        if newest is None:
            repository.snapshot(stream)
        else:
            repository.keep(newest)


def another(letter: Letter, stream: str, name: object, of: str) -> CommandError:
    """Return the error for an id that was that of another command."""
    return CommandError(
        f"command_id {letter.command_id} was that of {shown(name)} to {shown(of)}, and now is that "
        f"of {type(letter.command).__name__} to {shown(stream)}; an id names one command for ever"
    )


@dataclass
class _Told:
    """Tells the structured log how a command ended."""

    letter: Letter
    handler: Handler
    conflicts: list[LogError] = field(default_factory=list)
    _begun: float = field(default_factory=time.perf_counter)
    _outcome: Outcome | None = None

    def __enter__(self) -> _Told:
        return self

    def conflict(self, conflict: LogError) -> None:
        self.conflicts.append(conflict)

    def ended(self, outcome: Outcome) -> Outcome:
        self._outcome = outcome
        return outcome

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if logging.active():
            tell(self.letter, self._outcome or error, self._begun, len(self.conflicts))


def tell(
    letter: Letter, ended: Outcome | BaseException | None, begun: float, conflicts: int = 0
) -> None:
    """Write a line about a command: never what it or its events say."""
    about: dict[str, object] = {
        "command": type(letter.command).__name__,
        "command_id": letter.command_id,
        "correlation_id": letter.correlation,
        "causation_id": letter.causation_id,
        "conflicts": conflicts,
        "duration_ms": round((time.perf_counter() - begun) * 1e3, 3),
    }
    if isinstance(ended, Outcome):
        about |= {"stream": ended.stream, "revision": ended.revision, "events": len(ended.events)}
        result = "repeated" if ended.repeated else "accepted" if ended.events else "nothing to do"
        logging.say("info", "command", outcome=result, **about)
    elif isinstance(ended, CommandRejected):
        about |= {"stream": ended.stream, "revision": ended.revision, "rule": ended.rule}
        logging.say("info", "command", outcome="rejected", **about)
    else:
        logging.say("error", "command", outcome="failed", error=type(ended).__name__, **about)


def letter_of(command: Command, **envelope: Any) -> Letter:
    """Return a command with what is said of its sending."""
    if None in envelope.values():
        envelope = {name: value for name, value in envelope.items() if value is not None}
    return Letter(command, **envelope)
