"""Reading for sagas: which have not ended, and which events are for whom."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from esnb import instants
from esnb.errors import EventError
from esnb.event import RecordedEvent
from esnb.log import Log
from esnb.log.subscription import Batch, Wanted
from esnb.schema import check_text
from esnb.write.commands.handlers import event_id_of
from esnb.write.sagas.saga import Saga
from esnb.write.sagas.state import ENDED, RESUMED, State
from esnb.write.sagas.steps import Steps

__all__ = ["READ", "Queues", "Reader"]

READ = "read"
Queues = dict[str, deque[RecordedEvent]]

_SCAN, _MOST = 100_000, 10_000
_COLUMNS = (
    "stream", "revision", "event_type", "data", "event_id", "correlation_id", "causation_id",
    "metadata",
)  # fmt: skip


class Reader:
    """Reads a log for the sagas of one class."""

    def __init__(self, log: Log, saga: type[Saga], steps: Steps) -> None:
        description = saga.description
        self._log = log
        self._saga = saga
        self._steps = steps
        self._category = description.category
        self._begins = description.begins
        self._handled = Wanted((), tuple(sorted(description.handlers)))
        self._wanted = Wanted((), (*self._handled.event_types, RESUMED))

    def batches(self, after: int, size: int) -> Iterator[Batch]:
        """Yield the events after a position that may concern the sagas."""
        return self._log.source.batches(after, self._wanted, size)

    def stream_of(self, event: RecordedEvent) -> str | None:
        """Return the stream of the saga that an event is for."""
        found = self._saga.id_of(event)
        if found is None:
            return None
        try:
            return check_text("stream", f"{self._category}-{found}")
        except EventError:
            return None  # no stream is called so, hence no saga

    def state(self, stream: str) -> State:
        """Return a saga as it stands in the log."""
        return self._steps.new(stream).replayed(self._log.read_stream(stream))

    def queues(self, batch: Batch, known: dict[str, State]) -> Queues:
        """Return the events of a batch by the saga that they are for.

        A saga that was resumed gets what it missed first, and is brought up to date in `known`,
        which holds all that have not ended.
        """
        queues: Queues = {}
        for event in batch.events():
            if event.category == self._category:
                state = known.get(event.stream)
                if event.event_type == RESUMED and state is not None:
                    if state.revision < event.revision:
                        state = known[event.stream] = self.state(event.stream)
                    came = queues.get(event.stream, ())
                    queues[event.stream] = deque([*self._missed(state, batch.after), *came])
                continue
            stream = self.stream_of(event)
            if stream is not None:
                queues.setdefault(stream, deque()).append(event)
        unknown = [stream for stream in queues if stream not in known]
        heads = self._log.glance([], unknown).heads
        for stream in unknown:
            ended = (
                next(self._log.read_stream(stream), None) is not None
                if heads is None
                else stream in heads
            )
            if ended or not self._begun_in(queues[stream]):
                del queues[stream]
        return queues

    def _begun_in(self, queue: deque[RecordedEvent]) -> bool:
        while queue and queue[0].event_type not in self._begins:
            queue.popleft()
        return bool(queue)

    def _missed(self, state: State, through: int) -> Iterator[RecordedEvent]:
        """Yield the events that a saga did not take while it was stuck."""
        source = self._log.source
        for batch in source.batches(state.seen, self._handled, _SCAN, before=through + 1):
            for event in batch.events():
                if self.stream_of(event) == state.stream:
                    yield event

    def others_wrote(self, since: int) -> bool:
        """Tell whether somebody else moved sagas since a position."""
        for batch in self._log.source.batches(since, Wanted((self._category,)), _SCAN):
            if pc.any(pc.not_equal(batch.table["event_type"], RESUMED)).as_py():
                return True
        return False

    def load(self) -> tuple[dict[str, State], int]:
        """Return all sagas that have not ended, and how far the log was read for them all."""
        source, read = self._log.source, -1
        ended: list[pa.Array] = []
        for batch in source.batches(-1, Wanted((self._category,), (ENDED,)), _SCAN):
            if batch.table.num_rows:
                ended.append(pc.unique(batch.table["stream"]))
                read = max(read, _read_of(batch.table["metadata"][-1].as_py()))
        gone = pa.concat_arrays(ended) if ended else pa.array([], pa.string())
        known: dict[str, State] = {}
        for batch in source.batches(-1, Wanted((self._category,)), _SCAN):
            table = batch.table
            table = table.filter(pc.invert(pc.is_in(table["stream"], gone)))
            read = max(read, self._folded(table, known))
        for stream in self._accepted(known.values()):
            # What was accepted is noted before anything else is decided, also where a clock
            # was set back since.
            known[stream].again = instants.EPOCH
        return known, read

    def _folded(self, table: pa.Table, known: dict[str, State]) -> int:
        read = -1
        columns = [table[name].to_pylist() for name in _COLUMNS]
        for stream, *event, metadata in zip(*columns, strict=True):
            state = known.get(stream)
            if state is None:
                state = known[stream] = self._steps.new(stream)
            state.replay(*event)
            read = max(read, _read_of(metadata))
        return read

    def _accepted(self, states: Iterable[State]) -> list[str]:
        """Return the sagas whose command was tried again and is in the log."""
        tried = {
            event_id_of(head.command_id, 0): state.stream
            for state in states
            if state.tries and (head := state.head()) is not None
        }
        found: list[str] = []
        ids = list(tried)
        for start in range(0, len(ids), _MOST):
            known = self._log.glance(ids[start : start + _MOST], []).known
            found += [tried[one] for one in known if one in tried]
        return found


def _read_of(metadata: str) -> int:
    found = json.loads(metadata).get(READ)
    return found if isinstance(found, int) else -1
