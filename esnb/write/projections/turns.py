"""What a runner does in a turn: work on a version, batch by batch, rebuild, retry."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from esnb.errors import ProjectionError
from esnb.log import Log
from esnb.log.finder import events_of
from esnb.log.subscription import Batch, Watcher
from esnb.write import logging
from esnb.write.projections.changes import Changes
from esnb.write.projections.projecting import Made, letter_of, method_of
from esnb.write.projections.projection import Projection, shape_of
from esnb.write.projections.readmodels.sink import (
    Checkpoint,
    DeadLetter,
    Down,
    Moved,
    Refused,
    Sink,
)
from esnb.write.registry import Note, Registry, told

__all__ = ["FIRST_PAUSE", "TURN", "Report", "Turns"]

# Seconds between two notes, two looks at whether it is paused, two tries for a lease.
OFTEN, TURN = 1.0, 0.1
# Of the waits for a sink that is away.
FIRST_PAUSE = 0.05


@dataclass
class Report:
    """What a run did.

    Attributes
    ----------
    version, position
        Of the read model, at the end.
    events
        How many were looked into.
    rows
        How many rows the batches changed, added up.
    dead_letters
        How many events were set aside.
    """

    version: int = 0
    position: int = -1
    events: int = 0
    rows: int = 0
    dead_letters: int = 0
    seconds: float = 0.0


class Turns:
    """The inside of `Runner`, which tells the parameters: each turn begins from what the sink says.

    A turn ends in `Down` when the sink goes away and in `Moved` when somebody else was faster;
    whoever takes turns begins the next one then.
    """

    def __init__(
        self,
        log: Log,
        projection: type[Projection],
        into: Sink,
        *,
        keep: bool,
        batch: int | None,
        poll: float,
    ) -> None:
        self._log = log
        self._sink = into
        self._method = method_of(projection.description, log)
        if not self._method.tables:
            raise ProjectionError(f"{projection.__name__} has no Table")
        self._name = projection.description.name
        self._shape = shape_of(self._method.tables)
        self._keep = keep
        self._size = batch or self._method.size
        self._watcher = Watcher(log.source, poll)
        into.bind(self._name, self._method.tables)
        self._registry = Registry(log, self._name, into.kind, into.place)
        self._note = told(Note(self._name, into.kind, into.place, 0, -1, "stopped", "", 0))
        self._noted = self._beaten = 0.0
        self._stopping = threading.Event()
        self._want_paused: bool | None = None
        self._away_since: float | None = None
        self._pause = FIRST_PAUSE
        self._report = Report()

    def _turn(self, follow: bool) -> bool:
        """Work on the current version as long as it is; return whether all is done."""
        state = self._sink.state()
        if state.paused:
            return self._paused(follow)
        version = state.current or 1
        with self._leased(version) as mine:
            if not mine:
                return False
            state = self._sink.state()
            if state.current is None:
                if version not in state.versions:
                    self._sink.create(version, self._nothing())
                self._sink.switch(version)
            elif state.current != version:
                return False
            letters = len(self._sink.letters(version))
            self._note = replace(self._note, dead_letters=letters)
            return self._work(version, follow)

    def _paused(self, follow: bool) -> bool:
        self._tell("paused")
        if not follow:
            return True
        self._sink.rest()
        end = time.monotonic() + OFTEN
        while time.monotonic() < end and self._want_paused is None:
            if self._stopping.wait(TURN):
                break
        return False

    @contextmanager
    def _leased(self, version: int) -> Iterator[bool]:
        """Hold the lease of a version within the block; it is told whether it does."""
        if not self._sink.acquire(version):
            if self._note.state != "waiting":
                logging.say("info", "projection waits", projection=self._name, version=version)
            self._tell("waiting")
            self._sink.rest()
            self._stopping.wait(min(TURN, self._sink.lease / 3))
            yield False
            return
        try:
            yield True
        finally:
            with suppress(Down, Moved):
                self._sink.release(version)

    def _work(self, version: int, follow: bool) -> bool:
        while True:
            state = self._sink.state()
            checkpoint = state.versions.get(version)
            if state.current != version or checkpoint is None or state.paused:
                return False
            self._check(checkpoint)
            self._noted_at(version, checkpoint)
            self._tell("running")
            if self._caught_up(version, checkpoint) and not self._interrupted():
                if not follow:
                    return True
                self._idle(version, self._note.position)
            if self._stopping.is_set():
                return True
            if self._want_paused is not None:
                return False

    def _interrupted(self) -> bool:
        return self._stopping.is_set() or self._want_paused is not None

    def _caught_up(self, version: int, checkpoint: Checkpoint) -> bool:
        """Take what is there; return whether there was nothing."""
        nothing = True
        for batch in self._batches(checkpoint):
            checkpoint = self._take(version, checkpoint, batch)
            nothing = False
            if self._interrupted():
                break
            self._beat(version)
        return nothing

    def _idle(self, version: int, position: int) -> None:
        """Wait until the log grows, or something else is to be done."""
        self._tell("running", now=True)
        self._sink.rest()
        while not self._interrupted():
            seconds = min(OFTEN, self._sink.lease / 3)
            if self._watcher.wait(position, self._interrupted, seconds=seconds):
                return
            if self._sink.watched:
                self._sink.beat(version)
                state = self._sink.state()
                if state.paused or state.current != version:
                    return
            self._tell("running")

    def _beat(self, version: int) -> None:
        now = time.monotonic()
        if now - self._beaten > self._sink.lease / 3:
            self._sink.beat(version)
            self._beaten = now

    def _batches(self, checkpoint: Checkpoint) -> Iterator[Batch]:
        """Yield what comes next: first a batch that was begun, exactly as it was cut."""
        source, wanted = self._log.source, self._method.wanted
        after, through = checkpoint.position, checkpoint.through
        if through is None:
            yield from source.batches(after, wanted, self._size)
            return
        parts = list(source.batches(after, wanted, self._size, before=through + 1))
        yield Batch(after, through, pa.concat_tables([part.table for part in parts]))

    # --- one batch ---------------------------------------------------------------------------

    def _take(self, version: int, checkpoint: Checkpoint, batch: Batch) -> Checkpoint:
        made = self._method.make(batch, nul=self._sink.nul, keep=self._keep)
        if checkpoint.through is not None and made.through != checkpoint.through:
            raise made.error or ProjectionError(f"a batch of {self._name!r} was cut otherwise")
        began = time.monotonic()
        try:
            new = self._applied(version, checkpoint, batch, made)
        except Refused as refused:
            return self._refused(version, checkpoint, batch, made, refused)
        logging.say(
            "info", "projected", projection=self._name, version=version, position=new.position,
            events=batch.table.num_rows, rows=made.changes.rows, dead_letters=len(made.letters),
            duration_ms=round((time.monotonic() - began) * 1000, 3),
        )  # fmt: skip
        if made.error is not None:
            logging.say(
                "error", "projection stopped", projection=self._name, version=version,
                position=made.error.position, event_id=made.error.event_id,
                event_type=made.error.event_type, stream=made.error.stream,
                handler=made.error.handler, reason=type(made.error.__cause__).__name__,
            )  # fmt: skip
            raise made.error
        return new

    def _applied(
        self, version: int, checkpoint: Checkpoint, batch: Batch, made: Made
    ) -> Checkpoint:
        if made.through == checkpoint.position:
            return checkpoint
        new = Checkpoint(
            checkpoint.log_id, made.through, _last_id(batch, made) or checkpoint.event_id,
            checkpoint.shape,
        )  # fmt: skip
        self._sink.apply(version, checkpoint, new, made.changes, made.letters)
        self._away_since, self._pause = None, FIRST_PAUSE
        self._report.events += batch.table.num_rows
        self._report.rows += made.changes.rows
        self._report.dead_letters += len(made.letters)
        self._noted_at(version, new, len(made.letters))
        self._tell("running")
        return new

    def _refused(
        self,
        version: int,
        checkpoint: Checkpoint,
        batch: Batch,
        made: Made,
        refused: Refused,
    ) -> Checkpoint:
        """Find the event whose rows the sink refuses: half of the batch, and half of that."""
        rows = batch.table.num_rows
        if not (self._sink.atomic and self._method.by_event and rows):
            raise ProjectionError(
                f"projection {self._name!r} stopped after position {checkpoint.position}: "
                f"{self._sink.kind} refuses what the events up to {made.through} do: {refused}",
                projection=self._name,
            ) from refused
        if rows > 1:
            first = batch.table.slice(0, rows // 2)
            middle = first["position"][-1].as_py()
            checkpoint = self._take(version, checkpoint, Batch(batch.after, middle, first))
            rest = batch.table.slice(rows // 2)
            return self._take(version, checkpoint, Batch(middle, batch.through, rest))
        event = next(events_of(batch.table.combine_chunks().to_reader()))
        error = self._method.blame(event, self._sink.kind, refused)
        error.__cause__ = refused
        letters = (letter_of(error),) if self._keep else ()
        through = batch.through if self._keep else event.position - 1
        new = self._applied(version, checkpoint, batch, Made(Changes(), through, letters))
        if not self._keep:
            raise error
        return new

    def _nothing(self) -> Checkpoint:
        return Checkpoint(self._log.log_id, -1, None, self._shape)

    def _check(self, checkpoint: Checkpoint) -> None:
        """Refuse to go on from a checkpoint that is not of this log and these tables."""
        if checkpoint.log_id != self._log.log_id:
            raise ProjectionError(
                f"the read model {self._name!r} in {self._sink.kind} is of another log "
                f"({checkpoint.log_id}); rebuild it, or give it another name",
                projection=self._name,
            )
        known = checkpoint.event_id is None or checkpoint.event_id == self._checked
        event = None if known else self._log.event(str(checkpoint.event_id))
        gone = not known and (event is None or event.position > checkpoint.position)
        if gone or checkpoint.position >= self._log.next_position:
            raise ProjectionError(
                f"the read model {self._name!r} has seen events up to position "
                f"{checkpoint.position} that are not in this log: it was set back to a copy. "
                "Rebuild the read model",
                projection=self._name,
            )
        self._checked = checkpoint.event_id
        if checkpoint.shape != self._shape:
            raise ProjectionError(
                f"the tables of {self._name!r} have other columns now than in {self._sink.kind}; "
                "rebuild it: readers see the old tables until the new ones are full",
                projection=self._name,
            )

    _checked: str | None = None

    # --- rebuilding, retrying ----------------------------------------------------------------

    def _rebuilt(self, building: list[int]) -> bool:
        state = self._sink.state()
        old = state.current
        if old is None:
            return self._turn(follow=False)
        version = building[0] if building else old + 1
        with self._leased(version) as mine:
            if not mine:
                return False
            state = self._sink.state()
            if state.current != old:
                building.clear()
                return False
            if not building:
                self._sink.drop(version)  # what a rebuild that was cut off has left
                self._sink.create(version, self._nothing())
                building.append(version)
            if not self._filled(version, old):
                return True  # stopped; the next one begins anew
            self._sink.switch(version)
            logging.say("info", "projection switched", projection=self._name, version=version)
        if not self._sink.atomic:
            self._outlive(old)
        self._sink.drop(old)
        return True

    def _filled(self, version: int, old: int) -> bool:
        """Bring a new version as far as the log and the old one are."""
        while not self._stopping.is_set():
            state = self._sink.state()
            checkpoint = state.versions.get(version)
            if checkpoint is None:
                raise Moved(f"version {version} is gone")
            self._noted_at(version, checkpoint)
            if self._caught_up(version, checkpoint):
                before = state.versions.get(old)
                alike = before is not None and before.log_id == checkpoint.log_id
                if before is None or not alike or before.position <= checkpoint.position:
                    return True
                if before.position >= self._log.next_position:
                    return True  # of a log that was set back
        return False

    def _outlive(self, version: int) -> None:
        """Wait until nobody works on an old version, or its lease has run out."""
        end = time.monotonic() + 2 * self._sink.lease
        while time.monotonic() < end and not self._sink.acquire(version):
            self._stopping.wait(TURN)

    def _retried(self, left: list[DeadLetter]) -> bool:
        left.clear()
        state = self._sink.state()
        if state.current is None:
            return True
        with self._leased(state.current) as mine:
            if not mine:
                return False
            self._noted_at(state.current, state.versions[state.current])
            for letter in self._sink.letters(state.current):
                position = letter.position
                batches = self._log.source.batches(
                    position - 1, self._method.wanted, 1, before=position + 1
                )
                made = self._method.make(next(iter(batches)), nul=self._sink.nul, keep=False)
                if made.error is not None:
                    left.append(letter)
                    continue
                try:
                    self._sink.settle(state.current, letter, made.changes)
                except Refused:
                    left.append(letter)
            self._note = replace(self._note, dead_letters=len(left))
            return True

    # --- telling -----------------------------------------------------------------------------

    def _noted_at(self, version: int, checkpoint: Checkpoint, letters: int = 0) -> None:
        self._note = replace(
            self._note,
            version=version,
            position=checkpoint.position,
            dead_letters=self._note.dead_letters + letters,
        )

    def _tell(self, state: str, error: str | None = None, *, now: bool = False) -> None:
        """Write the note, at once when the state is another, otherwise about once a second."""
        moment = time.monotonic()
        if state == self._note.state and not now and moment - self._noted < OFTEN:
            return
        self._noted = moment
        self._note = told(self._note, state=state, error=error)
        self._registry.write(self._note)


def _last_id(batch: Batch, made: Made) -> str | None:
    """Return the id of the newest event of a batch that counts."""
    counted = pc.sum(pc.less_equal(batch.table["position"], made.through)).as_py()
    return str(batch.table["event_id"][counted - 1].as_py()) if counted else None
