"""What is known in a log of its projections: a note of each, for `esnb status`.

Checkpoints stand in the sinks, which may need a password; the notes under
``derived/projections/`` say where, and how far the projection was when its runner last wrote
one (about once a second).  Whether a runner is at work now is told by a lock that it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from esnb import instants
from esnb.errors import LogBusyError
from esnb.log.layout import Layout
from esnb.log.locks import Lock, try_held
from esnb.log.subscription import Wanted

if TYPE_CHECKING:
    from esnb.log import Log

__all__ = ["Health", "Note", "Registry", "got", "health", "is_held", "lag", "notes", "put"]

_BLOCK = 4096
_LOOKS, _PAUSE = 3, 0.002
_Note = TypeVar("_Note")


@dataclass(frozen=True)
class Note:
    """What a runner says of its projection.

    Attributes
    ----------
    kind, place
        The sink, without passwords.
    state
        ``"running"``, ``"waiting"`` (another runner works), ``"away"`` (the sink is),
        ``"paused"``, ``"stopped"``, ``"failed"``.
    error
        What it failed with.
    """

    name: str
    kind: str
    place: str
    version: int
    position: int
    state: str
    updated: str
    pid: int
    dead_letters: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Health:
    """A projection as `esnb status` shows it.

    Attributes
    ----------
    behind, seconds
        How many events of the log it has not seen, and how long the oldest of them is there.
    health
        ``"ok"``, ``"paused"``, ``"behind"`` (events wait and no runner is at work),
        ``"away"`` (the sink is) or ``"failed"``.
    """

    projection: str
    sink: str
    place: str
    version: int
    position: int
    behind: int
    seconds: float
    running: bool
    health: str
    dead_letters: int
    updated: str
    error: str | None

    @property
    def well(self) -> bool:
        """Whether nobody need look after it."""
        return self.health in ("ok", "paused")


class Registry:
    """The note of one projection in one sink."""

    def __init__(self, log: Log, name: str, kind: str, place: str) -> None:
        tag = hashlib.sha256("\x00".join((name, kind, place)).encode()).hexdigest()[:16]
        self._folder = _folder(log)
        self._path = self._folder / f"{tag}.json"
        self._writable = not log.read_only
        self._lock = Lock(self._folder / f"{tag}.lock")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Say that a runner is at work within the block."""
        taken = False
        if self._writable:
            self._folder.mkdir(parents=True, exist_ok=True)
            with suppress(LogBusyError):
                self._lock.take(0)
                taken = True
        try:
            yield
        finally:
            if taken:
                self._lock.give_back()
            self._lock.close()

    def write(self, note: Note) -> None:
        """Replace the note; where that cannot be done, the old one stays."""
        if self._writable:
            put(self._path, note)


def health(log: Log) -> list[Health]:
    """Return the projections of a log that have run, by name, as they were last told of."""
    found = [_judged(log, note, running) for note, running in notes(_folder(log), Note)]
    return sorted(found, key=lambda one: (one.projection, one.place))


def lag(log: Log, position: int) -> tuple[int, float]:
    """Return how many events stand after a position, and how many seconds the first has."""
    behind = max(0, log.next_position - 1 - position)
    return behind, _seconds(log, position) if behind else 0.0


def notes(folder: Path, kind: Callable[..., _Note]) -> Iterator[tuple[_Note, bool]]:
    """Yield the notes of a folder, each with whether its runner is at work."""
    for path in sorted(folder.glob("*.json")):
        try:
            note = kind(**got(path))
        except (OSError, ValueError, TypeError):
            continue  # somebody else's file, or one that is just going
        yield note, is_held(path.with_suffix(".lock"))


def _seconds(log: Log, position: int) -> float:
    for batch in log.source.batches(position, Wanted(), 1, before=position + 2):
        for at in batch.table["recorded_on"].to_pylist():
            recorded: datetime = at
            return max(0.0, (log.clock() - recorded).total_seconds())
    return 0.0


def _judged(log: Log, note: Note, running: bool) -> Health:
    behind, seconds = lag(log, note.position)
    if note.state in ("failed", "paused"):
        said = note.state
    elif running:
        said = "away" if note.state == "away" else "ok"
    else:
        said = "behind" if behind else "ok"
    return Health(
        projection=note.name,
        sink=note.kind,
        place=note.place,
        version=note.version,
        position=note.position,
        behind=behind,
        seconds=round(seconds, 3),
        running=running,
        health=said,
        dead_letters=note.dead_letters,
        updated=note.updated,
        error=note.error,
    )


def put(path: Path, note: Any) -> None:
    """Write a note in place of an older one; where that cannot be done, the old one stays."""
    # In one go, over the same blocks: a file that is renamed over another costs a sync.
    text = json.dumps(asdict(note), sort_keys=True).encode()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            size = max(os.fstat(handle).st_size, -(-len(text) // _BLOCK) * _BLOCK)
            os.pwrite(handle, text.ljust(size), 0)
        finally:
            os.close(handle)


def got(path: Path) -> dict[str, Any]:
    """Return what a note says.

    Raises
    ------
    OSError, ValueError
        If there is none, or it is none.
    """
    for _ in range(_LOOKS):
        with suppress(ValueError):
            return dict(json.loads(path.read_text()))
        time.sleep(_PAUSE)  # it may be just being written
    return dict(json.loads(path.read_text()))


def is_held(path: Path) -> bool:
    """Tell whether somebody holds a lock file."""
    if not path.exists():
        return False
    try:
        with try_held(path) as free:
            return not free
    except Exception:  # a folder that may only be read: nothing can be told
        return False


def _folder(log: Log) -> Path:
    return Layout(log.path).derived / "projections"


def told(note: Note, **changes: object) -> Note:
    """Return the note with some of it changed, as of now."""
    return replace(note, updated=instants.iso(instants.now()), pid=os.getpid(), **changes)  # type: ignore[arg-type]
