"""How the sagas of a log do: whose turn it is to run them, and a note of each class.

All that sagas know is in the log.  The notes under ``derived/sagas/`` spare `esnb status`
the reading of it, and say what only a runner knows: how far it has looked, and what it failed with.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from esnb import instants
from esnb.errors import LogBusyError
from esnb.log.layout import Layout
from esnb.log.locks import Lock
from esnb.write import logging
from esnb.write.registry import lag, notes, put
from esnb.write.sagas.state import State

if TYPE_CHECKING:
    from esnb.log import Log

__all__ = ["Notes", "SagaHealth", "SagaNote", "saga_health"]

# Seconds: between two tries for the lock; between two notes, and how many times what one costs.
_TURN, _OFTEN, _TIMES = 0.1, 1.0, 20
_MOST = 2000


@dataclass(frozen=True)
class SagaNote:
    """What a runner says of its sagas.

    Attributes
    ----------
    saga
        Category of their streams.
    state
        ``"running"``, ``"stopped"``, ``"failed"``.
    open, stuck, waiting, retrying
        How many have not ended; and of these, how many are stuck, wait for something that has a
        deadline, and are to try a command again.
    due
        When the first of them acts although nothing happens (ISO 8601, UTC); None for never.
    error
        What the runner failed with, or else why a saga is stuck.
    """

    saga: str
    position: int
    state: str
    open: int
    stuck: int
    waiting: int
    retrying: int
    due: str | None
    error: str | None
    updated: str
    pid: int

    def __post_init__(self) -> None:
        if self.due is not None:
            instants.instant(self.due)  # a note that says none is none of ours


@dataclass(frozen=True)
class SagaHealth:
    """The sagas of a class as `esnb status` shows them; see `SagaNote` for what is not said here.

    Attributes
    ----------
    behind, seconds
        How many events of the log they have not seen, and how long the oldest of them is there.
    health
        ``"ok"``; ``"stuck"``, at least one waits for somebody to resume it; ``"behind"``, events
        or deadlines wait and no runner is at work; ``"failed"``, the runner ended with an error.
    """

    saga: str
    position: int
    behind: int
    seconds: float
    running: bool
    health: str
    open: int
    stuck: int
    waiting: int
    retrying: int
    due: str | None
    updated: str
    error: str | None

    @property
    def well(self) -> bool:
        """Whether nobody need look after them."""
        return self.health == "ok"


class Notes:
    """The turn and the note of the runners of one class."""

    def __init__(self, log: Log, category: str) -> None:
        tag = hashlib.sha256(category.encode()).hexdigest()[:16]
        self._category = category
        self._folder = _folder(log)
        self._path = self._folder / f"{tag}.json"
        self._next = 0.0

    @contextmanager
    def turn(self, stopping: threading.Event) -> Iterator[bool]:
        """Wait until no other runner works on this class; the block is told whether that came."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(self._path.with_suffix(".lock"))
        taken = waited = False
        try:
            while not taken and not stopping.is_set():
                try:
                    lock.take(0)
                    taken = True
                except LogBusyError:
                    if not waited:
                        logging.say("info", "saga waits", sagas=self._category)
                    waited = True
                    stopping.wait(_TURN)
            yield taken
        finally:
            if taken:
                lock.give_back()
            lock.close()

    def ready(self) -> float:
        """Return in how many seconds it is time for another note; 0 for now."""
        return max(0.0, self._next - time.monotonic())

    def write(
        self, state: str, position: int, sagas: Iterable[State], error: str | None = None
    ) -> None:
        """Write the note anew."""
        began = time.monotonic()
        note = noted(self._category, state, position, sagas, error)
        put(self._path, note)
        ended = time.monotonic()
        self._next = ended + max(_OFTEN, _TIMES * (ended - began))


def noted(
    category: str, state: str, position: int, sagas: Iterable[State], error: str | None = None
) -> SagaNote:
    """Return the note on sagas, those that have ended aside."""
    count = stuck = waiting = retrying = 0
    first: datetime | None = None
    for saga in sagas:
        if saga.status == "new":
            continue
        count += 1
        if saga.status == "stuck":
            stuck += 1
            error = error or f"{saga.stream}: {saga.error}"
            continue
        waiting += any(at is not None for at in saga.waits.values())
        retrying += saga.tries > 0
        due = saga.due()
        if due is not None and (first is None or due.at < first):
            first = due.at
    return SagaNote(
        saga=category,
        position=position,
        state=state,
        open=count,
        stuck=stuck,
        waiting=waiting,
        retrying=retrying,
        due=None if first is None else instants.iso(first),
        error=None if error is None else error[:_MOST],
        updated=instants.iso(instants.now()),
        pid=os.getpid(),
    )


def saga_health(log: Log) -> list[SagaHealth]:
    """Return the sagas of a log that have run, by category, as they were last told of."""
    found = [_judged(log, note, running) for note, running in notes(_folder(log), SagaNote)]
    return sorted(found, key=lambda one: one.saga)


def _judged(log: Log, note: SagaNote, running: bool) -> SagaHealth:
    behind, seconds = lag(log, note.position)
    overdue = note.due is not None and instants.instant(note.due) <= log.clock()
    if note.state == "failed" and not running:
        said = "failed"
    elif not running and (behind or overdue):
        said = "behind"
    else:
        said = "stuck" if note.stuck else "ok"
    return SagaHealth(
        saga=note.saga,
        position=note.position,
        behind=behind,
        seconds=round(seconds, 3),
        running=running,
        health=said,
        open=note.open,
        stuck=note.stuck,
        waiting=note.waiting,
        retrying=note.retrying,
        due=note.due,
        updated=note.updated,
        error=note.error,
    )


def _folder(log: Log) -> Path:
    return Layout(log.path).derived / "sagas"
