"""Sealing and compacting while the log is in use."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

from esnb.errors import EsnbError
from esnb.log.maintain import Maintenance

__all__ = ["Background"]

# A tail of this length adds some 30 ms to the first question after it has grown.
_SEAL_AT = 10_000


class Background:
    """A thread that is there while there is something to maintain."""

    def __init__(self, maintenance: Maintenance, path: Path) -> None:
        self._maintenance = maintenance
        self._path = path
        self._thread: threading.Thread | None = None

    def look(self, unsealed: int) -> None:
        """Begin to seal when the tail has many events."""
        busy = self._thread is not None and self._thread.is_alive()
        if not busy and unsealed >= _SEAL_AT:
            self._thread = threading.Thread(target=self._maintain, name="esnb-maintenance")
            self._thread.start()

    def join(self) -> None:
        """Wait for what is under way."""
        if self._thread is not None:
            self._thread.join()

    def _maintain(self) -> None:
        try:
            if self._maintenance.seal(wait=False):
                self._maintenance.compact(wait=False, everything=False)
        except EsnbError as error:
            # The events are safe in the tail; the next append tries again.
            warnings.warn(f"sealing {self._path} failed: {error}", stacklevel=2)
