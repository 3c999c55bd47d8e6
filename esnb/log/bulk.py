"""Bulk import: segments written directly, published by one manifest, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from esnb import duck, jsontext
from esnb.errors import DuplicateEventError
from esnb.log import files, frames, locks, segment
from esnb.log.finder import Finder
from esnb.log.ids import Hashes, IdIndex, hashes, present
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
                sealed, _ = self._maintenance.write_tail(run.before, state.next_position)
                run.begin(sealed)
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
        # From here on the events are there: should the rest fail, and the heads with it,
        # the next writer takes them from the segments.
        run.tail.purge(run.before.watermark)
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
        self._earlier: Sequence[Segment] = ()
        self._sealed = 0
        self.next = state.next_position
        self.last_recorded_on = state.last_recorded_on
        self.appended = 0
        self.duplicates = 0
        self._rows_read = 0
        self._finder = finder
        self._ids = ids
        self._folder = layout.events
        self._keys: Hashes = np.empty(0, np.uint64)  # of this run, sorted
        self._pool = ThreadPoolExecutor(2, "esnb-import")
        self._checking = ThreadPoolExecutor(1, "esnb-import")
        self._storing: list[Future[Segment]] = []
        self._fresh = state.next_position == 0
        self._heads = duck.connect(threads=2)
        self._heads.execute("create table heads(stream varchar, revision bigint, position bigint)")

    def begin(self, sealed: list[Segment]) -> None:
        """Take over the segments that the tail was sealed into."""
        self.made = sealed
        self._sealed = len(sealed)
        self._earlier = [*self.before.segments, *sealed]

    def write(self, part: pa.Table, zone: str | None, *, trusted: bool) -> None:
        """Write one batch as segments that no manifest names yet."""
        given = part.num_rows
        events = frames.canonical(part, self._rows_read, zone)
        with self._checked(events, () if trusted else {"data", "metadata"} & {*part.column_names}):
            self._rows_read += given
            compare_times = "occurred_on" in part.column_names
            events, keys = self._without_known(events, compare_times=compare_times)
            self.duplicates += given - events.num_rows
            if not events.num_rows:
                return
            # Timsort merges what is sorted already in one pass.
            self._keys = np.sort(np.concatenate([self._keys, np.sort(keys)]), kind="stable")
            events, order = self._placed(events)
            parts = segment.divide(events, order)
            newest = pc.max(events["recorded_on"].cast(pa.int64())).as_py()
            self.last_recorded_on = max(self.last_recorded_on, newest)
        # Compressing and syncing need no lock of the interpreter: meanwhile the next batch is read.
        self._stored()
        self._storing = [
            self._pool.submit(self._store, events, keys, month, rows) for month, rows in parts
        ]
        self.next += events.num_rows
        self.appended += events.num_rows

    @contextmanager
    def _checked(self, events: pa.Table, names: Iterable[str]) -> Iterator[None]:
        """Check payloads while the block runs; a bad one is what is told, whatever else is."""
        checks = [
            self._checking.submit(frames.check_payloads, name, events[name], self._rows_read)
            for name in sorted(names)
        ]
        try:
            yield
        finally:
            for check in checks:
                check.result()

    def finish(self) -> None:
        """Note the heads of the streams, and wait until every batch is on the disk."""
        self.tail.put_heads(self._newest_heads())
        self._stored()
        self._pool.shutdown()
        self._checking.shutdown()

    def give_up(self) -> None:
        """Take away what was written."""
        self._pool.shutdown(cancel_futures=True)
        self._checking.shutdown()
        done = [item for item in self._storing if not item.cancelled() and not item.exception()]
        discard([*self.made, *(item.result() for item in done)])

    def _stored(self) -> None:
        self.made += [item.result() for item in self._storing]
        self._storing = []

    def _store(self, events: pa.Table, keys: Hashes, month: str, rows: segment.Rows) -> Segment:
        with files.storage_errors(self._folder, "importing"):
            item = segment.write(self._folder, month, events.take(pa.array(rows)))
            self._ids.add_keys(item, keys[rows])
            return item

    def _newest_heads(self) -> Iterator[tuple[str, int, int]]:
        """Yield the heads of the streams that grew."""
        result = self._heads.execute("select stream, revision, position from heads order by stream")
        while rows := result.fetchmany(10_000):
            yield from rows

    def _placed(self, events: pa.Table) -> tuple[pa.Table, segment.Rows]:
        """Add position, revision and category; tell the order by stream and revision."""
        streams = events["stream"].combine_chunks().dictionary_encode()
        by_name = pc.sort_indices(streams.dictionary).to_numpy()
        names = streams.dictionary.take(pa.array(by_name))
        rank = np.empty(len(names), np.int64)
        rank[by_name] = np.arange(len(names))
        codes = rank[streams.indices.to_numpy()]
        order = segment.stable_order(codes)
        counts = np.bincount(codes)
        ends = np.cumsum(counts)
        before = self._revisions(names)
        revisions = np.empty(len(codes), np.int64)
        revisions[order] = np.arange(len(codes)) + np.repeat(before + 1 - ends + counts, counts)
        positions = np.arange(self.next, self.next + len(codes))
        self._grow(names, before + counts, positions[order[ends - 1]])
        categories = pc.list_element(pc.split_pattern(names, "-", max_splits=1), 0)
        own = {
            "position": pa.array(positions),
            "revision": pa.array(revisions),
            "category": categories.take(pa.array(codes)),
        }
        columns = [own[name] if name in own else events[name] for name in COLUMNS]
        return pa.table(columns, schema=EVENT_SCHEMA), order

    def _revisions(self, names: pa.Array) -> npt.NDArray[np.int64]:
        """Return the newest revision of each stream, -1 for a new one."""
        if self._fresh and not self.next:
            return np.full(len(names), -1)  # the first of a new log
        frame = pa.table({"stream": names, "rank": np.arange(len(names))})
        self._heads.register("frame", frame)
        if not self._fresh:
            self._load_heads()
        found = self._heads.execute(
            "select coalesce(revision, -1) as revision"
            " from frame left join heads on frame.stream = heads.stream order by rank"
        ).fetchnumpy()
        return np.asarray(found["revision"], dtype=np.int64)

    def _grow(
        self, names: pa.Array, revisions: npt.NDArray[Any], positions: npt.NDArray[Any]
    ) -> None:
        frame = pa.table({"stream": names, "revision": revisions, "position": positions})
        self._heads.register("frame", frame)
        self._heads.execute(
            "create or replace table heads as"
            " select * from heads anti join frame on heads.stream = frame.stream"
            " union all select * from frame"
        )

    def _load_heads(self) -> None:
        """Fetch from the tail the heads of streams that this import has not met yet."""
        unseen = self._heads.execute(
            "select stream from frame anti join heads on frame.stream = heads.stream"
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
        wanted = np.sort(keys)
        if bool((wanted[1:] == wanted[:-1]).any()):
            fresh = _first_of_twins(events, fields)
            events, keys = events.filter(fresh), keys[fresh]
            wanted = np.sort(keys)
        suspects = self._ids.holding_any(wanted, self._earlier)
        if bool(present(wanted, self._keys).any()):
            self._stored()
            suspects += self._ids.holding_any(wanted, self.made[self._sealed :])
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
