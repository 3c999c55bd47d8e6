"""What an append looks up and writes: in the tail at once, or together with others at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from esnb.event import RecordedEvent
from esnb.log.finder import Finder
from esnb.log.tail import Head, Row, Tail, recorded

__all__ = ["Ahead", "Direct", "Place"]

# SQLite takes 32,766 values in a statement.
_AT_ONCE = 10_000


class Place(Protocol):
    """Where events are appended within a transaction."""

    tail: Tail

    def head(self, stream: str) -> Head | None: ...

    def by_id(self, event_id: str) -> RecordedEvent | None: ...

    def put(self, stream: str, rows: Sequence[Row]) -> None: ...


class Direct:
    """The tail itself: asked for each append, and written by it."""

    def __init__(self, tail: Tail, finder: Finder) -> None:
        self.tail = tail
        self._finder = finder

    def head(self, stream: str) -> Head | None:
        return self.tail.head(stream)

    def by_id(self, event_id: str) -> RecordedEvent | None:
        return self._finder.by_id(self.tail, event_id)

    def put(self, stream: str, rows: Sequence[Row]) -> None:
        self.tail.insert(rows)
        last = rows[-1]
        self.tail.put_head(stream, last.revision, last.position)


class Ahead:
    """The tail as many appends will have left it: asked once, written once by `flush`.

    Parameters
    ----------
    ids, streams
        All that the appends will ask for.
    """

    def __init__(
        self, tail: Tail, finder: Finder, ids: Sequence[str], streams: Sequence[str]
    ) -> None:
        self.tail = tail
        self._finder = finder
        self._heads: dict[str, Head] = {}
        self._known = finder.maybe(ids)
        for start in range(0, max(len(ids), len(streams)), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            _, heads, known = tail.glance(ids[part], streams[part])
            self._heads |= heads
            self._known |= known
        self._rows: dict[str, Row] = {}
        self._moved: dict[str, Head] = {}

    def head(self, stream: str) -> Head | None:
        return self._heads.get(stream)

    def by_id(self, event_id: str) -> RecordedEvent | None:
        row = self._rows.get(event_id)
        if row is not None:
            return recorded(row)
        return self._finder.by_id(self.tail, event_id) if event_id in self._known else None

    def put(self, stream: str, rows: Sequence[Row]) -> None:
        for row in rows:
            self._rows[row.event_id] = row
        last = rows[-1]
        self._heads[stream] = self._moved[stream] = Head(last.revision, last.position)

    def flush(self) -> None:
        """Write what was put."""
        self.tail.insert_many(self._rows.values())
        self.tail.put_heads((stream, *head) for stream, head in self._moved.items())
