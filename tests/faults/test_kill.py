"""Processes that are killed while four of them write, seal and compact."""

from __future__ import annotations

import os
import random
import selectors
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from esnb.log import Log

from .shim import Child, Server
from .workload import contents

pytestmark = pytest.mark.faults

WRITERS = 4


class Party:
    """Four writers and a reader on one log, and what they said."""

    def __init__(self, server: Server, path: Path) -> None:
        self.acknowledged: list[str] = []
        self.said: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.started = 0
        self._server = server
        self._path = path
        self._selector = selectors.DefaultSelector()
        self.writers = [self._writer() for _ in range(WRITERS)]
        self.reader = server.spawn("jobs:read_for_ever", path=str(path))
        self._selector.register(self.reader, selectors.EVENT_READ)

    def _writer(self) -> Child:
        self.started += 1
        name = f"w{self.started}"
        child = self._server.spawn(
            "jobs:write_for_ever", path=str(self._path), name=name, seed=self.started
        )
        self._selector.register(child, selectors.EVENT_READ)
        return child

    def listen(self, seconds: float) -> None:
        """Take in what comes within some time."""
        for key, _ in self._selector.select(seconds):
            child = key.fileobj
            assert isinstance(child, Child)
            lines = child.lines()
            if lines is None:
                self._selector.unregister(child)
                self.wrong.append(f"process {child.pid} ended by itself with {child.reap()}")
            else:
                self._note(lines)

    def _note(self, lines: list[str]) -> None:
        for line in lines:
            kind, _, text = line.partition(" ")
            self.said[kind] += 1
            if kind == "acknowledged":
                self.acknowledged.append(text)
            elif kind in ("wrong", "crashed"):
                self.wrong.append(text)
            elif kind == "snapshot":
                self.said["full snapshots"] += int(text.split()[1])

    def kill(self, child: Child) -> None:
        self._selector.unregister(child)
        self._note(child.kill())

    def replace(self, number: int) -> None:
        """Kill a writer and start another in its place."""
        self.kill(self.writers[number])
        self.writers[number] = self._writer()

    def end(self) -> None:
        """Kill whoever is left."""
        for child in [*self.writers, self.reader]:
            if child in self._selector.get_map():
                self.kill(child)
        self._selector.close()


def test_five_hundred_kills(
    server: Server, tmp_path: Path, long_run: bool, kills: Callable[[int], int]
) -> None:
    """No acknowledged batch is lost, none stands twice, none is there in part."""
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    chance = random.Random(7)
    count = kills(5000 if long_run else 500)
    party = Party(server, path)
    try:
        for _ in range(count):
            # A writer is killed after a few of the things that the four of them say.
            for _ in range(chance.choice((1, 2, 4, 8, 16, 32))):
                party.listen(5)
            party.replace(chance.randrange(WRITERS))
            assert not party.wrong, party.wrong[:5]
    finally:
        party.end()
    assert not party.wrong, party.wrong[:5]
    with Log.open(path, maintain=False, verify="always") as log:
        found = contents(log)
        assert not found.faults, found.faults[:5]
        missing = set(party.acknowledged) - set(found.batches)
        assert not missing, f"{len(missing)} acknowledged batches are lost: {sorted(missing)[:5]}"
        assert len(found.batches) == len(set(found.batches))
        # At most the batch that a writer was at when it was killed is there unsaid.
        assert len(found.batches) <= len(party.acknowledged) + count + WRITERS
        log.append("order-hot", [])
        log.compact(grace=0)
        named = {segment.path for segment in log.snapshot().segments}
        found = contents(log)
        assert not found.faults, found.faults[:5]
    left = set(path.rglob("*.parquet")) | {*path.rglob(".tmp-*")}
    assert left == named, f"left behind: {sorted(left - named)[:5]}"
    assert party.said["sealed"] > 50
    assert party.said["compacted"] > 10
    assert party.said["snapshot"] > 100
    print(f"\n{count} kills, {len(found.batches)} batches, {found.events} events, {party.said}")


def test_one_process_killed_at_any_time_in_its_life(server: Server, tmp_path: Path) -> None:
    """A lone writer: each successor finds the journal that the one before it left behind."""
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    chance = random.Random(11)
    acknowledged: set[str] = set()
    for number in range(60):
        writer = server.spawn("jobs:write_for_ever", path=str(path), name=f"l{number}", seed=number)
        said: list[str] = []
        for _ in range(chance.randint(1, 12)):
            said += writer.lines() or ["crashed it ended by itself"]
        said += writer.kill()
        assert not [line for line in said if line.startswith("crashed")], said
        acknowledged |= {line.split()[1] for line in said if line.startswith("acknowledged")}
        if number % 20 == 10:
            # What was copied from under a dead writer is a whole log, too.
            copy = tmp_path / f"copy{number}"
            shutil.copytree(path, copy)
            with Log.open(copy, maintain=False, verify="always") as log:
                assert acknowledged <= set(contents(log).batches)
    with Log.open(path, maintain=False, verify="always") as log:
        found = contents(log)
    assert not found.faults, found.faults[:5]
    assert acknowledged <= set(found.batches)
    assert os.listdir(path)
