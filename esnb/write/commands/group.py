"""Many commands in one commit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from esnb.aggregate import Aggregate
from esnb.errors import (
    CommandError,
    CommandRejected,
    EsnbError,
    InputError,
    LogError,
    RevisionConflictError,
)
from esnb.errors import StreamNotFoundError as NotFound
from esnb.log import Glance
from esnb.uncollected import uncollected
from esnb.write import logging
from esnb.write.commands.dispatch import Dispatcher, Open, Outcome, another, tell
from esnb.write.commands.handlers import Handler, Letter
from esnb.write.commands.pauses import pauses
from esnb.write.commands.recent import copied

__all__ = ["send_group"]

_AT_ONCE = 1000

Ended = Outcome | EsnbError
_Key = tuple[type[Aggregate], str]


def send_group(dispatcher: Dispatcher, letters: Sequence[Letter]) -> list[Ended]:
    """Send commands, each decided on after those before it; return how each ended."""
    dispatcher.check()
    ended: dict[int, Ended] = {}
    for start in range(0, len(letters), _AT_ONCE):
        begun = time.perf_counter()
        numbers = range(start, min(start + _AT_ONCE, len(letters)))
        waiting: dict[int, LogError] = {}
        tries = pauses(dispatcher.tries)
        while (pause := next(tries, None)) is not None:
            if pause:
                time.sleep(pause)
            asked = waiting or numbers
            part = _Round(dispatcher, {number: letters[number] for number in asked})
            with uncollected():
                part.decide()
                waiting = part.write()
            ended |= part.ended
            if not waiting:
                break
            if len(waiting) < len(asked):
                tries = pauses(dispatcher.tries)
        ended |= waiting
        if logging.active():
            for number in numbers:
                tell(letters[number], ended[number], begun)
    return [ended[number] for number in range(len(letters))]


class _Round:
    """Commands that are decided on together, and written together.

    Each is decided on as if those before it were written already.  Whether they are is known
    only afterwards: where a stream moved on meanwhile, whatever was decided about it, a refusal
    too, is decided anew in the next round.
    """

    def __init__(self, dispatcher: Dispatcher, letters: Mapping[int, Letter]) -> None:
        self._dispatcher = dispatcher
        self.ended: dict[int, Ended] = {}
        self._states: dict[_Key, Aggregate] = {}
        self._opened: list[tuple[int, Open]] = []
        self._said: list[tuple[int, _Key, Ended]] = []
        self._accepted: dict[str, tuple[int, Letter, str]] = {}
        self._same: list[tuple[int, int, CommandError | None]] = []
        self._owners: dict[str, type[Aggregate] | None] = {}
        self._later: list[tuple[int, str]] = []
        self._posted: list[tuple[int, Letter, Handler, str]] = []
        for number, letter in letters.items():
            try:
                handler = dispatcher.handlers.of(letter.command)
                stream = letter.command.stream_in(handler.kind.description.category)
            except CommandError as error:
                self.ended[number] = error
                continue
            if handler.waits:
                raise CommandError(f"{handler.name} is async; say await commands.asend(…)")
            self._posted.append((number, letter, handler, stream))

    def decide(self) -> None:
        """Decide on all commands, in their order."""
        seen = self._dispatcher.log.glance(
            [letter.first_id for _, letter, _, _ in self._posted],
            list({stream for *_, stream in self._posted}),
        )
        for posted in self._posted:
            self._decide(*posted, seen)

    def _decide(
        self, number: int, letter: Letter, handler: Handler, stream: str, seen: Glance
    ) -> None:
        key = (handler.kind, stream)
        if self._owners.setdefault(stream, handler.kind) is not handler.kind:
            # Another class looks at the stream: it, and whoever comes after it, waits.
            self._owners[stream] = None
            self._later.append((number, stream))
            return
        if letter.command_id in self._accepted:
            first, other, of = self._accepted[letter.command_id]
            found = None
            if type(letter.command) is not type(other.command) or stream != of:
                found = another(letter, stream, type(other.command).__name__, of)
            self._same.append((number, first, found))
            return
        try:
            if letter.first_id in seen.known:
                before = self._dispatcher.before(letter, stream)
                if before is not None:
                    self.ended[number] = before
                    return
            state = self._states.get(key)
            if state is None:
                state = self._dispatcher.load(handler, stream, seen)
                if state.revision >= 0:
                    self._states[key] = state
            aggregate = copied(state)
            opened = Open(letter, handler, aggregate, state.revision)
            made = handler.decide(aggregate, letter, self._dispatcher.clock())
        except (InputError, CommandRejected, NotFound) as error:
            before = None
            if isinstance(error, CommandRejected):
                # Perhaps by what the command itself led to, sent by another meanwhile.
                before = self._dispatcher.before(letter, stream)
            if before is None:
                self._said.append((number, key, error))
            else:
                self.ended[number] = before
            return
        if not made:
            self._said.append((number, key, self._dispatcher.done(opened, ())))
            return
        for event in made:
            state._take(event)
        state.revision += len(made)
        self._states[key] = state
        self._opened.append((number, opened))
        self._accepted[letter.command_id] = (number, letter, stream)

    def write(self) -> dict[int, LogError]:
        """Write what was decided; return what is to be decided anew, and the conflict."""
        dispatcher = self._dispatcher
        try:
            written = dispatcher.log.append_each([opened.append for _, opened in self._opened])
        except EsnbError:
            for kind, stream in self._states:
                dispatcher.recent.forget(kind, stream)
            raise
        again: dict[int, LogError] = {}
        moved: dict[_Key, LogError] = {}
        for (number, opened), events in zip(self._opened, written, strict=True):
            if isinstance(events, LogError):
                again[number] = events
                moved[opened.handler.kind, opened.aggregate.stream] = events
            else:
                self.ended[number] = dispatcher.done(opened, events)
        for number, key, ended in self._said:
            if key in moved:
                again[number] = moved[key]
            else:
                self.ended[number] = ended
        for number, first, error in self._same:
            found = self.ended.get(first)
            if isinstance(found, Outcome):
                self.ended[number] = error or replace(found, repeated=True)
            else:
                again[number] = again[first]
        for number, stream in self._later:
            again[number] = RevisionConflictError(stream, "what it decides on", None)
        return dict(sorted(again.items()))
