"""Appending: one SQLite transaction under the writers' lock.

The lock is an flock in front of SQLite's own, whose polling starves writers.
Requests of several threads that arrive together share one transaction, hence one
sync of the disk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

import orjson
import pyarrow as pa

from esnb import instants
from esnb.errors import (
    AppendConditionError,
    CommitUncertain,
    DamagedLogError,
    DuplicateEventError,
    EsnbError,
    EventError,
    LogError,
    RevisionConflictError,
)
from esnb.event import DomainEvent, RecordedEvent
from esnb.log import files, locks
from esnb.log.ahead import Ahead, Direct, Place
from esnb.log.finder import EventQuery, Finder
from esnb.log.layout import Layout
from esnb.log.segment import read_segment
from esnb.log.snapshot import Snapshots
from esnb.log.tail import Row, State, Tail, recorded
from esnb.schema import check_text

__all__ = ["ANY", "EXISTS", "NO_STREAM", "Append", "Expected", "Writer"]

# What refuses one request and leaves others alone.
_REFUSALS = (RevisionConflictError, AppendConditionError, DuplicateEventError)


class Expected(Enum):
    """What a writer may expect of a stream, other than a revision."""

    ANY = "any"
    NO_STREAM = "no stream"
    EXISTS = "exists"

    def __repr__(self) -> str:
        return self.name


ANY = Expected.ANY
NO_STREAM = Expected.NO_STREAM
EXISTS = Expected.EXISTS


@dataclass(frozen=True)
class Append:
    """Events for one stream, and the revision that the stream must be at.

    With `fresh` an event whose id the log has is refused (`DuplicateEventError`), whatever it
    says; otherwise one that says the same is no event.
    """

    stream: str
    events: Sequence[DomainEvent]
    expected_revision: int | Expected = ANY
    fresh: bool = False

    def __post_init__(self) -> None:
        check_text("stream", self.stream)
        expected = self.expected_revision
        if not isinstance(expected, Expected) and (
            not isinstance(expected, int) or isinstance(expected, bool) or expected < 0
        ):
            raise EventError(
                "expected_revision", f"must be ANY, NO_STREAM, EXISTS or from 0, not {expected!r}"
            )
        for event in self.events:
            if not isinstance(event, DomainEvent):
                raise EventError("events", f"must be DomainEvents, not {type(event).__name__}")


@dataclass
class _Request:
    appends: Sequence[Append]
    unless: Sequence[EventQuery]
    after: int
    results: list[RecordedEvent] = field(default_factory=list)
    error: BaseException | None = None
    done: bool = False
    # Of requests that go together: why the first one to a stream was refused.
    refused: dict[str, EsnbError] | None = None

    @property
    def event_ids(self) -> list[str]:
        return [event.event_id for append in self.appends for event in append.events]


class Writer:
    """Appends events; one for each open log.

    Parameters
    ----------
    connect
        Opens the tail for writing.
    timeout
        Seconds to wait for other writers.
    clock
        Tells when an event is recorded.
    """

    def __init__(
        self,
        layout: Layout,
        snapshots: Snapshots,
        finder: Finder,
        connect: Callable[[], Tail],
        timeout: float,
        clock: Callable[[], datetime] = instants.now,
    ) -> None:
        self._layout = layout
        self._clock = clock
        self._snapshots = snapshots
        self._finder = finder
        self._connect = connect
        self._timeout = timeout
        self._tail: Tail | None = None
        self._queue: list[_Request] = []
        self._queue_lock = threading.Lock()
        self._leader = threading.RLock()
        self._lock = locks.Lock(layout.writer_lock)
        self._batch: State | None = None
        self._batch_thread = 0

    def close(self) -> None:
        """Close the connection and the lock; the next append opens them again."""
        self._disconnect()
        self._lock.close()

    def _disconnect(self) -> None:
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    def append(
        self, appends: Sequence[Append], unless: Sequence[EventQuery], after: int
    ) -> list[RecordedEvent]:
        """Append to one or several streams, all or nothing; return when it is durable."""
        request = _Request(appends, unless, after)
        with self._queue_lock:
            self._queue.append(request)
        with self._leader:
            if not request.done:
                with self._queue_lock:
                    waiting, self._queue = self._queue, []
                self._serve(waiting)
        if request.error is not None:
            raise request.error
        return request.results

    def append_each(self, appends: Sequence[Append]) -> list[list[RecordedEvent] | LogError]:
        """Append in one commit, each alone: its events, or why they were refused."""
        refused: dict[str, EsnbError] = {}
        requests = [_Request((append,), (), -1, refused=refused) for append in appends]
        with self._leader:
            if self._batch is None:
                self._serve_together(requests)
            else:
                self._serve(requests)
        for request in requests:
            if request.error is not None and not isinstance(request.error, _REFUSALS):
                raise request.error
        # What was refused alone is one of ours.
        return [request.error or request.results for request in requests]  # type: ignore[misc]

    @property
    def batching(self) -> bool:
        """Whether this thread is within a `batch`."""
        return self._batch is not None and self._batch_thread == threading.get_ident()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Make one commit of all appends of this thread within the block."""
        with self._leader:
            if self._batch is not None:
                yield  # an inner batch is part of the outer one
                return
            written: list[str] = []
            with self.transaction(written) as (_, state):
                self._batch, self._written = state, written
                self._batch_thread = threading.get_ident()
                try:
                    yield
                    state = self._batch
                    self._tail_open().put_state(state)
                finally:
                    self._batch = None

    @contextmanager
    def transaction(self, written: list[str]) -> Iterator[tuple[Tail, State]]:
        """Hold the writers' lock and one transaction; commit at the end of the block.

        `written` names the events at stake should the commit fail half-way.
        """
        with self._leader:
            self._lock.take(self._timeout)
            try:
                tail = self._tail_open()
                try:
                    tail.begin()
                    yield tail, self._caught_up(tail, tail.state())
                except BaseException:
                    self._abandon(tail)
                    raise
                try:
                    tail.commit()
                    tail.sync_name()
                except EsnbError as error:
                    # The transaction may be on the disk or not: only a new connection can tell.
                    self._disconnect()
                    raise CommitUncertain(written, str(error)) from error
            finally:
                self._lock.give_back()

    def _abandon(self, tail: Tail) -> None:
        try:
            tail.rollback()
        except EsnbError:
            self._disconnect()

    def _tail_open(self) -> Tail:
        if self._tail is None:
            tail = self._connect()
            tail.check()
            self._tail = tail
        return self._tail

    def _serve(self, requests: Sequence[_Request]) -> None:
        """Serve requests in one transaction, each in a savepoint of its own."""
        if self._batch is not None:
            place = Direct(self._tail_open(), self._finder)
            for request in requests:
                self._batch = self._try(place, self._batch, request)
                self._written.extend(request.event_ids)
                request.done = True
            return
        at_stake = [event_id for request in requests for event_id in request.event_ids]
        try:
            with self.transaction(at_stake) as (tail, before):
                state = before
                place = Direct(tail, self._finder)
                if len(requests) == 1:
                    # Alone it needs no savepoint: its refusal undoes the transaction.
                    state = self._write(place, state, requests[0])
                else:
                    for request in requests:
                        state = self._try(place, state, request)
                if state != before:
                    tail.put_state(state)
        except BaseException as error:
            for request in requests:
                request.error = request.error or error
            if not isinstance(error, Exception):
                raise
        finally:
            for request in requests:
                request.done = True

    def _serve_together(self, requests: Sequence[_Request]) -> None:
        """Serve requests in one transaction, asking and writing once for all of them."""
        ids = [event_id for request in requests for event_id in request.event_ids]
        streams = list({append.stream for request in requests for append in request.appends})
        with self.transaction(ids) as (tail, before):
            ahead = Ahead(tail, self._finder, ids, streams)
            state = before
            for request in requests:
                state = self._try(ahead, state, request)
            ahead.flush()
            if state != before:
                tail.put_state(state)

    def _try(self, place: Place, state: State, request: _Request) -> State:
        refused = request.refused
        if refused:
            # What was decided after something that did not happen must not happen either, be
            # the revision as expected or not.
            request.error = next(
                (refused[a.stream] for a in request.appends if a.stream in refused), None
            )
            if request.error is not None:
                return state
        # One append is refused before anything of it is written.
        apart = len(request.appends) > 1
        if apart:
            place.tail.savepoint()
        try:
            state = self._write(place, state, request)
        except _REFUSALS as error:
            if apart:
                place.tail.undo()
            request.error = error
            if refused is not None:
                refused.update(dict.fromkeys((a.stream for a in request.appends), error))
        else:
            if apart:
                place.tail.release()
        return state

    def _write(self, place: Place, state: State, request: _Request) -> State:
        if request.unless:
            found = self._finder.first_match(place.tail, request.unless, request.after, state)
            known = set(request.event_ids)
            if found is not None and not (
                found.event_id in known and self._all_known(place, request)
            ):
                raise AppendConditionError(found.position, request.after)
        now = max(state.last_recorded_on, instants.micros(self._clock()))
        position = state.next_position
        for append in request.appends:
            rows, results = self._rows(place, append, position, now)
            if rows:
                place.put(append.stream, rows)
                position = rows[-1].position + 1
            request.results.extend(results)
        if position == state.next_position:
            return state
        return State(position, now, state.manifest)

    def _all_known(self, place: Place, request: _Request) -> bool:
        return all(place.by_id(event_id) is not None for event_id in request.event_ids)

    def _rows(
        self, place: Place, append: Append, position: int, now: int
    ) -> tuple[list[Row], list[RecordedEvent]]:
        results: list[RecordedEvent | int] = []
        rows: list[Row] = []
        written: list[DomainEvent] = []
        here: dict[str, int] = {}
        head = place.head(append.stream)
        revision = -1 if head is None else head.revision
        for event in append.events:
            known = place.by_id(event.event_id)
            if known is not None:
                if append.fresh:
                    raise DuplicateEventError(event.event_id, ["place"])
                _same(append.stream, event, known)
                results.append(known)
            elif event.event_id in here:
                _same(append.stream, event, recorded(rows[here[event.event_id]]))
                results.append(here[event.event_id])
            else:
                revision += 1
                here[event.event_id] = len(rows)
                results.append(len(rows))
                written.append(event)
                rows.append(_row(append.stream, event, position + len(rows), revision, now))
        if rows or not append.events:
            # A repeated append is answered with what it wrote, wherever the stream is by now.
            _expect(append, None if head is None else head.revision)
        at = instants.from_micros(now)
        made = [
            RecordedEvent.of(event, row.position, row.stream, row.revision, at)
            for event, row in zip(written, rows, strict=True)
        ]
        return rows, [made[item] if isinstance(item, int) else item for item in results]

    def _caught_up(self, tail: Tail, state: State) -> State:
        """Take in what was published but not yet noted: a seal, or an import that was cut off."""
        newest = self._snapshots.newest_manifest()
        if newest.number < state.manifest:
            missing = self._layout.manifest(state.manifest)
            raise DamagedLogError(missing, "the manifest is missing")
        if newest.number == state.manifest:
            return state
        # What the tail notes for good must be there for good: whoever published the manifest
        # may have failed, or died, before its name was on the disk.
        with files.storage_errors(self._layout.manifests, "syncing"):
            files.sync_folder(self._layout.manifests)
        last = state.last_recorded_on
        if newest.watermark > state.next_position:
            unknown = [s for s in newest.segments if s.last >= state.next_position]
            self._snapshots.verified.touch(unknown)
            for segment in unknown:
                part = read_segment(segment, ["stream", "revision", "position"])
                tail.put_heads(_newest_heads(tail, part))
                last = max(last, instants.micros(segment.recorded_on[1]))
        return State(max(state.next_position, newest.watermark), last, newest.number)


def _newest_heads(tail: Tail, part: pa.Table) -> Iterator[tuple[str, int, int]]:
    grouped = part.group_by("stream").aggregate([("revision", "max"), ("position", "max")])
    for stream, revision, position in zip(
        *(grouped[name].to_pylist() for name in ("stream", "revision_max", "position_max")),
        strict=True,
    ):
        head = tail.head(stream)
        if head is None or head.revision < revision:
            yield stream, revision, position


def _row(stream: str, event: DomainEvent, position: int, revision: int, now: int) -> Row:
    return Row(
        position=position,
        event_id=event.event_id,
        stream=stream,
        revision=revision,
        event_type=event.event_type,
        schema_version=event.schema_version,
        occurred_on=instants.micros(event.occurred_on),
        recorded_on=now,
        actor=event.actor,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        tags=orjson.dumps(event.tags).decode() if event.tags else "[]",
        data=event.data_text,
        metadata=event.metadata_text,
    )


def _expect(append: Append, actual: int | None) -> None:
    expected = append.expected_revision
    if expected is ANY:
        return
    if expected is NO_STREAM:
        fits = actual is None
    elif expected is EXISTS:
        fits = actual is not None
    else:
        fits = actual == expected
    if not fits:
        shown = expected.name if isinstance(expected, Expected) else expected
        raise RevisionConflictError(append.stream, shown, actual)


def _same(stream: str, event: DomainEvent, known: RecordedEvent) -> None:
    """Raise `DuplicateEventError` unless the event is the one that the log has."""
    differing = [
        name
        for name in (
            "event_type",
            "schema_version",
            "occurred_on",
            "actor",
            "correlation_id",
            "causation_id",
            "tags",
        )
        if getattr(event, name) != getattr(known, name)
    ]
    if stream != known.stream:
        differing.append("stream")
    if event.data_text != known.data_text and event.data != known.data:
        differing.append("data")
    if event.metadata_text != known.metadata_text and event.metadata != known.metadata:
        differing.append("metadata")
    if differing:
        raise DuplicateEventError(event.event_id, differing)
