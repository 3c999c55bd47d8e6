"""Several processes that want the same thing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from esnb.log import Log

from .shim import Child, Server
from .workload import batch, contents

pytestmark = pytest.mark.faults


def ended(child: Child) -> list[str]:
    """Return everything a child says until it ends well."""
    said = child.rest()
    assert child.reap() == 0, said[-3:]
    return said


def test_same_expected_revision(server: Server, tmp_path: Path) -> None:
    """Two processes expect revision 0 of a stream: one wins, one is told where it stands."""
    rounds = 50
    path = tmp_path / "log"
    with Log.create(path, maintain=False) as log:
        for number in range(rounds):
            log.append(f"contest-{number}", batch(f"first-{number}", 1))
    names = ("a", "b")
    rivals = [
        server.spawn("jobs:expect", path=str(path), name=name, rounds=rounds) for name in names
    ]
    said = []
    for _ in range(rounds):
        for rival in rivals:
            said += rival.until("ready")
        for rival in rivals:
            rival.let_go()
    for rival in rivals:
        said += ended(rival)
    words = [line.split() for line in said]
    won = Counter(line[1] for line in words if line[0] == "won")
    lost = [line[1:] for line in words if line[0] == "lost"]
    assert won == Counter({str(number): 1 for number in range(rounds)})
    assert sorted(int(number) for number, _, _ in lost) == list(range(rounds))
    assert all((expected, actual) == ("0", "2") for _, expected, actual in lost)
    with Log.open(path) as log:
        found = contents(log)
    assert not found.faults, found.faults
    assert found.events == 3 * rounds


def test_four_writers_on_one_stream(server: Server, tmp_path: Path) -> None:
    """Four processes of two threads each: no gap, nothing twice."""
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    children = [
        server.spawn("jobs:hot", path=str(path), name=f"p{number}", batches=120, threads=2)
        for number in range(4)
    ]
    for child in children:
        assert ended(child) == ["done "]
    with Log.open(path, verify="always") as log:
        found = contents(log)
        revisions = [event.revision for event in log.read_stream("order-hot")]
    assert not found.faults, found.faults[:5]
    assert sorted(found.batches) == sorted(f"p{p}-{n}" for p in range(4) for n in range(120))
    assert revisions == list(range(found.events))


def test_same_ids_from_several_processes(server: Server, tmp_path: Path) -> None:
    """Four processes append the same events: one copy, and all four are told its positions."""
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    children = [
        server.spawn("jobs:same_ids", path=str(path), batches=40, seed=seed) for seed in range(4)
    ]
    answers: dict[str, set[str]] = {}
    for child in children:
        for line in ended(child):
            _, number, positions = line.split(" ", 2)
            answers.setdefault(number, set()).add(positions)
    assert len(answers) == 40
    assert all(len(positions) == 1 for positions in answers.values()), answers
    with Log.open(path, verify="always") as log:
        found = contents(log)
        events = {event.position: event.event_id for event in log.read()}
    assert not found.faults, found.faults[:5]
    assert found.events == 120
    for number, (positions,) in ((number, tuple(given)) for number, given in answers.items()):
        assert [events[p] for p in json.loads(positions)] == [
            f"same-{number}.{index}/3" for index in range(3)
        ]


def test_reading_beside_writing_in_one_process(server: Server, tmp_path: Path) -> None:
    """A second, read-only look at the log leaves the locks of the first alone.

    POSIX locks fall when a process closes any handle of the file, even one that
    has nothing to do with them.
    """
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    child = server.spawn("jobs:read_beside", path=str(path))
    said = child.until("ready")
    other = server.run("jobs:write_once", path=str(path), name="second")
    assert other.of("acknowledged") == ["second"], other
    child.let_go()
    said += ended(child)
    assert "acknowledged third" in said, said
    with Log.open(path, maintain=False) as log:
        found = contents(log)
    assert not found.faults, found.faults
    assert found.batches == ["first", "second", "third"]


def test_read_only_look_at_a_busy_log(server: Server, tmp_path: Path) -> None:
    """A log that is opened for reading only is whole each time, whatever the writers do."""
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    writers = [
        server.spawn("jobs:write_for_ever", path=str(path), name=f"r{number}", seed=number)
        for number in range(2)
    ]
    acknowledged: set[str] = set()
    try:
        for _ in range(40):
            for writer in writers:
                lines = writer.until("acknowledged")
                assert not [line for line in lines if line.startswith("crashed")], lines
                acknowledged |= {x.split()[1] for x in lines if x.startswith("acknowledged")}
            look = server.run("jobs:look", path=str(path))
            assert not look.of("crashed"), look.of("crashed")
            assert not look.of("wrong"), look.of("wrong")
            missing = acknowledged - set(look.of("batch"))
            assert not missing, f"{len(missing)} acknowledged batches are not to be seen"
    finally:
        for writer in writers:
            writer.kill()
