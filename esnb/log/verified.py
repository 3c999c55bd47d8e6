"""Checking the digests of segments, and remembering which have been checked.

The memory is kept outside the log, in the user's cache folder: a file is checked
once on each machine, and again when its size, its time of change or its place on
the disk differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from esnb.errors import DamagedLogError, InputError
from esnb.log import files
from esnb.log.segment import Segment

__all__ = ["Verified", "Verify"]

Verify = Literal["always", "once", "never"]


class Verified:
    """Digest checks under one policy: ``always``, ``once`` for a file on a machine, ``never``."""

    def __init__(self, log_id: str, policy: Verify) -> None:
        if policy not in ("always", "once", "never"):
            raise InputError(f"verify={policy!r}: say 'always', 'once' or 'never'")
        self.policy = policy
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        self._file = Path(cache) / "esnb" / f"verified-{log_id}.txt"
        self._known: set[str] | None = None

    def touch(self, segments: Iterable[Segment]) -> None:
        """Check files before their rows are shown.

        Raises
        ------
        DamagedLogError
            Naming the file that is missing or altered.
        """
        for segment in segments:
            mark = self._mark(segment)
            if self.policy == "never" or (self.policy == "once" and mark in self._memory()):
                continue
            self.check(segment)
            self._remember(mark)

    def check(self, segment: Segment) -> None:
        """Check one file, whatever the policy."""
        try:
            found = files.digest(segment.path)
        except FileNotFoundError:
            raise DamagedLogError(segment.path, "the file is missing") from None
        except OSError as error:
            raise DamagedLogError(segment.path, f"it cannot be read ({error.strerror})") from error
        if found != segment.sha256:
            raise DamagedLogError(
                segment.path,
                f"its SHA-256 does not match the manifest (positions {segment.first} to "
                f"{segment.last}, streams {segment.stream[0]!r} to {segment.stream[1]!r})",
            )

    def trust(self, segments: Iterable[Segment]) -> None:
        """Remember files that this process has just written and hashed."""
        for segment in segments:
            self._remember(self._mark(segment))

    def _mark(self, segment: Segment) -> str:
        try:
            status = segment.path.stat()
        except FileNotFoundError:
            raise DamagedLogError(segment.path, "the file is missing") from None
        except OSError as error:
            raise DamagedLogError(segment.path, f"it cannot be read ({error.strerror})") from error
        if status.st_size != segment.bytes:
            raise DamagedLogError(
                segment.path,
                f"it has {status.st_size} bytes, its manifest says {segment.bytes}",
            )
        return f"{segment.sha256} {status.st_size} {status.st_mtime_ns} {status.st_ino}"

    def _memory(self) -> set[str]:
        if self._known is None:
            try:
                self._known = set(self._file.read_text().splitlines())
            except (OSError, UnicodeDecodeError):
                self._known = set()
        return self._known

    def _remember(self, mark: str) -> None:
        if mark in self._memory():
            return
        self._memory().add(mark)
        # The memory only saves work: without a cache folder files are checked once a process.
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(mark + "\n")
