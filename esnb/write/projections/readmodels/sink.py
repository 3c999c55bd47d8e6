"""What a database has to do to hold a read model: rows and checkpoint, changed together.

A sink keeps, for each version of a projection, its tables, how far it has come (the
checkpoint) and its dead letters.  One version is current: that is what readers see.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esnb.errors import ProjectionError
from esnb.write.projections.changes import Changes, Columns

__all__ = ["Checkpoint", "DeadLetter", "Down", "Moved", "Refused", "Sink", "State"]


class Down(Exception):
    """The database is away, busy or restarting: wait and try again."""


class Moved(Exception):
    """The checkpoint is not where it was left, or the lease is lost: look again."""


class Refused(Exception):
    """The database cannot keep what it is given; nothing of it was kept."""


@dataclass(frozen=True)
class Checkpoint:
    """How far a version of a projection has come.

    Attributes
    ----------
    log_id, event_id
        Of the log, and of its event at `position`: a log that was set back has another.
    position
        Everything up to here is in the tables; -1 for nothing.
    shape
        Fingerprint of the tables, and their names.
    through
        A batch up to here was begun and has to be done over, exactly as it was cut (sinks
        without transactions), or None.
    """

    log_id: str
    position: int
    event_id: str | None
    shape: str
    through: int | None = None

    @property
    def tables(self) -> list[str]:
        """Names of the tables that it was made with, which a later class may not have."""
        return [str(name) for name in json.loads(self.shape.partition(" ")[2] or "[]")]


@dataclass(frozen=True)
class State:
    """What a sink knows of a projection.

    Attributes
    ----------
    current
        The version that readers see; None before the first.
    versions
        Checkpoints by version.
    """

    current: int | None
    versions: Mapping[int, Checkpoint] = field(default_factory=dict)
    paused: bool = False


@dataclass(frozen=True)
class DeadLetter:
    """An event that a projection could not take, and went on without.

    Attributes
    ----------
    handler, error
        What failed, and how.
    failed_on
        When (ISO text, UTC).
    """

    position: int
    event_id: str
    stream: str
    event_type: str
    handler: str
    error: str
    failed_on: str


class Sink(ABC):
    """A database that holds read models.

    Attributes
    ----------
    kind
        Which.
    nul
        Whether its text can hold NUL characters.
    atomic
        Whether rows and checkpoint change in one transaction.
    watched
        Whether it is asked now and then while there is nothing to do.
    lease
        Seconds after which another runner may take over from one that is silent.
    """

    kind: str = ""
    nul: bool = True
    atomic: bool = True
    watched: bool = True
    lease: float = 10.0
    _name: str = ""
    _tables: Mapping[str, Columns] = {}

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for people: without passwords."""

    def bind(self, name: str, tables: Mapping[str, Columns]) -> None:
        """Say which projection it is for.  One object serves one projection."""
        if self._name and (self._name, self._tables) != (name, tables):
            raise ProjectionError(
                f"this {type(self).__name__} serves the projection {self._name!r} already; "
                f"make another object for {name!r}",
                projection=name,
            )
        self._name, self._tables = name, tables

    @abstractmethod
    def open(self) -> None:
        """Connect, and make the tables of the bookkeeping; nothing when it is connected."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection and of every lease."""

    def rest(self) -> None:  # noqa: B027 (nothing to do is right for most)
        """There is nothing to do for a while."""

    @abstractmethod
    def state(self) -> State:
        """Return what is known of the projection."""

    @abstractmethod
    def acquire(self, version: int) -> bool:
        """Take the lease of a version; False when another runner has it."""

    @abstractmethod
    def beat(self, version: int) -> None:
        """Say that the holder of the lease is alive; `Moved` if it is lost."""

    @abstractmethod
    def release(self, version: int) -> None:
        """Give the lease back."""

    @abstractmethod
    def create(self, version: int, checkpoint: Checkpoint) -> None:
        """Make the empty tables of a version, with its checkpoint."""

    @abstractmethod
    def apply(
        self,
        version: int,
        old: Checkpoint,
        new: Checkpoint,
        changes: Changes,
        letters: Sequence[DeadLetter],
    ) -> None:
        """Change rows, dead letters and checkpoint: all or nothing, and only from `old` on."""

    def claim(self, version: int, old: Checkpoint, through: int) -> Checkpoint:
        """Note that the batch up to `through` begins, where that is needed; return the checkpoint.

        Its `through` is that of a batch begun before, if there is one.
        """
        return old

    @abstractmethod
    def switch(self, version: int) -> None:
        """Make a version the current one."""

    @abstractmethod
    def drop(self, version: int) -> None:
        """Take a version away, with its checkpoint; nothing when it is not there."""

    @abstractmethod
    def pause(self, paused: bool) -> None:
        """Note whether runners should pause."""

    @abstractmethod
    def letters(self, version: int) -> list[DeadLetter]:
        """Return the dead letters of a version by position."""

    @abstractmethod
    def settle(self, version: int, letter: DeadLetter, changes: Changes) -> None:
        """Apply what a dead letter does after all, once, and take it from the list."""

    @abstractmethod
    def rows(self, table: str, version: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the rows of a table, of the current version without one: key and columns."""

    def _tag(self, length: int = 12) -> str:
        """Return a short name of the projection for lock files and lock numbers."""
        return hashlib.sha256(self._name.encode()).hexdigest()[:length]
