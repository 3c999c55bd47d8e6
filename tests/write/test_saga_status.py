"""`esnb status`: the sagas of a log, as a newcomer and as a monitor ask."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import (
    Aggregate,
    Command,
    CommandRejected,
    Event,
    EventLog,
    Retry,
    Saga,
    SagaError,
    handles,
)
from esnb.cli import main
from esnb.errors import StorageError
from esnb.testing import Clock
from esnb.write.registry import got, put
from esnb.write.sagas.health import SagaHealth, noted, saga_health


class Asked(Event):
    rule: str = ""
    handler: str = ""


class Answered(Event):
    pass


class Noted(Event):
    pass


class Note(Command):
    desk_id: str
    rule: str


class Desk(Aggregate):
    def when_noted(self, e: Noted) -> None: ...

    @handles(Note, creates=None)
    def note(self, command: Note) -> Noted:
        if command.rule == "shaky":
            raise ConnectionError("the line is bad")
        if command.rule:
            raise CommandRejected(command.rule)
        return Noted()


class Talk(Saga, by="question", begins=Asked, on_failure="stuck", retry=Retry(times=2)):
    def when_asked(self, e: Asked) -> None:
        if e.handler:
            raise ValueError(e.handler)
        self.send(Note(desk_id=self.id, rule=e.rule))
        self.wait("answer", within=timedelta(hours=1))

    def when_answered(self, e: Answered) -> None:
        self.got("answer")
        self.done()


@pytest.fixture
def clock() -> Clock:
    return Clock("2026-03-01T12:00Z")


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="UTC", clock=clock, maintain=False) as opened:
        yield opened


def only(log: EventLog) -> SagaHealth:
    (one,) = saga_health(log)
    return one


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def test_what_is_told(log: EventLog, clock: Clock) -> None:
    assert saga_health(log) == []
    sagas = log.saga(Talk, log.commands(Desk))
    log.append("question-1", Asked())
    log.append("question-2", Asked(rule="shaky"))
    log.append("question-3", Asked())
    sagas.run()
    one = only(log)
    assert (one.saga, one.health, one.well, one.running) == ("talk", "ok", True, False)
    assert (one.behind, one.seconds, one.position) == (0, 0, log.next_position - 1)
    assert (one.open, one.stuck, one.waiting, one.retrying) == (3, 0, 3, 1)
    # The first that happens by itself is the second try.
    assert one.due == "2026-03-01T12:00:01.000000Z"
    log.append("question-1", Answered())
    clock.advance(seconds=30)
    one = only(log)
    assert (one.health, one.behind, one.seconds, one.well) == ("behind", 1, 30, False)
    sagas.run()
    one = only(log)
    assert (one.health, one.open, one.stuck, one.waiting, one.retrying) == ("stuck", 2, 1, 1, 0)
    assert not one.well
    assert one.error == "talk-2: Note: ConnectionError: the line is bad"
    assert one.due == "2026-03-01T13:00:00.000000Z"
    assert one.behind == 0
    sagas.compensate("2", "called off")
    sagas.run()
    assert (only(log).health, only(log).open, only(log).error) == ("ok", 1, None)


def test_deadlines_that_nobody_looks_after(log: EventLog, clock: Clock) -> None:
    log.append("question-1", Asked())
    sagas = log.saga(Talk, log.commands(Desk))
    sagas.run()
    assert only(log).health == "ok"
    clock.advance(hours=1)
    one = only(log)
    assert (one.health, one.behind) == ("behind", 0)
    sagas.run()
    one = only(log)
    assert (one.health, one.open, one.due, one.error) == ("ok", 0, None, None)


def test_a_runner_that_follows(log: EventLog) -> None:
    sagas = log.saga(Talk, log.commands(Desk), poll=0.05)
    thread = threading.Thread(target=lambda: sagas.run(follow=True))
    thread.start()
    try:
        until(lambda: saga_health(log) and only(log).running)
        for number in range(3):
            log.append(f"question-{number}", Asked())
        # Also what comes within a second of the last note is told soon, though nothing follows.
        until(lambda: only(log).open == 3 and only(log).behind == 0)
        assert only(log).health == "ok"
    finally:
        sagas.stop()
        thread.join(60)
    assert not thread.is_alive()
    assert (only(log).running, only(log).health) == (False, "ok")


def test_a_runner_that_fails(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.append("question-1", Asked())
    sagas = log.saga(Talk, log.commands(Desk))

    def full(*_: Any, **__: Any) -> Any:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(log, "append_many", full)
        with pytest.raises(StorageError):
            sagas.run()
    one = only(log)
    assert (one.health, one.error, one.behind) == ("failed", "the disk is full", 1)
    sagas.run()
    one = only(log)
    assert (one.health, one.error, one.open) == ("ok", None, 1)


def test_a_stream_that_is_no_sagas(log: EventLog) -> None:
    """Say, because the saga class is called as what it follows."""
    log.append("talk-1", Asked())
    with pytest.raises(SagaError, match="'talk-1' is the stream of a saga, and 'Asked' at"):
        log.saga(Talk, log.commands(Desk)).run()
    assert only(log).health == "failed"


def test_status(log: EventLog, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(log.path)
    assert main(["status", place]) == 0
    assert "no saga" in capsys.readouterr().out
    sagas = log.saga(Talk, log.commands(Desk))
    log.append("question-1", Asked())
    sagas.run()
    # The command line has the clock of the machine, by which the answer is long overdue.
    assert main(["status", place, "--json"]) == 1
    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (told["saga"], told["health"], told["waiting"], told["behind"]) == (
        "talk",
        "behind",
        1,
        0,
    )
    assert told["log_position"] == log.next_position - 1
    log.append("question-1", Answered())
    log.append("question-\x1b[31m2", Asked(handler="\x1b[2J"))
    sagas.run()
    assert main(["status", place]) == 1
    shown = capsys.readouterr().out
    assert "stuck" in shown
    assert "Talk.when_asked: ValueError" in shown
    assert "\x1b" not in shown  # what an event says is text, and steers no terminal
    # The notes are derived: without them nothing is known, and the next run writes them anew.
    for note in (log.path / "derived" / "sagas").iterdir():
        note.unlink()
    (log.path / "derived" / "sagas" / "stray.json").write_text('{"saga": 1}')
    assert main(["status", place]) == 0
    capsys.readouterr()
    sagas.run()
    assert only(log).stuck == 1


def test_a_note_is_whole_whoever_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "note.json"
    notes = [noted("talk", "failed", number, [], "é" * (number % 3 * 1000)) for number in range(9)]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for note in notes:
                put(path, note)

    put(path, notes[0])
    thread = threading.Thread(target=write)
    thread.start()
    try:
        known = [asdict(note) for note in notes]
        assert all(got(path) in known for _ in range(2000))
    finally:
        stop.set()
        thread.join()
    # A shorter one leaves nothing of a longer one.
    put(path, notes[0])
    assert got(path) == asdict(notes[0])
    path.write_text("{half")
    with pytest.raises(ValueError, match="property name"):
        got(path)
