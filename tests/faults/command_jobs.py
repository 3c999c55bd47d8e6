"""What the children of the fork server do for the tests of commands."""

from __future__ import annotations

import random
from pathlib import Path
from uuid import NAMESPACE_OID, UUID, uuid5

from esnb import Aggregate, Command, CommandRejected, Event, EventLog, Outcome, handles
from esnb.errors import RevisionConflictError

from .jobs import say

SHOWS = ("show-1", "show-2", "show-ü")
SEATS = 40


class SeatsTaken(Event):
    first: int
    many: int


class Noted(Event):
    many: int


class TakeSeats(Command):
    show_id: str
    many: int


class Show(Aggregate):
    taken: int = 0
    bookings: int = 0

    def when_taken(self, e: SeatsTaken) -> None:
        self.taken += e.many

    def when_noted(self, e: Noted) -> None:
        self.bookings += 1

    @handles(TakeSeats, creates=None)
    def take(self, command: TakeSeats) -> None:
        if self.taken + command.many > SEATS:
            raise CommandRejected("no more seats than there are", free=SEATS - self.taken)
        # Two events, so that half of a command could be seen.
        self.apply(SeatsTaken(first=self.taken, many=command.many))
        self.apply(Noted(many=command.many))


def wanted(count: int) -> list[TakeSeats]:
    """Return the commands that everybody sends: the same ids in every process."""
    return [
        TakeSeats(
            show_id=SHOWS[number % len(SHOWS)],
            many=1 + number % 2,
            command_id=uuid5(NAMESPACE_OID, str(number)),
        )
        for number in range(count)
    ]


def send_all(fault: object, pipe: int, *, path: str, seed: int, count: int, grouped: int) -> None:
    """Send all commands in an order of one's own, alone or in groups.

    Lines: ``accepted ID REVISION``, ``repeated ID REVISION``, ``rejected ID``, ``conflict ID``;
    ``done``.
    """
    chance = random.Random(seed)
    commands = wanted(count)
    chance.shuffle(commands)
    with EventLog.open(Path(path), maintain=False) as log:
        dispatcher = log.commands(Show, snapshot_every=10, hold=2)
        while commands:
            part, commands = commands[:grouped], commands[grouped:]
            if grouped > 1:
                ended = dispatcher.send_many(part)
                for command, one in zip(part, ended, strict=True):
                    _tell(pipe, command.command_id, one)
            else:
                try:
                    _tell(pipe, part[0].command_id, dispatcher.send(part[0]))
                except (CommandRejected, RevisionConflictError) as error:
                    _tell(pipe, part[0].command_id, error)
            if chance.random() < 0.02:
                log.seal()
    say(pipe, "done")


def _tell(pipe: int, command_id: UUID, ended: object) -> None:
    if isinstance(ended, Outcome):
        kind = "repeated" if ended.repeated else "accepted"
        say(pipe, kind, f"{command_id} {ended.revision}")
    elif isinstance(ended, CommandRejected):
        say(pipe, "rejected", command_id)
    elif isinstance(ended, RevisionConflictError):
        say(pipe, "conflict", command_id)
    else:
        raise AssertionError(repr(ended))
