"""Writing files so that they are there after a power cut.

Nobody below us syncs (neither pyarrow nor DuckDB), so every file of a log goes
through here: written beside its place, synced, given its name, and the folder
synced.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from esnb.errors import ReadOnlyLogError, StorageError

__all__ = ["digest", "put_if_absent", "storage_errors", "sync_file", "sync_folder", "temporary"]

TEMPORARY = ".tmp-"


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an ``OSError`` within the block into an error of esnb that names `path`."""
    try:
        yield
    except (StorageError, FileExistsError, FileNotFoundError, NotADirectoryError):
        raise  # those say something about the log; the callers know what
    except OSError as error:
        raise refused(path, doing, error) from error


def refused(path: Path, doing: str, error: OSError) -> ReadOnlyLogError | StorageError:
    """Return the error of esnb for an ``OSError`` met while `doing` something to `path`."""
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnlyLogError(
            f"{path}: {doing} was refused ({os.strerror(error.errno)}). "
            "The log can still be read; to write, open it where you may write."
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = "Free some space and try again. " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return StorageError(
        f"{path}: {doing} failed ({reason}). {hint}Nothing that was acknowledged is lost.",
        path=path,
        code=error.errno,
    )


def temporary(folder: Path) -> Path:
    """Return a new name for an unfinished file in `folder`."""
    return folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"


def sync_file(path: Path) -> None:
    """Force the content of a file to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk."""
    sync_file(path)


def put_if_absent(path: Path, content: bytes) -> None:
    """Write a whole, synced file under a name that nobody has taken.

    Raises
    ------
    FileExistsError
        If the name is taken.
    OSError
        From the system; the attribute ``published`` of the error is true when
        the file already had its name, so that it may or may not survive.
    """
    unfinished = temporary(path.parent)
    published = False
    try:
        handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(unfinished, path)
        except OSError as error:
            # A refused link can still have been made (the answer was lost on its way back).
            published = not isinstance(error, FileExistsError) and path.exists()
            raise
        published = True
        sync_folder(path.parent)
    except OSError as error:
        error.published = published  # type: ignore[attr-defined]
        raise
    finally:
        with suppress(OSError):
            os.unlink(unfinished)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
