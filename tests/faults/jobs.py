"""What the children of the fork server do (fault injection, killing, races)."""

from __future__ import annotations

import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from esnb.errors import CommitUncertain, EsnbError, RevisionConflictError
from esnb.log import Append, Log

from .shim import Fault
from .workload import appends, batch, contents, judge

MONTH = 3600.0


def say(pipe: int, kind: str, text: object = "") -> None:
    """Write one line to the test."""
    os.write(pipe, f"{kind} {text}\n".encode())


# --- one fault at one operation -------------------------------------------------------------


def inject(fault: Fault, pipe: int, *, path: str, trace: str = "", **armed: Any) -> None:
    """Two appends, a seal, a compaction, with a fault at one operation.

    Lines: ``acknowledged BATCH``; ``error STEP KIND TEXT`` for an exception;
    ``wrong TEXT`` for a broken promise; ``count N``.
    """
    fault.arm(path, report=pipe, **armed)
    trial = _Trial(fault, pipe, Path(path))
    trial.step("open", trial.open)
    trial.append("one", [Append("order-1", batch("one", 3))])
    trial.append("two", appends("two", ("order-2", "order-9"), 2))
    trial.step("seal", lambda: trial.handle().seal())
    trial.step("compact", lambda: trial.handle().compact(grace=MONTH))
    trial.step("close", trial.close)
    fault.disarm()
    say(pipe, "count", fault.count())


class _Trial:
    def __init__(self, fault: Fault, pipe: int, path: Path) -> None:
        self.fault = fault
        self.pipe = pipe
        self.path = path
        self.log: Log | None = None

    def open(self) -> None:
        if self.log is None:
            self.log = Log.open(self.path, maintain=False, timeout=5)

    def handle(self) -> Log:
        self.open()
        assert self.log is not None
        return self.log

    def close(self) -> None:
        if self.log is not None:
            log, self.log = self.log, None
            log.close()

    def wrong(self, text: str) -> None:
        say(self.pipe, "wrong", text)

    def append(self, name: str, given: Sequence[Append]) -> None:
        def action() -> None:
            results = self.handle().append_many(*given)
            wanted = [event.event_id for part in given for event in part.events]
            if [event.event_id for event in results] != wanted:
                self.wrong(f"append {name} answered {results}")

        def after_error(error: Exception) -> None:
            if isinstance(error, CommitUncertain):
                known = sorted(event.event_id for part in given for event in part.events)
                if sorted(error.event_ids) != known:
                    self.wrong(f"CommitUncertain names {error.event_ids}")
                return
            with Log.open(self.path, maintain=False) as beside:
                if name in judge(beside.read()).batches:
                    self.wrong(f"{type(error).__name__}, yet batch {name} was written: {error}")

        self.step("append", action, after_error)
        say(self.pipe, "acknowledged", name)

    def step(
        self,
        name: str,
        action: Callable[[], object],
        after_error: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Do something; after an error look around, and do it again until it is done."""
        for attempt in ("first", "again", "reopened", "disarmed"):
            try:
                action()
                return
            except Exception as error:
                say(self.pipe, "error", f"{name} {type(error).__name__} {attempt}: {error}")
                if not isinstance(error, EsnbError):
                    self.wrong(_short(name, attempt))
                if attempt == "disarmed":
                    self.wrong(f"{name} cannot be repeated: {_short(name, attempt)}")
                if attempt == "again":
                    with suppress(Exception):
                        self.close()
                    self.log = None
                if attempt == "reopened":
                    # A disk that stays full lets nothing through: make room.
                    self.fault.disarm()
                after_error(error)


def _short(step: str, attempt: str) -> str:
    """Return the error in hand on one line, with the last places it came through."""
    error = sys.exception()
    assert error is not None
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " > ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames)
    return f"{step} ({attempt}): {type(error).__name__}: {error} at {places}".replace("\n", " ")


def examine(_: Fault, pipe: int, *, path: str, retry: bool) -> None:
    """Open a log as a newcomer, say what is in it, then go on with the work on it."""
    with Log.open(path, verify="always", maintain=False, timeout=5) as log:
        found = contents(log)
        _tell(pipe, "before", found.batches, found.faults)
        if not retry:
            return
        log.append_many(Append("order-1", batch("one", 3)))
        log.append_many(*appends("two", ("order-2", "order-9"), 2))
        log.append("order-5", batch("later", 2))
        log.seal()
        log.compact(grace=0)
        found = contents(log)
        wanted = {segment.path for segment in log.snapshot().segments}
    left = {item for item in Path(path).rglob("*") if item.suffix == ".parquet"} - wanted
    faults = found.faults + [f"{item} was left behind" for item in left]
    faults += [f"{item} was left behind" for item in Path(path).rglob(".tmp-*")]
    _tell(pipe, "after", found.batches, faults)


def _tell(pipe: int, kind: str, batches: Sequence[str], faults: Sequence[str]) -> None:
    say(pipe, kind, json.dumps({"batches": list(batches), "faults": list(faults)}))


# --- writers that are killed ----------------------------------------------------------------


def write_for_ever(_: Fault, pipe: int, *, path: str, name: str, seed: int) -> None:
    """Append, seal and compact until killed; say each batch that was acknowledged."""
    chance = random.Random(seed)
    log = Log.open(path, maintain=False)
    number = 0
    while True:
        label = f"{name}-{number}"
        size = chance.randint(1, 5)
        if chance.random() < 0.3:
            log.append_many(*appends(label, ("order-hot", f"order-{chance.randint(0, 20)}"), size))
        else:
            log.append(f"order-{chance.choice(['hot', number % 7])}", batch(label, size))
        say(pipe, "acknowledged", label)
        number += 1
        if chance.random() < 0.1:
            log.seal()
            say(pipe, "sealed")
        if chance.random() < 0.03:
            log.compact(grace=120)
            say(pipe, "compacted")


def read_for_ever(_: Fault, pipe: int, *, path: str) -> None:
    """Check every snapshot until a line comes; say what is wrong with any of them."""
    log = Log.open(path, maintain=False)
    seen = -1
    for number in range(1_000_000_000):
        whole = number % 25 == 0
        after = -1 if whole else seen
        events = list(log.read(after=after))
        if whole and len(events) <= seen:
            say(pipe, "wrong", f"{len(events)} events, after {seen + 1} had been there")
        found = judge(events, after + 1)
        for fault in found.faults:
            say(pipe, "wrong", fault)
        seen = after + len(events)
        say(pipe, "snapshot", f"{seen + 1} {int(whole)}")


# --- races ----------------------------------------------------------------------------------


def expect(_: Fault, pipe: int, *, path: str, name: str, rounds: int) -> None:
    """Append to one stream with the revision that it has, `rounds` times, against others."""
    log = Log.open(path, maintain=False)
    for number in range(rounds):
        stream = f"contest-{number}"
        say(pipe, "ready")
        os.read(pipe, 1)  # until the rival is ready too
        try:
            log.append(stream, batch(f"{name}-{number}", 2), expected_revision=0)
            say(pipe, "won", number)
        except RevisionConflictError as error:
            say(pipe, "lost", f"{number} {error.expected} {error.actual}")


def hot(_: Fault, pipe: int, *, path: str, name: str, batches: int, threads: int) -> None:
    """Append to one stream as fast as it goes; seal now and then."""
    from concurrent.futures import ThreadPoolExecutor

    log = Log.open(path, maintain=False)

    def write(number: int) -> None:
        log.append("order-hot", batch(f"{name}-{number}", 1 + number % 3))
        if number % 40 == 7:
            log.seal()

    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(write, range(batches)):
            assert done is None
    log.close()
    say(pipe, "done")


def same_ids(_: Fault, pipe: int, *, path: str, batches: int, seed: int) -> None:
    """Append the same batches as every other process, in an order of its own."""
    log = Log.open(path, maintain=False)
    order = list(range(batches))
    random.Random(seed).shuffle(order)
    for number in order:
        results = log.append(f"order-{number}", batch(f"same-{number}", 3))
        say(pipe, "positions", f"{number} {[event.position for event in results]}")
        if number % 10 == seed % 10:
            log.seal()
    log.close()


def read_beside(_: Fault, pipe: int, *, path: str) -> None:
    """Open the log a second time, read-only, in the process that writes to it."""
    log = Log.open(path, maintain=False)
    log.append("order-1", batch("first", 1))
    with Log.open(path, read_only=True) as beside:
        say(pipe, "read", beside.next_position)
    say(pipe, "ready")
    os.read(pipe, 1)  # until another process has written and gone
    log.append("order-1", batch("third", 1))
    say(pipe, "acknowledged", "third")


def write_once(_: Fault, pipe: int, *, path: str, name: str) -> None:
    """Append one batch and close."""
    with Log.open(path, maintain=False) as log:
        log.append("order-1", batch(name, 1))
    say(pipe, "acknowledged", name)


def look(_: Fault, pipe: int, *, path: str) -> None:
    """Open a log for reading only; say its batches and what is wrong with it."""
    with Log.open(path, read_only=True) as log:
        found = judge(log.read())
    for text in found.faults:
        say(pipe, "wrong", text)
    for name in found.batches:
        say(pipe, "batch", name)


def append_some(_: Fault | None, pipe: int, *, path: str) -> None:
    """Append five batches, each until it is acknowledged or has failed twice; seal."""
    log = Log.open(path, maintain=False)
    for number in range(5):
        for _attempt in range(2):
            try:
                log.append("order-1", batch(f"s{number}", 2))
            except EsnbError as error:
                say(pipe, "error", f"{type(error).__name__} {error}")
            else:
                say(pipe, "acknowledged", f"s{number}")
                break
    with suppress(EsnbError):
        log.seal()
    say(pipe, "done")
