"""Running sagas: taking the events of a log, sending what follows, waking them in time."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from esnb import instants
from esnb.errors import (
    CommitUncertain,
    DuplicateEventError,
    RevisionConflictError,
    SagaError,
    StreamNotFoundError,
    shown,
)
from esnb.event import DomainEvent, RecordedEvent
from esnb.log import NO_STREAM, Append, Log
from esnb.log.subscription import Batch, Watcher
from esnb.schema import check_text
from esnb.write import logging
from esnb.write.commands.commands import Commands
from esnb.write.sagas.health import Notes
from esnb.write.sagas.reader import READ, Reader
from esnb.write.sagas.saga import Saga
from esnb.write.sagas.sender import Moved, Sender
from esnb.write.sagas.state import TOLD, State, text_of
from esnb.write.sagas.steps import Steps
from esnb.write.stopping import stopped_by_signals

if TYPE_CHECKING:
    import duckdb

__all__ = ["SagaReport", "SagaRunner"]

_BATCH, _MOST = 2000, 10_000
# Seconds: the longest wait while time may go by elsewhere.
_LONGEST = 1.0
_TRIES = 10
_MOVED = (RevisionConflictError, DuplicateEventError, CommitUncertain)


@dataclass
class SagaReport:
    """What a run did.

    Attributes
    ----------
    position
        Everything up to here was seen.
    events
        How many events of other streams were looked into.
    began, ended, stuck
        How many sagas began, ended, got stuck.
    sent, refused, failed, late
        How many commands were accepted, refused by a rule, failed otherwise; how many things
        did not come in time.
    """

    position: int = -1
    events: int = 0
    began: int = 0
    ended: int = 0
    stuck: int = 0
    sent: int = 0
    refused: int = 0
    failed: int = 0
    late: int = 0

    def note(self, kind: str) -> None:
        """Count an event of a saga."""
        name = _COUNTED.get(kind)
        if name is not None:
            setattr(self, name, getattr(self, name) + 1)


_COUNTED = {
    "SagaBegan": "began", "SagaEnded": "ended", "SagaStuck": "stuck", "SagaSent": "sent",
    "SagaRefused": "refused", "SagaFailed": "failed", "SagaTimedOut": "late",
}  # fmt: skip


class SagaRunner:
    """Runs the sagas of one class.

    All that a saga knows is in its stream, also how far the log was read: whenever a runner ends,
    the next one goes on where it was.  Commands have ids that come from saga, step and attempt, so
    that one that was sent and not noted is sent again and happens once.

    Parameters
    ----------
    log
        The log.
    saga
        The saga class.
    commands
        Sends the commands.
    after
        Position of the last event that is none of its business, for the very first run; -1 for
        none.  ``log.next_position - 1`` begins with what happens from now on.
    actor
        Who sends the commands; the category of the sagas by default.
    clock
        Tells the time; the clock of the log by default.
    batch
        Events that are taken together.
    poll
        See ``log.subscribe``.

    Raises
    ------
    SagaError
        If the log is open for reading only.

    Examples
    --------
    >>> sagas = log.saga(Fulfilment, log.commands(Order, Payment))   # doctest: +SKIP
    >>> sagas.run()                                                  # doctest: +SKIP
    """

    def __init__(
        self,
        log: Log,
        saga: type[Saga],
        commands: Commands,
        *,
        after: int = -1,
        actor: str | None = None,
        clock: Callable[[], datetime] | None = None,
        batch: int = _BATCH,
        poll: float = 0.5,
    ) -> None:
        if log.read_only:
            raise SagaError("sagas write to their log, and this one is open for reading only")
        if not isinstance(batch, int) or not 1 <= batch <= _MOST:
            raise SagaError(f"batch={shown(batch)}: say a number of events from 1 to 10,000")
        self._log = log
        self._saga = saga
        self._description = saga.description
        self._category = saga.description.category
        self._after = after
        self._actor = self._category if actor is None else actor
        self._clock = log.clock if clock is None else clock
        self._size = batch
        self._steps = Steps(saga.description)
        self._reader = Reader(log, saga, self._steps)
        self._sender = Sender(commands, self._actor)
        self._watcher = Watcher(log.source, poll)
        self._notes = Notes(log, self._category)
        self._told_all = False  # whether the note tells what there is to tell
        self._stopping = threading.Event()
        self._running = False
        self._open: dict[str, State] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._position = self._low = after
        self._whole = -1  # up to here nobody else wrote to a saga; -1 for "not known"
        self._report = SagaReport()

    # --- what a user does --------------------------------------------------------------------

    def run(self, *, follow: bool = False, signals: bool = False) -> SagaReport:
        """Bring the sagas up to the log and the time; with `follow` go on as both do.

        While another runner works on this class of sagas, it waits for its turn.

        Parameters
        ----------
        signals
            Stop gracefully at SIGTERM and SIGINT (main thread only).

        Raises
        ------
        StorageError, LogBusyError, CommitUncertain
            If the log cannot be written.  Run it again: nothing is lost, nothing is done twice.
        """
        if self._running:
            raise SagaError(f"{self!r} is being run already")
        self._running, self._report = True, SagaReport()
        with ExitStack() as stack:
            stack.callback(self._stopping.clear)
            stack.callback(setattr, self, "_running", False)
            if signals:
                stack.enter_context(stopped_by_signals(self.stop))
            if not stack.enter_context(self._notes.turn(self._stopping)):
                return self._report
            try:
                self._cycle(follow)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    self._note("stopped")
                else:
                    self._note("failed", f"{error}" or repr(error))
                raise
            self._note("stopped")
        return self._report

    def stop(self) -> None:
        """End a run, from any thread or a signal handler: after the batch at hand."""
        self._stopping.set()

    def status(self, as_of: object = None) -> duckdb.DuckDBPyRelation:
        """Return how every saga stands, or stood at a moment.

        Returns
        -------
        duckdb.DuckDBPyRelation
            One row per saga: ``saga`` (its stream), ``id``, ``status`` (``"running"``,
            ``"compensating"``, ``"stuck"``, ``"done"``, ``"compensated"``), ``step`` (the newest),
            ``waiting`` (for what, in words), ``deadline`` (TIMESTAMPTZ, the next), ``tries``
            (of the command at hand), ``error`` (the newest), ``revision``, ``position`` and
            ``updated`` (TIMESTAMPTZ) of its newest event.

        Raises
        ------
        SagaError
            If the log is no `EventLog`, which answers questions.
        """
        timeline = getattr(self._log, "timeline", None)
        if timeline is None:
            raise SagaError("open the log with esnb.open to ask about its sagas")
        # A payload tells the whole of it, so the newest is the state.
        fields = {name: "BIGINT" if name == "tries" else "VARCHAR" for name in TOLD}
        states = timeline(self._category, fold="snapshot", fields=fields)
        moment = max(0, self._log.next_position - 1) if as_of is None else as_of
        found: duckdb.DuckDBPyRelation = states.as_of(moment).project(
            f"stream AS saga, substr(stream, {len(self._category) + 2}) AS id, status, step, "
            "waiting, deadline::TIMESTAMPTZ AS deadline, tries, error, revision, position, "
            "occurred_on AS updated"
        )
        return found

    def stuck(self) -> duckdb.DuckDBPyRelation:
        """Return those of `status` that wait for somebody to `resume` them, or to go back."""
        return self.status().filter("status = 'stuck'").order("updated, saga")

    def resume(self, saga: str, *, actor: str | None = None) -> None:
        """Let a saga that is stuck try again what failed; whoever runs it does.

        Parameters
        ----------
        saga
            Its id or stream.
        actor
            Who says so.

        Raises
        ------
        StreamNotFoundError, SagaError
            If there is no such saga, or it is not stuck.
        RevisionConflictError
            If somebody else was faster.
        """
        self._told(saga, actor, None)

    def compensate(self, saga: str, reason: str, *, actor: str | None = None) -> None:
        """Let a saga that is stuck go back instead (see `resume`)."""
        self._told(saga, actor, reason)

    def __repr__(self) -> str:
        return f"SagaRunner({self._saga.__name__}, {str(self._log.path)!r})"

    # --- the run -----------------------------------------------------------------------------

    def _cycle(self, follow: bool) -> None:
        wrong = 0
        while True:
            try:
                if self._whole < 0 or self._reader.others_wrote(self._whole):
                    self._load()
                    self._note("running")
                self._whole = -1
                while self._once() and not self._stopping.is_set():
                    wrong = 0
                if not self._until_note():
                    self._note("running")
                self._whole = self._report.position = self._position
                if not follow or self._stopping.is_set():
                    return
                self._watcher.wait(
                    self._position,
                    self._stopping.is_set,
                    seconds=min(self._until_next(), self._until_note()),
                )
                if self._stopping.is_set():
                    return
            except Moved as moved:
                wrong += 1
                if wrong > _TRIES:
                    raise moved.__cause__ or moved from None

    def _once(self) -> bool:
        """Take what there is and what is due; return whether there was any."""
        now = self._clock()
        before = self._position
        for batch in self._reader.batches(before, self._size):
            self._take(batch)
            self._position = batch.through
            self._moved()
            if self._stopping.is_set():
                return True
        woken = self._wake(now)
        if woken:
            self._moved()
        # What was written by ourselves is not worth another look unless it concerns us.
        return woken or (self._position > before and self._log.next_position > self._position + 1)

    def _moved(self) -> None:
        self._told_all = False
        if not self._notes.ready():
            self._note("running")

    def _note(self, state: str, error: str | None = None) -> None:
        self._notes.write(state, self._position, self._open.values(), error)
        self._told_all = True

    def _until_note(self) -> float:
        return float("inf") if self._told_all else self._notes.ready()

    def _until_next(self) -> float:
        while self._heap:
            at, stream = self._heap[0]
            state = self._open.get(stream)
            due = None if state is None else state.due()
            if due is not None and due.at == at:
                return max(0.001, min(_LONGEST, (at - self._clock()).total_seconds()))
            heapq.heappop(self._heap)
        return float("inf")

    def _take(self, batch: Batch) -> None:
        """Let the sagas take the events of a batch, each in its order.

        A saga that has something to send takes no further event before that is noted, so that
        what becomes of it does not depend on how much of the log is read at a time.
        """
        queues = self._reader.queues(batch, self._open)
        self._report.events += batch.table.num_rows
        # One that ends meanwhile is open no more, and must not begin anew.
        states = {
            stream: self._open.setdefault(stream, self._steps.new(stream)) for stream in queues
        }
        while queues:
            touched = []
            for stream, queue in list(queues.items()):
                state = states[stream]
                self._advance(state, queue)
                touched.append(state)
                if not queue:
                    del queues[stream]
            left = [queue[0].position for queue in queues.values()]
            self._low = max(self._low, min(left, default=batch.through + 1) - 1)
            self._commit(touched)
            self._drain(touched, {s: q[0].recorded_on for s, q in queues.items()})
        self._low = max(self._low, batch.through)

    def _advance(self, state: State, queue: deque[RecordedEvent]) -> None:
        """Let a saga decide until something is to be sent, or there is nothing more."""
        while queue and not state.ready(None):
            if state.still:
                queue.clear()
                return
            trigger = queue[0]
            due = state.due()
            if due is not None and due.at <= trigger.recorded_on:
                if due.what is None:
                    return
                self._steps.late(state, due.what, self._now(trigger))
                continue
            queue.popleft()
            self._steps.react(state, trigger, self._now(trigger))

    def _now(self, trigger: RecordedEvent) -> datetime:
        return max(self._clock(), trigger.recorded_on)

    def _wake(self, now: datetime) -> bool:
        """Let those sagas act whose time has come; return whether there are any."""
        woken = False
        while True:
            states = {}
            while self._heap and self._heap[0][0] <= now:
                _, stream = heapq.heappop(self._heap)
                state = self._open.get(stream)
                if state is not None and _is_due(state, now):
                    states[stream] = state
            if not states:
                return woken
            woken = True
            for state in states.values():
                due = state.due()
                while due is not None and due.what is not None and due.at <= now:
                    if state.ready(None):
                        break
                    self._steps.late(state, due.what, max(now, self._clock()))
                    due = state.due()
            self._commit(states.values())
            self._drain(states.values(), dict.fromkeys(states, now))

    def _drain(self, states: Iterable[State], until: dict[str, datetime]) -> None:
        """Send what is to be sent now, one command a saga at a time, and note how it ended."""
        waiting = [state for state in states if state.ready(until.get(state.stream))]
        # Who comes first gets the last piece, whether they were read in one go or after a crash.
        waiting.sort(key=lambda state: (state.seen, state.stream))
        while waiting:
            heads = [(state, head) for state in waiting if (head := state.head()) is not None]
            ended = self._sender.send([head for _, head in heads])
            for (state, head), how in zip(heads, ended, strict=True):
                self._steps.ended(state, head, how, self._clock())
            self._commit(waiting)
            waiting = [state for state in waiting if state.ready(until.get(state.stream))]

    # --- the sagas' own streams --------------------------------------------------------------

    def _commit(self, states: Iterable[State]) -> None:
        """Record what the sagas decided, all of it or nothing."""
        changed = [state for state in states if state.pending]
        if not changed:
            return
        appends = [
            self._append(state, self._actor, text_of({READ: self._low})) for state in changed
        ]
        try:
            self._log.append_many(*appends)
        except _MOVED as error:
            raise Moved from error
        for state in changed:
            self._noted(state)

    def _append(self, state: State, actor: str, metadata: str) -> Append:
        events = [
            DomainEvent(
                one.kind,
                text_of(one.data),
                event_id=one.event_id,
                occurred_on=one.occurred_on,
                actor=actor,
                correlation_id=one.correlation_id,
                causation_id=one.causation_id,
                metadata=metadata,
            )
            for one in state.pending
        ]
        before = state.revision - len(events)
        return Append(state.stream, events, NO_STREAM if before < 0 else before)

    def _noted(self, state: State) -> None:
        for one in state.pending:
            self._report.note(one.kind)
            if logging.active():
                level = "warning" if one.kind == "SagaStuck" else "info"
                logging.say(
                    level, "saga", what=one.kind, stream=state.stream, revision=state.revision,
                    status=state.status, correlation_id=one.correlation_id,
                    causation_id=one.causation_id,
                )  # fmt: skip
        state.pending.clear()
        if state.ended:
            self._open.pop(state.stream, None)
            return
        due = state.due()
        if due is not None:
            heapq.heappush(self._heap, (due.at, state.stream))

    def _told(self, saga: str, actor: str | None, back: str | None) -> None:
        own = f"{self._category}-"
        stream = check_text("stream", saga if saga.startswith(own) else own + saga)
        state = self._reader.state(stream)
        if state.revision < 0:
            raise StreamNotFoundError(stream, self._log.streams_near(stream))
        self._steps.resume(state, self._clock(), back=back)
        append = self._append(state, actor or self._actor, "{}")
        self._log.append_many(append)

    def _load(self) -> None:
        """Begin anew with what the log has."""
        self._open, read = self._reader.load()
        self._position = self._low = self._after if read < 0 else read
        self._heap = []
        states = list(self._open.values())
        for state in states:
            due = state.due()
            if due is not None:
                heapq.heappush(self._heap, (due.at, state.stream))
        now = self._clock()
        accepted = [state.stream for state in states if state.again == instants.EPOCH]
        self._drain(states, dict.fromkeys(accepted, now))


def _is_due(state: State, now: datetime) -> bool:
    due = state.due()
    return due is not None and due.at <= now
