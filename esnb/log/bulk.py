"""Bulk import: segments written directly, published by one manifest, all or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from esnb import jsontext
from esnb.errors import DuplicateEventError
from esnb.log import files, frames, locks, segment
from esnb.log.finder import Finder
from esnb.log.ids import Hashes, IdIndex, hashes
from esnb.log.layout import Layout
from esnb.log.maintain import Maintenance, discard
from esnb.log.manifest import Manifest
from esnb.log.segment import Segment
from esnb.log.snapshot import Snapshots
from esnb.log.tail import State, Tail
from esnb.log.writer import Writer
from esnb.schema import COLUMNS, EVENT_SCHEMA

__all__ = ["Bulk", "BulkResult"]

_CONTENT = (
    "stream",
    "event_type",
    "schema_version",
    "occurred_on",
    "actor",
    "correlation_id",
    "causation_id",
    "tags",
    "data",
    "metadata",
)


@dataclass(frozen=True)
class BulkResult:
    """What a bulk append did.

    Attributes
    ----------
    first
        Position of the first new event, or None when there was none.
    appended
        How many events are new.
    duplicates
        How many were in the log already, or twice in the frame.
    """

    first: int | None
    appended: int
    duplicates: int


class Bulk:
    """Appends frames to one log."""

    def __init__(
        self,
        layout: Layout,
        snapshots: Snapshots,
        writer: Writer,
        maintenance: Maintenance,
        finder: Finder,
        ids: IdIndex,
        timeout: float,
    ) -> None:
        self._layout = layout
        self._snapshots = snapshots
        self._writer = writer
        self._maintenance = maintenance
        self._finder = finder
        self._ids = ids
        self._timeout = timeout

    def append(self, frame: Any, zone: str | None, *, trusted: bool) -> BulkResult:
        """Append a frame; see `Log.append_frame`."""
        with (
            locks.held(self._layout.maintain_lock, self._timeout),
            self._writer.transaction([]) as (tail, state),
        ):
            run = _Run(tail, state, self._snapshots, self._finder, self._ids, self._layout)
            try:
                run.made, _ = self._maintenance.write_tail(run.before, state.next_position)
                for part in frames.batches(frame):
                    run.write(part, zone, trusted=trusted)
                run.finish()
            except BaseException:
                run.give_up()
                raise
            if run.appended:
                self._publish(run)
            else:
                discard(run.made)
            return BulkResult(
                state.next_position if run.appended else None, run.appended, run.duplicates
            )

    def _publish(self, run: _Run) -> None:
        segments = [*run.before.segments, *run.made]
        done = self._maintenance.publish(run.before, segments, run.next, "import", run.made)
        # From here on the events are there: should the rest fail, the next writer
        # takes the heads from the segments.
        run.tail.purge(run.before.watermark)
        run.tail.put_heads(run.heads())
        run.tail.put_state(State(run.next, run.last_recorded_on, done.number))


class _Run:
    """One bulk append under way."""

    def __init__(
        self,
        tail: Tail,
        state: State,
        snapshots: Snapshots,
        finder: Finder,
        ids: IdIndex,
        layout: Layout,
    ) -> None:
        self.tail = tail
        self.before: Manifest = snapshots.newest_manifest()
        self.made: list[Segment] = []
        self.next = state.next_position
        self.last_recorded_on = state.last_recorded_on
        self.appended = 0
        self.duplicates = 0
        self._rows_read = 0
        self._finder = finder
        self._ids = ids
        self._folder = layout.events
        self._pool = ThreadPoolExecutor(1, "esnb-import")
        self._storing: Future[None] | None = None
        self._fresh = state.next_position == 0
        self._heads = duckdb.connect(config={"threads": 2})
        self._heads.execute("create table heads(stream varchar, revision bigint, position bigint)")

    def write(self, part: pa.Table, zone: str | None, *, trusted: bool) -> None:
        """Write one batch as segments that no manifest names yet."""
        given = part.num_rows
        events = frames.canonical(part, self._rows_read, zone, trusted=trusted)
        self._rows_read += given
        events, keys = self._without_known(events, compare_times="occurred_on" in part.column_names)
        self.duplicates += given - events.num_rows
        if not events.num_rows:
            return
        events = self._placed(events)
        newest = pc.max(events["recorded_on"].cast(pa.int64())).as_py()
        self.last_recorded_on = max(self.last_recorded_on, newest)
        # Compressing and syncing need no lock of the interpreter: meanwhile the next batch is read.
        self._storing = self._pool.submit(self._store, events, keys, self.next)
        self.next += events.num_rows
        self.appended += events.num_rows

    def finish(self) -> None:
        """Wait until every batch is on the disk."""
        self._stored()
        self._pool.shutdown()

    def give_up(self) -> None:
        """Take away what was written."""
        self._pool.shutdown()
        discard(self.made)

    def _stored(self) -> None:
        if self._storing is not None:
            self._storing.result()

    def _store(self, events: pa.Table, keys: Hashes, first: int) -> None:
        with files.storage_errors(self._folder, "importing"):
            for month, rows in segment.months(events):
                for item, part in segment.write_month(self._folder, month, rows):
                    self.made.append(item)
                    self._ids.add_keys(item, keys[part["position"].to_numpy() - first])

    def heads(self) -> Iterator[tuple[str, int, int]]:
        """Yield the heads of the streams that grew."""
        result = self._heads.execute("select stream, revision, position from heads")
        while rows := result.fetchmany(10_000):
            yield from rows

    def _placed(self, events: pa.Table) -> pa.Table:
        """Add position, revision and category."""
        positions = pa.array(np.arange(self.next, self.next + events.num_rows))
        frame = pa.table({"stream": events["stream"], "position": positions})
        heads = self._heads
        heads.register("frame", frame)
        if not self._fresh:
            self._load_heads(frame)
        revisions = heads.execute(
            "select coalesce(heads.revision, -1)"
            " + row_number() over (partition by frame.stream order by frame.position) as revision"
            " from frame left join heads on frame.stream = heads.stream order by frame.position"
        ).to_arrow_table()["revision"]
        heads.execute(
            "create or replace table heads as"
            " select stream, max(revision) as revision, max(position) as position from ("
            "  select * from heads union all"
            "  select frame.stream, coalesce(heads.revision, -1) + count(*), max(frame.position)"
            "  from frame left join heads on frame.stream = heads.stream"
            "  group by frame.stream, heads.revision) group by stream"
        )
        category = pc.list_element(pc.split_pattern(events["stream"], "-", max_splits=1), 0)
        for name, column in (
            ("position", positions),
            ("revision", revisions),
            ("category", category),
        ):
            events = events.append_column(name, column)
        return events.select(COLUMNS).cast(EVENT_SCHEMA)

    def _load_heads(self, frame: pa.Table) -> None:
        """Fetch from the tail the heads of streams that this import has not met yet."""
        unseen = self._heads.execute(
            "select distinct stream from frame where stream not in (select stream from heads)"
        ).fetchall()
        found = [
            (stream, *head) for (stream,) in unseen if (head := self.tail.head(stream)) is not None
        ]
        if found:
            columns = list(zip(*found, strict=True))
            known = pa.table(dict(zip(("stream", "revision", "position"), columns, strict=True)))
            self._heads.register("known", known)
            self._heads.execute("insert into heads select stream, revision, position from known")

    def _without_known(self, events: pa.Table, *, compare_times: bool) -> tuple[pa.Table, Hashes]:
        """Drop rows whose id is known with the same content; refuse other content."""
        keys = hashes(events["event_id"])
        fields = [name for name in _CONTENT if compare_times or name != "occurred_on"]
        ordered = np.sort(keys)
        if bool((ordered[1:] == ordered[:-1]).any()):
            fresh = _first_of_twins(events, fields)
            events, keys = events.filter(fresh), keys[fresh]
        self._stored()
        suspects = self._ids.holding_any(keys, [*self.before.segments, *self.made])
        known: dict[str, tuple[Any, ...]] = {}
        for item in suspects:
            held = segment.read_segment(item, ["event_id"])["event_id"]
            mask = pc.is_in(held, value_set=events["event_id"].combine_chunks())
            if pc.any(mask).as_py():
                rows = segment.read_segment(item, ["event_id", *fields]).filter(mask)
                known.update(_contents(rows, fields))
        if not known:
            return events, keys
        fresh = np.ones(events.num_rows, dtype=np.bool_)
        for row, (event_id, content) in enumerate(_contents(events, fields)):
            if event_id in known:
                fresh[row] = False
                _compare(event_id, content, known[event_id], fields)
        return events.filter(fresh), keys[fresh]


def _contents(events: pa.Table, fields: Sequence[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    columns = []
    for name in fields:
        column = events[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        columns.append(column.to_pylist())
    return zip(events["event_id"].to_pylist(), zip(*columns, strict=True), strict=True)


def _first_of_twins(events: pa.Table, fields: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Tell which rows are the first of their id; refuse twins that differ."""
    seen: dict[str, tuple[Any, ...]] = {}
    fresh = np.ones(events.num_rows, dtype=np.bool_)
    for row, (event_id, content) in enumerate(_contents(events, fields)):
        first = seen.setdefault(event_id, content)
        if first is not content:
            fresh[row] = False
            _compare(event_id, content, first, fields)
    return fresh


def _compare(
    event_id: str, given: Sequence[Any], known: Sequence[Any], fields: Sequence[str]
) -> None:
    if given == known:
        return
    differing = []
    for name, new, old in zip(fields, given, known, strict=True):
        json = name in ("data", "metadata")
        if new != old and not (json and jsontext.parse(new) == jsontext.parse(old)):
            differing.append(name)
    if differing:
        raise DuplicateEventError(event_id, differing)
