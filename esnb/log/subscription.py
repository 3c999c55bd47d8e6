"""Subscriptions: the events after a position, in order, and those that are still to come.

Waiting is cheap: the files that every commit changes are looked at (a few microseconds), and
the log itself only when they have changed, or when it has not been looked at for a while.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from esnb.errors import QueryError, shown
from esnb.event import RecordedEvent
from esnb.log.finder import Finder, events_of
from esnb.log.layout import Layout
from esnb.log.snapshot import Snapshot
from esnb.schema import EVENT_SCHEMA, NO_EVENTS

__all__ = ["Batch", "Source", "Subscription", "Wanted", "Watcher"]

_BATCH = 10_000
# The first pause while waiting, and the longest between two looks at the files, in seconds.
_SHORT, _LONG = 0.002, 0.05


@dataclass(frozen=True, eq=False)
class Batch:
    """Events of a subscription, by position.

    Attributes
    ----------
    after, through
        Every event with ``after < position <= through`` was looked at; those that are asked
        for are in `table`.  Go on after `through`.
    table
        Table of the canonical columns (see `esnb.schema.EVENT_SCHEMA`); it may be empty.
    """

    after: int
    through: int
    table: pa.Table = field(repr=False)

    def events(self) -> Iterator[RecordedEvent]:
        """Yield the events."""
        return events_of(self.table.combine_chunks().to_reader())


class Subscription(Iterator[RecordedEvent]):
    """Events after a position: those that are there, and with `follow` those that come.

    Iterate over it for events, or over `batches()` for Arrow tables.  Made by
    ``log.subscribe``, which tells the parameters.

    Attributes
    ----------
    position
        Everything up to here was given (or was not asked for); -1 at the beginning.
    """

    def __init__(
        self,
        source: Source,
        *,
        after: int,
        follow: bool,
        categories: Sequence[str],
        event_types: Sequence[str],
        batch: int,
        poll: float,
        stop: Callable[[], bool] | None,
    ) -> None:
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
            raise QueryError(f"batch={shown(batch)}: give a number of events from 1")
        self.position = after
        self._source = source
        self._follow = follow
        self._wanted = Wanted(_texts("category", categories), _texts("event_types", event_types))
        self._size = batch
        self._stopped = threading.Event()
        self._asked = stop
        self._watcher = Watcher(source, poll)
        self._events: Iterator[RecordedEvent] | None = None

    def stop(self) -> None:
        """End it, from any thread, at the next event; one that waits ends at once."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to end."""
        return self._stopped.is_set() or (self._asked is not None and self._asked())

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> RecordedEvent:
        if self._events is None:
            self._events = self._one_by_one()
        return next(self._events)

    def batches(self) -> Iterator[Batch]:
        """Yield batches of Arrow; one that holds none of the events that are asked for, too."""
        while True:
            for batch in self._source.batches(self.position, self._wanted, self._size):
                yield batch
                self.position = batch.through
                if self._stopped.is_set():
                    return
            if not self._follow or not self._watcher.wait(self.position, lambda: self.stopped):
                return

    def _one_by_one(self) -> Iterator[RecordedEvent]:
        for batch in self.batches():
            for event in batch.events():
                yield event
                if self._stopped.is_set():
                    return

    def __repr__(self) -> str:
        return f"Subscription(position={self.position}, follow={self._follow})"


@dataclass(frozen=True)
class Wanted:
    """Which events: of these categories and of these types; an empty part asks nothing."""

    categories: tuple[str, ...] = ()
    event_types: tuple[str, ...] = ()

    def sql(self) -> tuple[str, list[Any]]:
        """Return the condition as SQL, and its values."""
        parts: list[str] = ["true"]
        values: list[Any] = []
        for column, texts in (("category", self.categories), ("event_type", self.event_types)):
            if texts:
                parts.append(f"{column} in ({', '.join('?' * len(texts))})")
                values += texts
        return " and ".join(parts), values

    def of(self, table: pa.Table) -> pa.Table:
        """Return those rows of a table that are asked for."""
        for column, texts in (("category", self.categories), ("event_type", self.event_types)):
            if texts and table.num_rows:
                table = table.filter(pc.is_in(table[column], pa.array(texts, pa.string())))
        return table


class Source:
    """Batches of one log."""

    def __init__(self, layout: Layout, finder: Finder, snapshot: Callable[[], Snapshot]) -> None:
        self.snapshot = snapshot
        self._layout = layout
        self._finder = finder

    def stamp(self) -> tuple[int, ...]:
        """Return what differs when the log has grown (nearly always: see `Watcher`)."""
        tail = str(self._layout.tail)
        return (*_stamp(f"{tail}-wal"), *_stamp(tail), *_stamp(str(self._layout.manifests)))

    def batches(
        self, after: int, wanted: Wanted, size: int, before: int | None = None
    ) -> Iterator[Batch]:
        """Yield the events after a position, up to one, or to the end of the log as it stands."""
        snapshot = self.snapshot()
        end = snapshot.next_position if before is None else min(before, snapshot.next_position)
        start = after + 1
        sealed_end = min(end, snapshot.watermark)
        while start < sealed_end:
            stop = min(sealed_end, self._finder.window_end(snapshot.segments, start))
            yield from self._sealed(snapshot, start, stop, wanted, size)
            start = stop
        while start < end:
            stop = min(end, start + size)
            rows = snapshot.tail.slice(start - snapshot.watermark, stop - start)
            yield Batch(start - 1, stop - 1, wanted.of(rows))
            start = stop

    def _sealed(
        self, snapshot: Snapshot, start: int, stop: int, wanted: Wanted, size: int
    ) -> Iterator[Batch]:
        """Yield the events of sealed positions; the sort of them is made once, not once a batch."""
        segments = [s for s in snapshot.segments if s.first < stop and s.last >= start]
        asked, values = wanted.sql()
        condition = f"position >= ? and position < ? and {asked}"
        reader = self._finder.select(segments, condition, [start, stop, *values])
        after = start - 1
        waiting: list[pa.RecordBatch] = []
        rows = 0
        for read in reader:
            offset = 0
            while offset < read.num_rows:
                part = read.slice(offset, size - rows)
                waiting.append(part)
                rows += part.num_rows
                offset += part.num_rows
                if rows == size:
                    through = part.column("position")[-1].as_py()
                    yield Batch(after, through, _canonical(waiting))
                    after, waiting, rows = through, [], 0
        if after < stop - 1:
            table = _canonical(waiting) if waiting else NO_EVENTS
            yield Batch(after, stop - 1, table)


class Watcher:
    """Waits until a log grows.

    Parameters
    ----------
    poll
        Seconds after which the log is looked at although its files look as before: two
        commits within one tick of the file system's clock may leave the same stamp.
    """

    def __init__(self, source: Source, poll: float) -> None:
        if not poll > 0:
            raise QueryError(f"poll={shown(poll)}: give seconds above 0")
        self._source = source
        self._poll = poll

    def wait(
        self, after: int, stopped: Callable[[], bool], *, seconds: float = float("inf")
    ) -> bool:
        """Wait for an event after a position; False when it was stopped or time is up."""
        end = time.monotonic() + seconds
        pause = min(_SHORT, self._poll)
        while not stopped():
            stamp = self._source.stamp()
            if self._source.snapshot().next_position > after + 1:
                return True
            look = min(time.monotonic() + self._poll, end)
            while self._source.stamp() == stamp:
                left = look - time.monotonic()
                if left <= 0:
                    break
                time.sleep(min(pause, left))
                pause = min(pause * 1.5, _LONG)
                if stopped():
                    return False
            if time.monotonic() >= end:
                return self._source.snapshot().next_position > after + 1
        return False


def _canonical(batches: list[pa.RecordBatch]) -> pa.Table:
    # DuckDB tells neither that a column is never NULL nor how the items of a list are called.
    return pa.Table.from_batches(batches).cast(EVENT_SCHEMA)


def _stamp(path: str | Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _texts(name: str, given: Sequence[str] | str) -> tuple[str, ...]:
    texts = (given,) if isinstance(given, str) else tuple(given)
    for text in texts:
        if not isinstance(text, str):
            raise QueryError(f"{name}: {shown(text)} is no text; give a text or a list of texts")
    return texts
