"""What pieces of states share: whose states they show, and the call that makes them anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from esnb.eventlog import EventLog
from esnb.timeline import Timeline
from esnb.widget.base.piece import Piece
from esnb.widget.base.session import Session

if TYPE_CHECKING:
    from esnb.aggregate import Aggregate

__all__ = ["StatePiece"]


class StatePiece(Piece):
    """A piece of the states of aggregates: of a timeline, a log or a session."""

    _source: Timeline | EventLog | Session
    _of: str | type[Aggregate] | None

    def _called(self, given: Iterable[str], names: Iterable[str]) -> str:
        """Return the call that makes this piece anew.

        Parameters
        ----------
        given
            Arguments behind the source, as they are written.
        names
            Settings to say where they are not as usual.
        """
        if isinstance(self._source, Session):
            source = "session"
        else:
            source = "timeline" if isinstance(self._source, Timeline) else "log"
        arguments = [source, *given]
        if self._of is not None:
            of = repr(self._of) if isinstance(self._of, str) else self._of.__name__
            arguments.append(f"of={of}")
        if self.session is not None and self.session is not self._source:
            arguments.append("session=session")
        if self._key is not None:
            arguments.append(f"key={self._key[1]!r}")
        arguments += self.altered(names)
        return f"esnb.widget.{type(self).__name__}({', '.join(arguments)})"
