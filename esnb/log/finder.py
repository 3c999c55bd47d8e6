"""Finding events in the log by id, by stream, by position, or by a condition.

This is what the log needs for itself.  Questions of an analyst go through
`esnb.query`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from esnb import duck, instants
from esnb.errors import DamagedLogError, EventError
from esnb.event import RecordedEvent
from esnb.log.ids import IdIndex
from esnb.log.segment import Segment
from esnb.log.snapshot import Snapshot, Snapshots
from esnb.log.tail import State, Tail, recorded
from esnb.schema import COLUMNS, category_of

__all__ = ["EventQuery", "Finder", "events_of"]

_BATCH = 10_000
_SORTED_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class EventQuery:
    """A condition on events: any of the types, streams, categories, and all of the tags.

    An empty part asks nothing; several queries are joined by "or".
    """

    event_types: Sequence[str] = ()
    tags: Sequence[str] = ()
    streams: Sequence[str] = ()
    categories: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("event_types", "tags", "streams", "categories"):
            if isinstance(getattr(self, name), str):
                raise EventError(name, "must be a list of texts")

    def matches(self, event: RecordedEvent) -> bool:
        """Tell whether an event fulfils the condition."""
        return (
            (not self.event_types or event.event_type in self.event_types)
            and (not self.streams or event.stream in self.streams)
            and (not self.categories or category_of(event.stream) in self.categories)
            and set(self.tags) <= set(event.tags)
        )


class Finder:
    """Finds events in segments and tail."""

    def __init__(self, snapshots: Snapshots, ids: IdIndex) -> None:
        self._snapshots = snapshots
        self._ids = ids
        self._connection: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def by_id(self, tail: Tail, event_id: str) -> RecordedEvent | None:
        """Return the event with this id, sealed or not, within a transaction of the writer."""
        row = tail.by_id(event_id)
        if row is not None:
            return recorded(row)
        segments = self._snapshots.known_manifest().segments
        maybe = self._ids.holding(event_id, segments) if segments else []
        if not maybe:
            return None
        found = self.select(maybe, "event_id = ?", [event_id])
        return next(events_of(found), None)

    def maybe(self, ids: Sequence[str]) -> set[str]:
        """Return those of some event ids that may be sealed (one in 2**64 is a false alarm)."""
        return self._ids.maybe(ids, self._snapshots.known_manifest().segments)

    def first_match(
        self, tail: Tail, queries: Sequence[EventQuery], after: int, state: State
    ) -> RecordedEvent | None:
        """Return the first event after a position that fulfils any of the conditions."""
        watermark = self._snapshots.newest_manifest().watermark
        if after + 1 < watermark:
            segments = [s for s in self._snapshots.newest_manifest().segments if s.last > after]
            condition, values = _condition(queries)
            found = self.select(
                segments, f"position > ? and ({condition})", [after, *values], limit=1
            )
            event = next(events_of(found), None)
            if event is not None:
                return event
        for row in tail.rows(max(after + 1, watermark), state.next_position):
            event = recorded(row)
            if any(query.matches(event) for query in queries):
                return event
        return None

    def stream(self, snapshot: Snapshot, stream: str, after: int) -> Iterator[RecordedEvent]:
        """Yield the events of a stream after a revision, in order."""
        segments = [s for s in snapshot.segments if s.stream[0] <= stream <= s.stream[1]]
        if segments:
            condition = "stream = ? and revision > ?"
            yield from events_of(self.select(segments, condition, [stream, after]))
        if snapshot.tail.num_rows:
            yield from events_of(_tail_where(snapshot.tail, "stream", stream, after))

    def between(self, snapshot: Snapshot, after: int, before: int) -> Iterator[RecordedEvent]:
        """Yield the events of the positions after < position < before, in order."""
        start = after + 1
        sealed_end = min(before, snapshot.watermark)
        while start < sealed_end:
            stop = min(sealed_end, self.window_end(snapshot.segments, start))
            window = [s for s in snapshot.segments if s.first < stop and s.last >= start]
            condition = "position >= ? and position < ?"
            yield from events_of(self.select(window, condition, [start, stop]))
            start = stop
        skip = max(start - snapshot.watermark, 0)
        count = max(before - snapshot.watermark - skip, 0)
        yield from events_of(snapshot.tail.slice(skip, count).to_reader(_BATCH))

    def select(
        self, segments: Sequence[Segment], condition: str, values: Sequence[Any], limit: int = 0
    ) -> pa.RecordBatchReader:
        """Read events of `segments` that fulfil a condition (our own SQL), by position."""
        self._snapshots.verified.touch(segments)
        names = ", ".join(COLUMNS)
        source = "read_parquet(?, hive_partitioning=false)"
        bound = f" limit {limit}" if limit else ""
        # Columns and condition are our own text; every value is a parameter.
        query = f"select {names} from {source} where {condition} order by position{bound}"  # noqa: S608
        paths = [str(segment.path) for segment in segments]
        try:
            result = self.duckdb().execute(query, [paths, *values])
            return result.to_arrow_reader(_BATCH)
        except duckdb.Error as error:
            place = segments[0].path.parent
            raise DamagedLogError(place, f"it cannot be read ({error})") from error

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """Return a connection of the log's own, for files that it wrote itself."""
        if self._connection is None:
            self._connection = duck.connect()
            self._connection.execute(
                "set global TimeZone='UTC'; set global parquet_metadata_cache=true"
            )
        return self._connection.cursor()

    @staticmethod
    def window_end(segments: Sequence[Segment], start: int) -> int:
        """Return where to stop reading so that few rows are sorted and no file is read twice."""
        end = start
        for segment in sorted(segments, key=lambda s: s.first):
            if segment.last < start:
                continue
            if end > start and segment.first >= end:
                break
            if end - start >= _SORTED_AT_ONCE:
                break
            end = max(end, segment.last + 1)
        return end


def _tail_where(tail: pa.Table, column: str, value: str, after: int) -> pa.RecordBatchReader:
    import pyarrow.compute as pc

    mask = pc.and_(pc.equal(tail[column], value), pc.greater(tail["revision"], after))
    # Appended one by one, each row is a chunk of its own.
    return tail.filter(mask).combine_chunks().to_reader(_BATCH)


def _condition(queries: Sequence[EventQuery]) -> tuple[str, list[Any]]:
    """Return the SQL of conditions joined by "or", and its values."""
    parts: list[str] = []
    values: list[Any] = []
    for query in queries:
        asked = []
        for column, wanted in (
            ("event_type", query.event_types),
            ("stream", query.streams),
            ("category", query.categories),
        ):
            if wanted:
                asked.append(f"list_contains(?, {column})")
                values.append(list(wanted))
        if query.tags:
            asked.append("list_has_all(tags, ?)")
            values.append(list(query.tags))
        parts.append("(" + (" and ".join(asked) or "true") + ")")
    return " or ".join(parts), values


def events_of(reader: pa.RecordBatchReader) -> Iterator[RecordedEvent]:
    """Yield the rows of the canonical table as events."""
    for batch in reader:
        columns: dict[str, list[Any]] = {}
        for name in COLUMNS:
            column = batch.column(name)
            if pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
                columns[name] = [instants.from_micros(value) for value in column.to_pylist()]
            else:
                columns[name] = column.to_pylist()
        columns["data_text"] = columns.pop("data")
        columns["metadata_text"] = columns.pop("metadata")
        columns["tags"] = [tuple(tags) for tags in columns["tags"]]
        del columns["category"]
        names = list(columns)
        for values in zip(*columns.values(), strict=True):
            yield RecordedEvent(**dict(zip(names, values, strict=True)))
