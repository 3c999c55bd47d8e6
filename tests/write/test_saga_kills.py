"""Runners of sagas that are killed: the end is that of one that never was."""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esnb import instants
from tests.write import saga_jobs
from tests.write.test_saga_crashes import BEGIN, TAIL, World

pytestmark = pytest.mark.faults

ORDERS = 12


def wave(chance: random.Random, first: int) -> list[tuple[Any, ...]]:
    """Return a history of some orders, in which everything goes wrong now and then."""
    numbers = range(first, first + ORDERS)
    actions: list[tuple[Any, ...]] = []
    for number in numbers:
        sku = chance.choice(["book", "book", "lamp", "none"])
        carrier = chance.choice(["post", "post", "shaky", "down"])
        actions.append(("places", number, sku, carrier))
    actions.append(("run",))
    for what in ("declines", "pays", "pays", "leaves"):
        for number in chance.sample(numbers, ORDERS * 2 // 3):
            actions.append((what, number, chance.choice(["", "", "same id", "twice"])))
        actions += [("run",), ("passes", chance.choice([1, 61])), ("run",)]
    return [*actions, *TAIL]


class Killer:
    """Lets processes run the sagas, and kills some of them."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([saga_jobs.__name__])
        self._world = world
        self._chance = chance
        self.kills = 0
        self.in_time = 0.1

    def run(self, kills: int) -> None:
        """Run the sagas to the end, killing whoever does so before."""
        while True:
            count = self._chance.choice([1, 1, 2])
            started = [self._start() for _ in range(count)]
            last = self.kills >= kills
            if not last:
                self.in_time = max(0.005, min(1.0, self.in_time))
                time.sleep(self._chance.uniform(0, self.in_time))
                for process, _ in started:
                    process.kill()
            done = False
            for process, pipe in started:
                process.join(60)
                said = _said(pipe)
                done = done or said == ["ready", "done"]
                self.kills += "done" not in said
                # So that about every other one is killed at work, be the machine fast or slow.
                self.in_time *= 0.8 if "done" in said else 1.2
                pipe.close()
                process.close()
            if done or last:
                assert done
                return

    def _start(self) -> tuple[Any, Any]:
        ours, theirs = self._context.Pipe(duplex=False)
        now = instants.iso(self._world.clock.now)
        arguments = (str(self._world.log.path), BEGIN, now, self._world.batch, theirs)
        process = self._context.Process(target=saga_jobs.run, args=arguments)
        process.start()
        theirs.close()
        assert ours.poll(60)
        return process, ours


def _said(pipe: Any) -> list[str]:
    """Return what a process that has ended said."""
    said = []
    try:
        while True:
            said.append(pipe.recv())
    except (EOFError, OSError):
        return said


def test_kills_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: Callable[[int], int]
) -> None:
    # Or every child would import pytest, which takes longer than all that it does.
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    chance = random.Random(7)
    actions: list[tuple[Any, ...]] = []
    folders = [tmp_path / name for name in ("killed", "whole")]
    for folder in folders:
        folder.mkdir()
    count, began = kills(30), time.monotonic()
    world = World(str(folders[0]), batch=5, books=40, lamps=3)
    killer = Killer(world, chance)
    with world.log:
        while killer.kills < count:
            for action in wave(chance, len(actions)):
                world.act(action)
                if action[0] == "run":
                    killer.run(count)
                actions.append(action)
        end = world.end()
    whole = World(str(folders[1]), batch=5, books=40, lamps=3)
    with whole.log:
        for action in actions:
            whole.act(action)
            if action[0] == "run":
                whole.run()
        assert whole.end() == end
    ended = [
        events[-1][2]["status"] for stream, events in end.items() if stream.startswith("fulfilment")
    ]
    assert {"done", "compensated"} == set(ended)
    assert killer.kills >= count
    print(
        f"\n{killer.kills} kills, {len(ended)} sagas, {sum(map(len, end.values()))} events, "
        f"{time.monotonic() - began:.0f} s"
    )
