"""Running a projection: catching up, following, waiting for what is away, rebuilding."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from esnb.errors import ProjectionError, SinkError, shown
from esnb.log import Log
from esnb.write import logging
from esnb.write.projections.projection import Projection
from esnb.write.projections.readmodels.sink import DeadLetter, Down, Moved, Refused, Sink
from esnb.write.projections.turns import FIRST_PAUSE, TURN, Report, Turns
from esnb.write.registry import lag
from esnb.write.stopping import stopped_by_signals

__all__ = ["Lag", "Report", "Runner"]

_LAST_PAUSE = 5.0


@dataclass(frozen=True)
class Lag:
    """How far a projection is behind its log.

    Attributes
    ----------
    position
        Everything up to here is in the read model.
    behind
        How many events of the log come after.
    seconds
        For how long the oldest of them has been recorded; 0 without any.
    """

    position: int
    behind: int
    seconds: float


class Runner(Turns):
    """Keeps a read model up to date with a log.

    Parameters
    ----------
    log
        The log.
    projection
        The projection class.
    into
        The sink.
    on_error
        ``"stop"`` before an event that cannot be taken, or ``"dead_letter"``: set it aside
        and go on.
    batch
        Events in a transaction; 5,000 for handlers, 200,000 for SELECTs without it.
    poll
        See ``log.subscribe``.
    patience
        Seconds to wait for a sink that is away before `SinkError`; for ever without it.

    Examples
    --------
    >>> runner = log.project(Board, into=DuckDBSink("shop.duckdb"))  # doctest: +SKIP
    >>> runner.run()                                                 # doctest: +SKIP
    >>> runner.lag().behind                                          # doctest: +SKIP
    0
    """

    def __init__(
        self,
        log: Log,
        projection: type[Projection],
        into: Sink,
        *,
        on_error: str = "stop",
        batch: int | None = None,
        poll: float = 0.5,
        patience: float | None = None,
    ) -> None:
        if on_error not in ("stop", "dead_letter"):
            raise ProjectionError(f"on_error={on_error!r}: say 'stop' or 'dead_letter'")
        if not isinstance(into, Sink):
            raise ProjectionError(
                f"into={shown(into)} is no sink: say DuckDBSink(path), PostgreSQLSink(url), "
                "RedisSink(url) or MongoDBSink(url)"
            )
        if batch is not None and (not isinstance(batch, int) or batch < 1):
            raise ProjectionError(f"batch={batch!r}: give a number of events from 1")
        super().__init__(
            log, projection, into, keep=on_error == "dead_letter", batch=batch, poll=poll
        )
        self._patience = patience
        self._running = False

    # --- what a user does --------------------------------------------------------------------

    def run(self, *, follow: bool = False, signals: bool = False) -> Report:
        """Bring the read model up to the log; with `follow` go on as the log grows.

        While another runner works on this projection, it waits for its turn.  While the sink
        is away, it waits and tries again; nothing is lost, and nothing is done twice.

        Parameters
        ----------
        signals
            Stop gracefully at SIGTERM and SIGINT (main thread only).

        Raises
        ------
        ProjectionError
            Naming the event and the handler; all events before it are in the read model.
        SinkError
            If the sink refuses, or stays away for longer than `patience`.
        """
        return self._go(lambda: self._turn(follow), signals=signals)

    def rebuild(self, *, signals: bool = False) -> Report:
        """Make a new version from the first event on, beside the old; then switch to it.

        Readers see the old version until the new one has caught up with it; runners of the
        old one go over to the new.  A rebuild that was cut off is begun anew.
        """
        building: list[int] = []
        return self._go(lambda: self._rebuilt(building), signals=signals)

    def stop(self) -> None:
        """End a run, from any thread or a signal handler: after the batch at hand."""
        self._stopping.set()

    def pause(self) -> None:
        """Let every runner of this projection rest, in this process and others."""
        self._set_paused(True)

    def resume(self) -> None:
        """End a pause."""
        self._set_paused(False)

    def lag(self) -> Lag:
        """Return how far the read model is behind the log."""
        position = self._note.position
        if not self._running:
            self._calmly(lambda: None)
            state = self._calmly(self._sink.state)
            known = None if state.current is None else state.versions.get(state.current)
            position = -1 if known is None else known.position
        return Lag(position, *lag(self._log, position))

    def dead_letters(self) -> list[DeadLetter]:
        """Return the events that were set aside, by position."""
        state = self._calmly(self._sink.state)
        return [] if state.current is None else self._calmly(self._sink.letters, state.current)

    def retry(self) -> list[DeadLetter]:
        """Take the dead letters after all; return those that still cannot be taken.

        What they do is done now, after later events: the last word on a row may become an
        older one.  Where that matters, mend the handler and `rebuild` instead.  A runner that
        follows has to be paused or stopped, or this waits for it.
        """
        left: list[DeadLetter] = []
        self._go(lambda: self._retried(left))
        return left

    def rows(self, table: str | None = None) -> dict[str, dict[str, Any]]:
        """Return the rows of a table by key, as Python values: to look, or to test."""
        name = table or next(iter(self._method.tables))
        if self._calmly(self._sink.state).current is None:
            return {}
        return dict(self._calmly(lambda: list(self._sink.rows(name))))

    def close(self) -> None:
        """Let go of the sink."""
        self._sink.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Runner({self._name!r}, {self._sink.kind} at {self._sink.place})"

    # --- waiting, and beginning again --------------------------------------------------------

    def _go(self, turn: Callable[[], bool], *, signals: bool = False) -> Report:
        """Take turns until one says that all is done, whatever becomes of the sink."""
        if self._running:
            raise ProjectionError(f"projection {self._name!r} is being run by this object already")
        self._running, self._report = True, Report()
        self._away_since, self._pause = None, FIRST_PAUSE
        began = time.monotonic()
        with ExitStack() as stack:
            stack.callback(self._stopping.clear)
            stack.callback(setattr, self, "_running", False)
            stack.enter_context(self._registry.at_work())
            if signals:
                stack.enter_context(stopped_by_signals(self.stop))
            try:
                while not self._stopping.is_set() and not self._tried(turn):
                    pass
            except BaseException as error:
                with suppress(Exception):
                    self._sink.close()
                interrupted = isinstance(error, KeyboardInterrupt)
                self._tell("stopped" if interrupted else "failed", f"{error}"[:2000] or None)
                raise
            self._tell("paused" if self._note.state == "paused" else "stopped")
            self._report.version = self._note.version
            self._report.position = self._note.position
            self._report.seconds = time.monotonic() - began
            self._sink.rest()
        return self._report

    def _tried(self, turn: Callable[[], bool]) -> bool:
        try:
            self._sink.open()
            if self._want_paused is not None:
                self._sink.pause(self._want_paused)
                self._want_paused = None
            return turn()
        except Down as error:
            self._sink.close()
            self._wait_for_sink(error)
        except Moved as error:
            logging.say("debug", "projection moved", projection=self._name, reason=str(error))
            self._stopping.wait(TURN / 2)
        except Refused as error:
            raise SinkError(
                f"{self._sink.kind} at {self._sink.place} refuses what the projection "
                f"{self._name!r} asks: {error}"
            ) from error
        return False

    def _wait_for_sink(self, error: Exception) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            logging.say(
                "warning", "sink away", projection=self._name, sink=self._sink.kind,
                place=self._sink.place, reason=type(error.__cause__ or error).__name__,
            )  # fmt: skip
        if self._patience is not None and now - self._away_since > self._patience:
            raise SinkError(
                f"{self._sink.kind} at {self._sink.place} is away since "
                f"{now - self._away_since:.0f} s: {error}. Nothing is lost; run it again when it "
                "is back"
            ) from error
        self._tell("away", str(error)[:2000])
        self._stopping.wait(self._pause * random.uniform(0.5, 1))  # noqa: S311
        self._pause = min(self._pause * 2, _LAST_PAUSE)

    def _calmly(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """Ask the sink something outside of a run; wait for it if it is away."""
        if self._running:
            raise ProjectionError(f"projection {self._name!r} is running; ask when it has ended")
        self._away_since, self._pause = None, FIRST_PAUSE
        while True:
            try:
                self._sink.open()
                found = ask(*arguments)
                self._sink.rest()
                return found
            except (Down, Moved) as error:
                self._sink.close()
                self._wait_for_sink(error)

    def _set_paused(self, paused: bool) -> None:
        if self._running:
            self._want_paused = paused  # the run does it: a connection is of one thread
            return
        self._calmly(self._sink.pause, paused)
        self._tell("paused" if paused else "stopped")
