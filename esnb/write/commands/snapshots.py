"""Snapshots of aggregates: where a fold may begin instead of at the first event.

They stand in ``derived/snapshots.sqlite`` of the log, one for a class and a stream.  The
file is a convenience and never the truth: another process may take it away at any time, and
what is damaged, or written by another class, is as if it were not there.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Kept", "Snapshots"]

# Whoever waits longer is faster without a snapshot.
_PATIENCE = 0.2
_TABLE = """create table if not exists snapshots (
    fingerprint text, stream text, owner text, revision integer, event_id text, state text,
    digest text, primary key (fingerprint, stream)) without rowid"""
# What the disk or another process is to blame for says nothing of the content.
_NOT_DAMAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}


@dataclass(frozen=True)
class Kept:
    """A state as it is kept.

    Attributes
    ----------
    revision, event_id
        The event after which the state stands.
    state
        JSON text (see `esnb.write.commands.states`).
    """

    revision: int
    event_id: str
    state: str


class Snapshots:
    """The snapshots of one class in one log.

    Parameters
    ----------
    path
        The file.
    fingerprint
        Of all that decides the states.
    owner
        Name of the class, under any fingerprint.
    """

    def __init__(self, path: Path, fingerprint: str, owner: str) -> None:
        self._path = path
        self._fingerprint = fingerprint
        self._owner = owner
        self._tidied = False

    def find(self, stream: str) -> Kept | None:
        """Return the snapshot of a stream; None if there is none that can be trusted."""
        row = None
        with self._tried():
            if not self._path.exists():
                return None
            with self._open("ro") as connection:
                row = connection.execute(
                    "select revision, event_id, state, digest from snapshots"
                    " where fingerprint = ? and stream = ?",
                    (self._fingerprint, stream),
                ).fetchone()
        if row is None or row[3] != self._digest(stream, *row[:3]):
            return None
        return Kept(*row[:3])

    def keep(self, stream: str, kept: Kept) -> None:
        """Keep a snapshot; where that cannot be done, there is none."""
        row = (kept.revision, kept.event_id, kept.state)
        with self._tried():
            self._path.parent.mkdir(exist_ok=True)
            with self._open("rwc") as connection:
                connection.execute(_TABLE)
                if not self._tidied:
                    # Those of the class as it was before; nothing will ask for them again.
                    connection.execute(
                        "delete from snapshots where owner = ? and fingerprint <> ?",
                        (self._owner, self._fingerprint),
                    )
                    self._tidied = True
                connection.execute(
                    "insert or replace into snapshots values (?, ?, ?, ?, ?, ?, ?)",
                    (self._fingerprint, stream, self._owner, *row, self._digest(stream, *row)),
                )

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction.

        It is opened each time: a file that was taken away meanwhile is found out, and
        nothing stays open across a fork.  Without a journal on the disk no remains of one
        can meet a new file.
        """
        if self._path.is_symlink():
            self._path.unlink()
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_PATIENCE,
            isolation_level=None,
        )
        try:
            if mode != "ro":
                connection.execute("pragma journal_mode = memory")
                connection.execute("pragma synchronous = off")
                connection.execute("begin immediate")
            yield connection
            if mode != "ro":
                connection.execute("commit")
        finally:
            connection.close()

    @contextmanager
    def _tried(self) -> Iterator[None]:
        """Let it fail; a file that is damaged, or is something else, goes."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
            if code & 0xFF not in _NOT_DAMAGE:
                self._tidied = False
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)
        except OSError:
            pass

    def _digest(self, stream: str, revision: object, event_id: object, state: object) -> str:
        parts = (self._fingerprint, stream, revision, event_id, state)
        return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()
