"""What a timeline asks of whatever says what it folds: a class, or the payloads themselves."""

from __future__ import annotations

from typing import Protocol

from esnb.timeline.fold import Fold
from esnb.timeline.payloads import Log
from esnb.timeline.read import Read

__all__ = ["Definition"]


class Definition(Protocol):
    """What a timeline is of.

    Attributes
    ----------
    name
        Stem of the names of its SQL macros.
    """

    @property
    def name(self) -> str: ...

    def fold(self, log: Log) -> Fold:
        """Return what is folded, as the log is at one position.

        A fold of another fingerprint than before has its states built anew.
        """
        ...

    def settled(self, read: Read) -> Definition:
        """Return what can fold the log that was read: this, or another definition."""
        ...
