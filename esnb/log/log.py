"""The log: append, read, maintain."""

from __future__ import annotations

import difflib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow as pa

from esnb import instants
from esnb.duck import interruptible
from esnb.errors import EsnbError, EventError, LogError, ReadOnlyLogError
from esnb.event import DomainEvent, RecordedEvent, Writable, domain_events
from esnb.log import backup as backups
from esnb.log import locks, segment
from esnb.log.background import Background
from esnb.log.bulk import Bulk, BulkResult
from esnb.log.create import make
from esnb.log.finder import EventQuery, Finder, events_of
from esnb.log.ids import IdIndex, hashes
from esnb.log.info import LogInfo, describe
from esnb.log.layout import Identity, Layout
from esnb.log.maintain import Maintenance
from esnb.log.snapshot import Snapshot, Snapshots
from esnb.log.subscription import Source, Subscription
from esnb.log.tail import Head, Tail, recorded
from esnb.log.verified import Verified, Verify
from esnb.log.verify import VerifyReport, verify
from esnb.log.writer import ANY, Append, Expected, Writer

__all__ = ["Glance", "Log"]

_TIMEOUT = 60.0
_LOOK_EVERY = 256
_NEIGHBOURS = 20


class Glance(NamedTuple):
    """What `Log.glance` saw.

    Attributes
    ----------
    heads
        Revision and position of the newest event of each stream that has events; None where
        an import was published and is not noted yet.
    known
        Of the ids asked for, those that may be known (one in 2**64 is a false alarm).
    """

    heads: dict[str, Head] | None
    known: set[str]


class Log:
    """An event log on disk.

    Open one with `esnb.create` or `esnb.open`.  Several processes may write to and
    read from one log at a time; one object may be used by several threads, but
    not across a fork.

    Parameters
    ----------
    path
        Folder of the log.
    verify
        When the digests of sealed files are checked: ``"once"`` a machine (the
        default), ``"always"`` in each process, or ``"never"``.
    read_only
        Refuse to write.  A folder that cannot be written is opened so by itself.
    maintain
        Seal and compact in the background as the log grows.
    timeout
        Seconds to wait for other writers before `LogBusyError`.
    clock
        Function that tells the time at which events are recorded, for simulations and tests;
        the system's clock by default.  Whatever it says, `recorded_on` never goes back.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        verify: Verify = "once",
        read_only: bool = False,
        maintain: bool = True,
        timeout: float = _TIMEOUT,
        clock: Callable[[], datetime] = instants.now,
    ) -> None:
        self._layout = Layout(Path(path).absolute())
        self._identity = Identity.read(self._layout)
        self.read_only = read_only or not os.access(self.path, os.W_OK)
        if not self.read_only:
            locks.refuse_network(self.path)
        self._pid = os.getpid()
        self._maintain = maintain and not self.read_only
        self._verified = Verified(self.log_id, verify)
        self._snapshots = Snapshots(self._layout, self._verified)
        self._ids = IdIndex(self._layout.derived / "ids")
        self._finder = Finder(self._snapshots, self._ids)
        self._writer = Writer(
            self._layout,
            self._snapshots,
            self._finder,
            lambda: Tail(self._layout.tail),
            timeout,
            clock,
        )
        self.clock = clock
        self._maintenance = Maintenance(
            self._layout, self._snapshots, self._writer, self._ids, timeout
        )
        self._bulk = Bulk(
            self._layout,
            self._snapshots,
            self._writer,
            self._maintenance,
            self._finder,
            self._ids,
            timeout,
        )
        self._timeout = timeout
        self._reading = threading.RLock()
        self._reader: Tail | None = None
        self._background = Background(self._maintenance, self.path)
        self._closed = False
        self.snapshot()  # a log that cannot be read says so when it is opened

    # --- opening and closing ---------------------------------------------------------------

    @classmethod
    def create(
        cls, path: str | os.PathLike[str], *, zone: str | None = None, **options: Any
    ) -> Self:
        """Create a log in a new or empty folder and open it."""
        make(Layout(Path(path).absolute()), zone)
        return cls.open(path, **options)

    @classmethod
    def open(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Open an existing log."""
        return cls(path, **options)

    def close(self) -> None:
        """Seal what is in the tail and let go of the log.  Closing twice is one closing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._background.join()
            if self._maintain and os.getpid() == self._pid and self._wrote:
                self._maintenance.seal(wait=False)
        finally:
            self._writer.close()
            self._finder.close()
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    _wrote = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """Folder of the log."""
        return self._layout.root

    @property
    def log_id(self) -> str:
        """Identity of the log, kept by its backups."""
        return self._identity.log_id

    @property
    def zone(self) -> str | None:
        """Declared zone (IANA name) for times without one, or None."""
        return self._identity.zone

    @property
    def closed(self) -> bool:
        """Whether the log was closed, and answers no more."""
        return self._closed

    @property
    def next_position(self) -> int:
        """Position of the next event, which is the number of events."""
        return self.snapshot().next_position

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, events={self.next_position:,})"

    # --- writing -----------------------------------------------------------------------------

    def append(
        self,
        stream: str,
        events: DomainEvent | Writable | Iterable[DomainEvent | Writable],
        *,
        expected_revision: int | Expected = ANY,
        fail_if_events_match: EventQuery | Sequence[EventQuery] | None = None,
        after: int = -1,
    ) -> tuple[RecordedEvent, ...]:
        """Append events to a stream; they are durable when this returns.

        Parameters
        ----------
        stream
            Category, ``-``, id: ``"order-1042"``.
        events
            One or several, also objects of event classes.  An event whose id is in the log
            already with the same content is not written again; the recorded one is returned.
        expected_revision
            Revision the stream must be at (that of its newest event), or `ANY`,
            `NO_STREAM`, `EXISTS`.
        fail_if_events_match, after
            Refuse when an event after position `after` fulfils the query (or any
            of several): the append condition of dynamic consistency boundaries.

        Returns
        -------
        tuple of RecordedEvent
            In the order given.

        Raises
        ------
        RevisionConflictError, AppendConditionError, DuplicateEventError
            Nothing was written.
        CommitUncertain
            Append again with the same events: no event is written twice.
        StorageError, ReadOnlyLogError, LogBusyError
            Nothing was written.
        """
        return self.append_many(
            Append(stream, domain_events(events), expected_revision),
            fail_if_events_match=fail_if_events_match,
            after=after,
        )

    def append_many(
        self,
        *appends: Append,
        fail_if_events_match: EventQuery | Sequence[EventQuery] | None = None,
        after: int = -1,
    ) -> tuple[RecordedEvent, ...]:
        """Append to several streams in one commit, all or nothing (see `append`).

        Examples
        --------
        >>> log.append_many(Append("order-1", [placed], NO_STREAM),
        ...                 Append("customer-7", [ordered]))  # doctest: +SKIP
        """
        self._check_writable()
        streams = [append.stream for append in appends]
        if len(set(streams)) < len(streams):
            raise EventError("stream", "stands twice in one append; put its events together")
        queries = fail_if_events_match or ()
        unless = (queries,) if isinstance(queries, EventQuery) else tuple(queries)
        if not unless and not any(append.events for append in appends):
            return ()
        results = self._writer.append(appends, unless, after)
        self._wrote = True
        if self._maintain and results and results[-1].position % _LOOK_EVERY == 0:
            self._look(results[-1].position + 1)
        return tuple(results)

    def append_each(self, appends: Sequence[Append]) -> list[tuple[RecordedEvent, ...] | LogError]:
        """Append many times in one commit, each append alone written or refused.

        Unlike in `append_many` a stream may stand in several of them, and what one writes the
        next one finds there.  When one is refused, those after it to the same stream are too.

        Returns
        -------
        list
            In the order given: the events, or the `RevisionConflictError` or
            `DuplicateEventError` for which an append was refused.

        Raises
        ------
        CommitUncertain
            Append again with the same events: no event is written twice.
        StorageError, ReadOnlyLogError, LogBusyError
            Nothing was written.
        """
        self._check_writable()
        if not appends:
            return []
        results = self._writer.append_each(appends)
        self._wrote = True
        written = [one for one in results if isinstance(one, list) and one]
        if self._maintain and written:
            self._look(written[-1][-1].position + 1)
        return [tuple(one) if isinstance(one, list) else one for one in results]

    def _look(self, next_position: int) -> None:
        self._background.look(next_position - self._snapshots.newest_manifest().watermark)

    @property
    def batching(self) -> bool:
        """Whether this thread is within a `batch`."""
        return self._writer.batching

    def batch(self) -> AbstractContextManager[None]:
        """Make one commit, and one sync of the disk, of all appends within the block.

        The events are durable, and visible, when the block ends; if it ends in an
        error none of them is written.

        Examples
        --------
        >>> with log.batch():  # doctest: +SKIP
        ...     for order in orders:
        ...         log.append(order.stream, order.events)
        """
        self._check_writable()
        self._wrote = True
        return self._writer.batch()

    @interruptible()
    def append_frame(self, frame: Any, *, trusted: bool = False) -> BulkResult:
        """Append many events at once, all or nothing.

        Parameters
        ----------
        frame
            A table of pandas, Polars, Arrow or DuckDB, or an Arrow reader, which is
            read batch by batch.  Columns: ``stream``, ``event_type``, ``data`` (JSON
            text), and optionally ``event_id``, ``occurred_on``, ``recorded_on``,
            ``schema_version``, ``actor``, ``correlation_id``, ``causation_id``,
            ``tags``, ``metadata``.  Positions follow the order of the rows.
            ``recorded_on`` is ``occurred_on`` where it is not given, and that is now.
        trusted
            The caller has checked that ``data`` and ``metadata`` are strict JSON objects.

        Returns
        -------
        BulkResult
            How many are new; rows whose id the log has with the same content are not
            written again.

        Raises
        ------
        EventError
            Naming the first bad row; nothing was written.
        DuplicateEventError
            An id stands in the log, or twice in the frame, with other content.
        """
        self._check_writable()
        result = self._bulk.append(frame, self.zone, trusted=trusted)
        self._wrote = True
        if self._maintain:
            self._maintenance.compact(wait=False, everything=False)
        return result

    # --- reading -----------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return one consistent view of the log as it stands now."""
        with self._reader_at_work() as reader:
            return self._snapshots.take(reader)

    @contextmanager
    def _reader_at_work(self) -> Iterator[Tail]:
        with self._reading:
            reader = self._open_reader()
            try:
                yield reader
            except EsnbError:
                reader.close()
                self._reader = None
                raise

    def _open_reader(self) -> Tail:
        self._check_open()
        if self._reader is None:
            self._reader = Tail(self._layout.tail, read_only=self.read_only)
        return self._reader

    def read(self, *, after: int = -1, before: int | None = None) -> Iterator[RecordedEvent]:
        """Yield events in position order, ``after < position < before``."""
        snapshot = self.snapshot()
        end = snapshot.next_position if before is None else min(before, snapshot.next_position)
        return self._finder.between(snapshot, after, end)

    def read_stream(self, stream: str, *, after: int = -1) -> Iterator[RecordedEvent]:
        """Yield the events of a stream in order, those after revision `after`.

        A stream that does not exist yields nothing.
        """
        unsealed = self._unsealed(stream, after)
        if unsealed is not None:
            return iter(unsealed)
        return self._finder.stream(self.snapshot(), stream, after)

    def _unsealed(self, stream: str, after: int) -> list[RecordedEvent] | None:
        """Return the events of a stream after a revision, if the tail has them all."""
        with self._reader_at_work() as tail:
            manifest = self._snapshots.newest_manifest()
            tail.begin_reading()
            try:
                if tail.state().next_position < manifest.watermark:
                    return None  # an import that was published and is not noted yet
                head = tail.head(stream)
                if head is None or head.revision <= after:
                    return []
                if not tail.has(stream, after + 1):
                    return None
                rows = tail.by_stream(stream, after + 1, 0)
            finally:
                tail.rollback()
        return [recorded(row) for row in rows] if len(rows) == head.revision - after else None

    def glance(self, ids: Sequence[str], streams: Sequence[str]) -> Glance:
        """Look which of some event ids are known, and where some streams stand, all at once.

        Up to 30,000 names in all.
        """
        with self._reader_at_work() as tail:
            manifest = self._snapshots.newest_manifest()
            state, heads, known = tail.glance(ids, streams)
            noted = state.next_position >= manifest.watermark
            # Looked at in this order, no seal can take an event away between the two.
            segments = self._snapshots.newest_manifest().segments
        return Glance(heads if noted else None, known | self._ids.maybe(ids, segments))

    def streams_near(self, stream: str) -> list[str]:
        """Return streams called much like `stream`, the likest first, to mend a mistyped name."""
        with self._reading:
            found = self._open_reader().neighbours(stream, _NEIGHBOURS)
        return difflib.get_close_matches(stream, found, n=3, cutoff=0.75)

    def event(self, event_id: str) -> RecordedEvent | None:
        """Return the event with this id, or None."""
        with self._reader_at_work() as tail:
            unsealed = tail.by_id(event_id)
            # Looked at in this order, no seal can take it away between the two.
            manifest = self._snapshots.newest_manifest()
        if unsealed is not None:
            return recorded(unsealed)
        maybe = self._ids.holding(event_id, manifest.segments)
        if not maybe:
            return None
        return next(events_of(self._finder.select(maybe, "event_id = ?", [event_id])), None)

    def subscribe(
        self,
        after: int = -1,
        *,
        follow: bool = False,
        category: str | Sequence[str] = (),
        event_types: str | Sequence[str] = (),
        batch: int = 10_000,
        poll: float = 0.5,
        stop: Callable[[], bool] | None = None,
    ) -> Subscription:
        """Return the events after a position, in order: an iterator over them.

        ``.batches()`` of it yields Arrow tables of them instead, ``.stop()`` ends it, and
        ``.position`` tells how far it has come.

        Parameters
        ----------
        after
            Position of the last event that was seen; -1 for none.
        follow
            Wait for more at the end; otherwise it ends there.
        category, event_types
            Only events of these; one or several.
        batch
            Most events in a batch.
        poll
            Seconds after which the log is looked at again while nothing seems to change;
            changes are mostly seen within 50 ms.
        stop
            Asked while waiting; the subscription ends when it says true.
        """
        return Subscription(
            self.source,
            after=after,
            follow=follow,
            categories=category,
            event_types=event_types,
            batch=batch,
            poll=poll,
            stop=stop,
        )

    @property
    def source(self) -> Source:
        """The batches of this log (see `esnb.log.subscription`)."""
        return Source(self._layout, self._finder, self.snapshot)

    def known_ids(self, ids: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
        """Tell for each event id whether it is in the log."""
        snapshot = self.snapshot()
        known = set(snapshot.tail["event_id"].to_pylist())
        if snapshot.segments:
            for item in self._ids.holding_any(hashes(ids), snapshot.segments):
                known.update(segment.read_segment(item, ["event_id"])["event_id"].to_pylist())
        return pa.array([value in known for value in ids.to_pylist()], pa.bool_())

    # --- maintaining -------------------------------------------------------------------------

    def seal(self) -> int:
        """Move the tail into Parquet segments; return how many events were sealed."""
        self._check_writable()
        return self._maintenance.seal()

    def compact(self, *, grace: float = 3600) -> int:
        """Merge the small segments of each month; return how many files fewer there are.

        Parameters
        ----------
        grace
            Seconds for which files that are no longer needed are kept for readers.
        """
        self._check_writable()
        return self._maintenance.compact(grace=grace)

    @interruptible()
    def verify(self, *, full: bool = True) -> VerifyReport:
        """Check the whole log: chain, digests and, when `full`, every row and number."""
        with self._reading:
            return verify(self._layout, self._snapshots, self._open_reader(), full=full)

    def backup(self, target: str | os.PathLike[str]) -> Path:
        """Copy the log to a folder while it is in use; a later backup copies only what is new.

        The backup is a log itself and can be opened and verified where it lies.
        """
        place = Path(target).absolute()
        return backups.backup(self._layout, place, self._timeout, read_only=self.read_only)

    def info(self) -> LogInfo:
        """Return the log in numbers."""
        snapshot = self.snapshot()
        with self._reading:
            streams = self._open_reader().count_heads()
        return describe(self._layout, self._identity, snapshot, streams)

    def _check_open(self) -> None:
        if self._closed:
            raise LogError(f"the log {self.path} was closed; open it again with esnb.open(path)")
        if os.getpid() != self._pid:
            raise LogError("the log was opened before a fork; open it again in this process")

    def _check_writable(self) -> None:
        self._check_open()
        if self.read_only:
            raise ReadOnlyLogError(
                f"{self.path} is open for reading only ({os.strerror(errno.EROFS)} or asked for). "
                "Open it where it may be written."
            )
