"""Loading aggregates from a log, and saving what happened to them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pydantic

from esnb.aggregate import Aggregate
from esnb.errors import (
    AggregateError,
    CommitUncertain,
    LogError,
    RevisionConflictError,
    StreamNotFoundError,
    shown,
)
from esnb.event import RecordedEvent
from esnb.log import NO_STREAM, Log
from esnb.log.layout import Layout
from esnb.schema import check_text
from esnb.write.commands.handlers import taken
from esnb.write.commands.pauses import TRIES, pauses
from esnb.write.commands.snapshots import Kept, Snapshots
from esnb.write.commands.states import NotKept, States

__all__ = ["Loaded", "Repository"]

A = TypeVar("A", bound=Aggregate)

_EVERY = 100
# Part of the fingerprint: raise it when the same text would be read as another state.
_VERSION = 2


class Repository(Generic[A]):
    """Aggregates of one class in a log.

    Parameters
    ----------
    log
        The log.
    kind
        The aggregate class; its category is that of the streams.
    snapshot_every
        A snapshot is kept when so many events came since the last one; None for never.
        Snapshots stand in ``derived/snapshots.sqlite`` of the log, which may be deleted at
        any time.  A log that is open for reading gets none.

    Raises
    ------
    AggregateError
        If the class is one across streams, or its category cannot be one.

    Examples
    --------
    >>> orders = Repository(log, Order)           # doctest: +SKIP
    >>> order = orders.get("order-17")            # doctest: +SKIP
    >>> order.apply(OrderConfirmed())             # doctest: +SKIP
    >>> orders.save(order, actor="ann")           # doctest: +SKIP

    Or in one go, and again if somebody else saved it meanwhile:

    >>> orders.update("17", lambda order: OrderConfirmed(), actor="ann")    # doctest: +SKIP
    """

    def __init__(self, log: Log, kind: type[A], *, snapshot_every: int | None = _EVERY) -> None:
        description = kind.description
        description.renew()
        if description.by is not None:
            raise AggregateError(
                f"{kind.__name__} is folded across streams (by={description.by!r}), so it is not "
                "loaded from one; ask log.timeline for it"
            )
        if snapshot_every is not None and (
            not isinstance(snapshot_every, int) or snapshot_every < 1
        ):
            raise AggregateError(
                f"snapshot_every={shown(snapshot_every)}: say a number of events from 1, or None"
            )
        self._log = log
        self.kind = kind
        self.snapshot_every = snapshot_every
        self._states: States | None = None
        fingerprint = f"{_VERSION}:{pydantic.VERSION}:{description.fingerprint}"
        self._snapshots = Snapshots(
            Layout(log.path).derived / "snapshots.sqlite",
            fingerprint,
            f"{kind.__module__}.{kind.__qualname__}",
        )
        if snapshot_every is not None:
            try:
                self._states = States(kind)
            except NotKept as reason:
                self._without_snapshots(reason)

    def get(self, name: str, *, at: int | None = None) -> A:
        """Return an aggregate: the fold of its events.

        Parameters
        ----------
        name
            Its stream, ``"order-17"``, or its id, ``"17"``.
        at
            Revision of the last event to fold; all of them by default.

        Returns
        -------
        Aggregate
            One that an event ended is there too; ``ended`` tells.

        Raises
        ------
        StreamNotFoundError
            If there is no such stream, naming near ones.
        AggregateError
            If the stream has no revision `at` yet.
        SchemaError, EventError, AggregateError
            If an event cannot be folded.
        """
        if at is not None and (not isinstance(at, int) or isinstance(at, bool) or at < 0):
            raise AggregateError(f"at={shown(at)}: say a revision, a whole number from 0")
        stream = self._stream(name)
        loaded = self.load(stream, at)
        if loaded is None:
            raise StreamNotFoundError(stream, self._log.streams_near(stream))
        aggregate = loaded.aggregate
        if at is not None and aggregate.revision < at:
            raise AggregateError(
                f"{shown(stream)} is at revision {aggregate.revision}; "
                f"there is no revision {at} yet"
            )
        if (
            at is None
            and self.snapshot_every is not None
            and loaded.replayed >= self.snapshot_every
        ):
            self.keep(loaded)
        return aggregate

    def exists(self, name: str) -> bool:
        """Tell whether there is an aggregate of this stream or id, and no event has ended it."""
        stream = self._stream(name)
        if not self.kind.description.ends:
            return next(self._log.read_stream(stream), None) is not None
        loaded = self.load(stream)
        return loaded is not None and not loaded.aggregate.ended

    def add(self, aggregate: A, **envelope: Any) -> tuple[RecordedEvent, ...]:
        """Save an aggregate that is new (see `save`).

        Raises
        ------
        AggregateError
            If it was loaded, or saved before.
        RevisionConflictError
            If its stream is there already.
        """
        if aggregate.revision >= 0:
            raise AggregateError(
                f"{shown(aggregate.stream)} is at revision {aggregate.revision}, so it is not "
                "new; save it"
            )
        return self.save(aggregate, **envelope)

    def save(self, aggregate: A, **envelope: Any) -> tuple[RecordedEvent, ...]:
        """Append the events that were applied; they are durable when this returns.

        Parameters
        ----------
        aggregate
            As loaded, or new.  Its `revision` moves, and nothing is uncommitted any more.
        **envelope
            ``actor``, ``correlation_id``, ``causation_id``, ``occurred_on``, ``tags``,
            ``metadata``, for each of the events (see `DomainEvent`).

        Returns
        -------
        tuple of RecordedEvent
            The events; none if none was applied.

        Raises
        ------
        RevisionConflictError
            If somebody else saved it meanwhile.  Nothing was written and the aggregate is
            as it was: load it again and decide on the new state.
        CommitUncertain
            Save it again: no event is written twice.
        AggregateError
            If it is of another category, or has no stream.
        """
        stream = self._own_stream(aggregate)
        if not aggregate.uncommitted:
            return ()
        before = aggregate.revision
        recorded = self._log.append(
            stream,
            [event.to_domain_event(**envelope) for event in aggregate.uncommitted],
            expected_revision=NO_STREAM if before < 0 else before,
        )
        aggregate.stream = stream
        aggregate.revision = recorded[-1].revision
        aggregate.uncommitted = ()
        every = self.snapshot_every
        if every is not None and (aggregate.revision + 1) // every > (before + 1) // every:
            self.snapshot(aggregate)
        return recorded

    def update(
        self, name: str, change: Callable[[A], object], *, tries: int = TRIES, **envelope: Any
    ) -> tuple[RecordedEvent, ...]:
        """Load an aggregate, change it and save it; again, if somebody else saved it meanwhile.

        Parameters
        ----------
        name
            As in `get`.
        change
            Is called with the aggregate and lets events happen: it applies them, or gives back
            an event or several.  Where somebody else was faster it is called again, with the
            newer state, so whatever else it does must bear that.  What it raises means that
            nothing happened.
        tries
            How often before a conflict is given up on; between them lie pauses of random length.
        **envelope
            As in `save`.

        Returns
        -------
        tuple of RecordedEvent
            The events; none if there was nothing to change.

        Raises
        ------
        StreamNotFoundError
            If there is no such stream, naming near ones.
        RevisionConflictError
            If others were faster every time.  Nothing was written.
        CommitUncertain
            If it could not be found out whether the events were written: see what is there.
        CommandError
            If `change` gives back something else than events, or does both.
        AggregateError
            Within ``log.batch()``, where nothing sees what was appended before it.

        Examples
        --------
        >>> orders.update("17", lambda order: order.confirm())      # doctest: +SKIP
        """
        if not isinstance(tries, int) or tries < 1:
            raise AggregateError(f"tries={shown(tries)}: say a whole number from 1")
        if self._log.batching:
            raise AggregateError(
                "within log.batch() nothing sees what was appended before it; update outside of it"
            )
        said = getattr(change, "__qualname__", shown(change))
        aggregate: A | None = None
        failed: LogError | None = None
        for pause in pauses(tries):
            if pause:
                time.sleep(pause)
            if aggregate is None:
                aggregate = self.get(name)
                taken(aggregate, change(aggregate), said)
            try:
                return self.save(aggregate, **envelope)
            except RevisionConflictError as error:
                aggregate, failed = None, error
            except CommitUncertain as error:
                # The same events once more, by their ids: none is written twice.
                failed = error
        assert failed is not None  # noqa: S101 (said to the checker of types)
        raise failed

    def snapshot(self, aggregate: A | str) -> bool:
        """Keep the newest state of an aggregate as a snapshot; return whether one was kept.

        What was recorded is folded for it, and not what was applied: only the log is the truth.
        """
        if self._states is None or self._log.read_only:
            return False
        if isinstance(aggregate, str):
            stream = self._stream(aggregate)
        else:
            stream = self._own_stream(aggregate)
        loaded = self.load(stream)
        return loaded is not None and self.keep(loaded)

    # --- within ------------------------------------------------------------------------------

    def load(self, stream: str, at: int | None = None) -> Loaded[A] | None:
        """Fold a stream, from its snapshot on if there is one; None if it has no events."""
        kept = None if self._states is None else self._snapshots.find(stream)
        if kept is not None and (at is None or kept.revision <= at):
            loaded = self._continued(kept, stream, at)
            if loaded is not None:
                return loaded
        return replayed(self.kind(stream), self._log.read_stream(stream), at)

    def _continued(self, kept: Kept, stream: str, at: int | None) -> Loaded[A] | None:
        seen = self._log.glance([kept.event_id], [stream])
        # A restored or altered log may not have that event.
        if kept.event_id not in seen.known:
            return None
        head = (seen.heads or {}).get(stream)
        position = head.position if head is not None and head.revision == kept.revision else -1
        events = self._log.read_stream(stream, after=kept.revision)
        aggregate = self.kind(stream)
        assert self._states is not None  # noqa: S101 (said to the checker of types)
        try:
            fields, ended = self._states.read(kept.state)
        except ValueError:
            return None
        aggregate.restore(fields, revision=kept.revision, ended=ended)
        return replayed(aggregate, events, at) or Loaded(aggregate, kept.event_id, position, 0)

    def keep(self, loaded: Loaded[A]) -> bool:
        """Keep a state, which is a fold of what was recorded, as a snapshot if that can be."""
        if self._states is None or self._log.read_only:
            return False
        aggregate = loaded.aggregate
        try:
            state = self._states.write(aggregate)
        except NotKept as reason:
            self._without_snapshots(reason)
            return False
        self._snapshots.keep(aggregate.stream, Kept(aggregate.revision, loaded.event_id, state))
        return True

    def _without_snapshots(self, reason: NotKept) -> None:
        self._states = None
        warnings.warn(
            f"{self.kind.__name__} is folded without snapshots, which is slower for long "
            f"streams and as right: {reason}",
            RuntimeWarning,
            stacklevel=3,
        )

    def _stream(self, name: str) -> str:
        category = self.kind.description.category
        check_text("stream", name)
        return name if name.startswith(f"{category}-") else f"{category}-{name}"

    def _own_stream(self, aggregate: A) -> str:
        own = self.kind.description.category
        category = type(aggregate).description.category
        if category != own:
            raise AggregateError(
                f"this repository keeps the category {own!r}, and {type(aggregate).__name__} "
                f"is of {category!r}"
            )
        if not aggregate.stream:
            name = type(aggregate).__name__
            raise AggregateError(f"say which {own} it is: {name}('{own}-17')")
        return self._stream(aggregate.stream)


@dataclass(frozen=True)
class Loaded(Generic[A]):
    """An aggregate, its newest event, and how many events were replayed for it.

    The position is -1 where it is not known.
    """

    aggregate: A
    event_id: str
    position: int
    replayed: int


def replayed(aggregate: A, events: Iterator[RecordedEvent], at: int | None) -> Loaded[A] | None:
    """Replay events up to a revision; None if there are none."""
    count, event_id, position = 0, "", -1
    for event in events:
        if at is not None and event.revision > at:
            break
        aggregate.replay(event)
        event_id, position = event.event_id, event.position
        count += 1
    return Loaded(aggregate, event_id, position, count) if count else None
