"""The store of a fold's states: found, checked, built, extended, or built anew.

It stands under ``derived/timelines/`` of the log, or in the session's temporary folder where
the log cannot be written.  It is named after the fingerprint of the fold, and whatever is
wrong with it, it is built again from the events.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from esnb.errors import DamagedLogError, LogFormatError
from esnb.log import files, locks
from esnb.log.layout import FORMAT, read_sealed, sealed_json
from esnb.timeline import build, cube
from esnb.timeline import state as states
from esnb.timeline.fold import Fold
from esnb.timeline.memory import NotKept
from esnb.timeline.state import Part, State
from esnb.timeline.table import Table

__all__ = ["Notes", "Store", "drop"]

_FOLDER, _NOTES = "timelines", "notes"
# Files that no generation names stay this long (in seconds), for answers that still read them.
_GRACE = 3600
# Stores that have not grown lately go when all of them together have more bytes than this.
_MAX_KEPT = 32 << 30
# Another process that builds is waited for this long.
_PATIENCE = 3600.0


class Store:
    """The states of one fold over one log.

    Parameters
    ----------
    derived
        Folder that the session's cursors may read.
    fold
        What is folded.
    """

    def __init__(self, derived: Path, fold: Fold) -> None:
        self._fold = fold
        self._folder = derived / _FOLDER / fold.fingerprint[:32]
        self._lock = threading.RLock()
        self._checked: set[tuple[Any, ...]] = set()
        self._anchored: tuple[int, str | None] | None = None
        self._mark: tuple[int, int, int] | None = None
        self._state: State | None = None

    @property
    def fingerprint(self) -> str:
        """Of the fold."""
        return self._fold.fingerprint

    def table(
        self,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        next_position: int,
        newest: Callable[[], int],
    ) -> Table:
        """Return the interval table of the log up to a position, or a little beyond.

        Parameters
        ----------
        cursor
            Gives a cursor of our own that knows ``events`` up to `next_position`.
        newest
            Tells how far the log goes by now: another process may have extended the store.

        Raises
        ------
        TimelineError
            If a value does not fit the type declared for its field.
        """
        with self._lock, files.storage_errors(self._folder, "keeping a timeline"):
            for again in (True, False):
                try:
                    return self._table(self._current(cursor, next_position, newest))
                except (FileNotFoundError, duckdb.IOException):
                    # Somebody took it away meanwhile; a second time it is something else.
                    if not again:
                        raise
            raise AssertionError

    def _current(
        self,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        next_position: int,
        newest: Callable[[], int],
    ) -> State:
        found = self._found(cursor, next_position, newest)
        if found is not None and found.next_position >= next_position:
            return found
        self._folder.mkdir(parents=True, exist_ok=True)
        with locks.held(self._folder / "lock", _PATIENCE):
            # Another process may have done it while we waited.
            found = self._found(cursor, next_position, newest)
            if found is not None and found.next_position >= next_position:
                return found
            made = None
            # What Python holds of a state it cannot always keep; the events have all of it.
            with suppress(NotKept):
                if found is not None:
                    made = build.extended(cursor(), self._table(found), next_position)
            if made is None:
                made = build.built(cursor(), self._fold, self._folder, next_position)
            self._publish(made)
        return made

    def cube(
        self, cursor: duckdb.DuckDBPyConnection, table: Table, name: str
    ) -> tuple[Table, Part | None]:
        """Return the cube of a column of `table`, and the table that has it.

        None for the cube if the column has too many different values for one.
        """
        with self._lock:
            if name in table.state.cubes:
                return table, table.state.cubes[name]
            part = cube.made(cursor, table, name)
            with locks.held(self._folder / "lock", _PATIENCE):
                state = replace(table.state, cubes={**table.state.cubes, name: part})
                now = states.read(self._folder, self._fold.fingerprint)
                # Somebody may have extended the store meanwhile; the answer is right all the same.
                if now is not None and replace(now, cubes={}) == replace(table.state, cubes={}):
                    state = replace(now, cubes={**now.cubes, name: part})
                    self._publish(state)
            return self._table(state), part

    def drop(self) -> None:
        """Take the store away."""
        with self._lock:
            self._state = None
            drop(self._folder)

    def _table(self, state: State) -> Table:
        return Table(self._fold, self._folder, state)

    def _found(
        self,
        cursor: Callable[[], duckdb.DuckDBPyConnection],
        next_position: int,
        newest: Callable[[], int],
    ) -> State | None:
        """Return the newest generation if it is whole, and of this log."""
        mark = states.mark(self._folder)
        if mark is None:
            return None
        state = self._state
        if state is None or mark != self._mark:
            state = states.read(self._folder, self._fold.fingerprint)
        if state is None or not all(
            states.intact(self._folder, part, self._checked) for part in state.parts()
        ):
            return None
        if state.next_position > next_position and state.next_position > newest():
            return None
        if state.next_position <= next_position:
            where = (state.next_position, state.anchor)
            if where != self._anchored:
                if build.anchor(cursor(), state.next_position) != state.anchor:
                    return None
                self._anchored = where
        self._state, self._mark = state, mark
        return state

    def _publish(self, state: State) -> None:
        states.write(self._folder, self._fold.fingerprint, state)
        for part in state.parts():
            self._checked.add(states.key_of(self._folder, part))
        self._state, self._mark = state, states.mark(self._folder)
        self._anchored = (state.next_position, state.anchor)
        self._tidy(state)

    def _tidy(self, state: State) -> None:
        """Remove what no generation needs; what cannot be removed stays."""
        needed = {*state.names(), *state.previous, "state.json", "lock"}
        old = time.time() - _GRACE
        with suppress(OSError):
            for entry in os.scandir(self._folder):
                if entry.name not in needed and entry.stat().st_mtime < old:
                    os.unlink(entry.path)
        _make_room(self._folder)


class Notes:
    """Small things that are dear to find out, kept as JSON beside the stores."""

    def __init__(self, derived: Path) -> None:
        self._folder = derived / _FOLDER / _NOTES

    def recall(self, key: str) -> Mapping[str, Any] | None:
        """Return what was noted; None if there is nothing that can be trusted."""
        path = self._folder / f"{key}.json"
        try:
            fields = read_sealed(path, path.read_bytes())
        except (OSError, DamagedLogError, LogFormatError):
            return None
        return fields

    def note(self, key: str, content: Mapping[str, Any]) -> None:
        """Keep `content` under `key`, a word that can be a file name."""
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = files.temporary(self._folder)
        try:
            unfinished.write_bytes(sealed_json({**content, "format": FORMAT}))
            os.replace(unfinished, self._folder / f"{key}.json")
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def drop(folder: Path) -> None:
    """Take a store away, its state first: half of one is none."""
    with suppress(OSError):
        (folder / "state.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _make_room(kept: Path) -> None:
    """Remove the stores that grew longest ago while all have more than `_MAX_KEPT` bytes."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(kept.parent):
            if entry.name != _NOTES and entry.is_dir(follow_symlinks=False):
                sizes = [file.stat(follow_symlinks=False).st_size for file in os.scandir(entry)]
                found.append((entry.stat().st_mtime, sum(sizes), Path(entry.path)))
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found):
        if total <= _MAX_KEPT:
            return
        if folder != kept:
            drop(folder)
            total -= size
