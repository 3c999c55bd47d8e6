"""Commands from four processes that are killed: every accepted command appears once."""

from __future__ import annotations

import random
import selectors
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from esnb import Repository
from esnb.eventlog import EventLog

from .command_jobs import SEATS, SHOWS, Show, wanted
from .shim import Child, Server

pytestmark = pytest.mark.faults

COMMANDS = 240


class Party:
    """Processes that all send the same commands, each in its own order, and what they said."""

    def __init__(self, server: Server, path: Path) -> None:
        self.said: dict[str, set[str]] = {}
        self.revisions: dict[str, set[str]] = {}
        self.count: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.finished = 0
        self._server, self._path, self._started = server, path, 0
        self._selector = selectors.DefaultSelector()
        self.children: list[Child] = []

    def start(self) -> None:
        self._started += 1
        child = self._server.spawn(
            "command_jobs:send_all",
            path=str(self._path),
            seed=self._started,
            count=COMMANDS,
            # Alone, or in groups of some or many.
            grouped=(1, 1, 7, 60)[self._started % 4],
        )
        self.children.append(child)
        self._selector.register(child, selectors.EVENT_READ)

    def listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            child = key.fileobj
            assert isinstance(child, Child)
            lines = child.lines()
            if lines is None:
                self._leave(child)
                child.reap()
            else:
                self._note(lines)

    def kill(self, child: Child) -> None:
        self._leave(child)
        self._note(child.kill())

    def _leave(self, child: Child) -> None:
        self._selector.unregister(child)
        self.children.remove(child)

    def _note(self, lines: list[str]) -> None:
        for line in lines:
            kind, _, rest = line.partition(" ")
            self.count[kind] += 1
            if kind == "done":
                self.finished += 1
            elif kind in ("accepted", "repeated", "rejected", "conflict"):
                command_id, _, revision = rest.partition(" ")
                self.said.setdefault(command_id, set()).add(kind)
                if revision:
                    self.revisions.setdefault(command_id, set()).add(revision)
            else:
                self.wrong.append(line)


def test_every_accepted_command_appears_once(
    server: Server, tmp_path: Path, long_run: bool, kills: Callable[[int], int]
) -> None:
    path = tmp_path / "log"
    EventLog.create(path, zone="UTC").close()
    chance = random.Random(5)
    count = kills(600 if long_run else 60)
    party = Party(server, path)
    killed = 0
    try:
        while party.finished < 4 or killed < count:
            while len(party.children) < 4:
                party.start()
            for _ in range(chance.choice((1, 3, 9, 27, 60))):
                party.listen(5)
            if killed < count and party.children:
                party.kill(chance.choice(party.children))
                killed += 1
            assert not party.wrong, party.wrong[:3]
    finally:
        for child in list(party.children):
            party.kill(child)
    assert not party.wrong, party.wrong[:3]
    commands = {str(command.command_id): command for command in wanted(COMMANDS)}
    with EventLog.open(path, verify="always") as log:
        assert log.verify().ok
        events = list(log.read())
        places: dict[str, list[tuple[str, int, str]]] = {}
        for event in events:
            assert event.causation_id is not None
            found = places.setdefault(event.causation_id, [])
            found.append((event.stream, event.revision, event.event_type))
        # Whoever was told that a command was accepted, or was accepted before, finds it, whole,
        # at the one place that everybody was told.
        for command_id, found in places.items():
            first = found[0][1]
            stream = commands[command_id].show_id
            assert found == [(stream, first, "SeatsTaken"), (stream, first + 1, "Noted")]
            assert party.revisions.get(command_id, set()) <= {str(first + 1)}
            # What is refused once is refused for ever: no seat is ever given back.
            assert "rejected" not in party.said.get(command_id, set())
        told = {one for one, kinds in party.said.items() if kinds & {"accepted", "repeated"}}
        assert told <= set(places)
        for stream in SHOWS:
            taken = [e.data for e in events if e.stream == stream and e.event_type == "SeatsTaken"]
            ends = [one["first"] + one["many"] for one in taken]
            assert [one["first"] for one in taken] == [0, *ends[:-1]]
            # There are seats for a third of the wishes, and every process wished for all.
            assert ends[-1] == SEATS
            show = Repository(log, Show).get(stream)
            assert (show.taken, show.bookings) == (SEATS, len(taken))
            whole = Show.fold(log.read_stream(stream))
            assert (whole.taken, whole.bookings) == (show.taken, show.bookings)
    assert party.count["repeated"] > 100
    assert party.count["rejected"] > 100
    print(f"\n{killed} kills, {len(places)} commands of {COMMANDS}, {dict(party.count)}")
