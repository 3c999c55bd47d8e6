"""Locks between processes, and the file systems on which they can be trusted."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from esnb.errors import LogBusyError, LogError
from esnb.log.files import refused

__all__ = ["Lock", "held", "refuse_network", "try_held"]

# flock and SQLite's WAL need one kernel that sees every lock; these share files between several.
_NETWORK = {"9p", "afs", "cifs", "fuse.sshfs", "ncpfs", "nfs", "nfs4", "smb2", "smb3", "smbfs"}
_PAUSE = 0.002


class Lock:
    """A lock file that stays open between its uses, for a lock that is taken often.

    One thread at a time may use it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self, timeout: float) -> None:
        """Wait for the lock, at most `timeout` seconds."""
        if self._handle is None:
            self._handle = _open(self._path)
        _lock(self._handle, self._path, timeout)

    def give_back(self) -> None:
        """Let the next one have it.  Said and not left to closing: a fork may hold a copy."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


@contextmanager
def held(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock file `path` within the block; wait for it at most `timeout` seconds."""
    with _opened(path) as handle:
        _lock(handle, path, timeout)
        yield


@contextmanager
def try_held(path: Path) -> Iterator[bool]:
    """Hold the lock file if nobody does; the block is told which."""
    with _opened(path) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = _open(path)
    try:
        yield handle
    finally:
        # Closing gives the lock back, also when it reports an error; nothing was written.
        with suppress(OSError):
            os.close(handle)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise refused(path, "opening the lock", error) from error


def _lock(handle: int, path: Path, timeout: float) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        pass
    if timeout == float("inf"):
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    end = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise LogBusyError(
                    f"{path}: another process held this lock for {timeout:g} s. "
                    "See what it does, or try again with a longer timeout."
                ) from None
            time.sleep(_PAUSE)


def refuse_network(path: Path) -> None:
    """Raise `LogError` if `path` stands on a file system shared over a network."""
    kind = file_system(path)
    if kind in _NETWORK:
        raise LogError(
            f"{path} is on a network file system ({kind}), where locks cannot be trusted. "
            "Keep the log on a local disk and share a backup of it."
        )


def file_system(path: Path) -> str | None:
    """Return the kind of file system under `path`, or None where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    real = os.path.realpath(path)
    best, kind = "", None
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind
