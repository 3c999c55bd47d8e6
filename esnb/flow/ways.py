"""The questions to a flow about ways through it, and about what two sides of it differ in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import duckdb

from esnb.errors import FlowError
from esnb.flow import between, graph, paths
from esnb.flow.selection import Selection
from esnb.flow.steps import Steps, interval_sql

__all__ = ["Ways"]


class Ways(ABC):
    """What `Flow` answers out of `esnb.flow.paths` and `esnb.flow.between`."""

    selection: Selection

    @abstractmethod
    def built(self) -> Steps:
        """Return the events in order."""

    @abstractmethod
    def answer(self, sql: str, **tables: Any) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a SELECT over `tables` (Arrow)."""

    def steps(self, most: int = 8) -> duckdb.DuckDBPyRelation:
        """Return what comes after each of the first `most` places of a case.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``place`` (1 to `most`), ``source``, ``target`` (NULL where the case ended there),
            ``cases``.  The cases of a place are all those with so many events; what follows the
            last place is told, too.  By place, then most cases first.

        Raises
        ------
        FlowError
            If `most` is no whole number from 1 on.
        """
        return self.answer("FROM found", found=paths.places(self.built(), most))

    def funnel(
        self, types: Sequence[str], within: str | timedelta | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Count the cases that take steps in an order, each after the one before it.

        The first step is the first event of its type in the case; each further one is the first
        event of its type *after the event of the step before*, whatever lies between.  Cases are
        counted, not attempts: a case has one way through, from the first event of the first
        type.  A type may stand twice; then two events are needed.  The cases behind these
        numbers are `funnel_cases`.

        Parameters
        ----------
        types
            Event types, in order.
        within
            Longest time since the first step, ``"2d"`` or a `timedelta`: a step that comes
            later is not taken, nor any after it.

        Returns
        -------
        duckdb.DuckDBPyRelation
            A row a step: ``step`` (from 1), ``event_type``, ``cases``, ``share`` (of all cases
            of the flow), ``of_previous`` (of the cases of the step before; NULL for the first,
            and where there are none), ``median_wait``, ``p95_wait`` (since the step before;
            NULL for the first, and where there are none).

        Raises
        ------
        FlowError
            If no event has such a type (it names near ones), or `within` is no length of time.
        """
        waits = _intervals("median_wait", "p95_wait")
        return self.answer(
            f"SELECT * REPLACE ({waits}) FROM found",  # noqa: S608 (our own text)
            found=paths.funnel(self.built(), types, within),
        )

    def funnel_cases(
        self, types: Sequence[str], within: str | timedelta | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Return how far each case comes in a `funnel`.

        Returns
        -------
        duckdb.DuckDBPyRelation
            A row a case that takes the first step: ``case_id``, ``reached`` (its last step, from
            1), ``first_at``, ``last_at`` (instants of its first and last step).  By case.  The
            cases of step 3 are ``.filter("reached >= 3")``, those lost after step 2 are
            ``.filter("reached = 2")``.

        Raises
        ------
        FlowError
            As `funnel`.
        """
        return self.answer("FROM found", found=paths.funnel_cases(self.built(), types, within))

    def spectrum(self, a: str, b: str, eventually: bool = False) -> duckdb.DuckDBPyRelation:
        """Return each way from an event of type `a` to one of type `b`: the performance spectrum.

        Parameters
        ----------
        eventually
            Not only an `a` directly followed by a `b`, but each `a` with the first `b` after it
            in its case, whatever lies between.  Several of `a` may meet in one `b`.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``source_at``, ``target_at``, ``wait``.  By case and place.

        Raises
        ------
        FlowError
            If no event has such a type; it names near ones.
        """
        return self.answer(
            f"SELECT * REPLACE ({_intervals('wait')}) FROM found",  # noqa: S608 (our own text)
            found=paths.spectrum(self.built(), a, b, eventually=eventually),
        )

    def rework(self) -> duckdb.DuckDBPyRelation:
        """Count, for each event type, how often it comes again in a case.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``event_type``, ``cases`` (that have it), ``count`` (events), ``repeats`` (events after
            the first one in their case), ``self_loops`` (repeats right after an event of the
            same type), ``loops`` (the other repeats: back after something else),
            ``cases_with_rework`` (that have it more than once), ``share`` (these, of the cases
            that have it).  Most repeats first, then by name.
        """
        return self.answer("FROM found", found=paths.rework(self.built()))

    def between(self, a: object, b: object) -> duckdb.DuckDBPyRelation:
        """Return how the directly-follows graph differs between two windows or groups.

        Parameters
        ----------
        a, b
            The two sides.  A pair of instants: the events from the one on and before the other,
            on the clock of the flow (a case that is cut counts with the part inside).  A
            mapping of filters as of `EventLog.events`, ``where`` and ``window`` among them:
            those of this flow's events that they ask for.  Or a flow of its own.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``kind``, ``source``, ``target``, ``count_a``, ``count_b``; ``share_a``, ``share_b``
            (of all of its kind on its side: a step of all steps, a start of all starts; 0 where
            there are none); ``change`` (count_b - count_a), ``points`` (share_b - share_a, in
            percentage points); ``median_wait_a``, ``median_wait_b``, ``wait_change`` (b - a; NULL
            without both).  The largest change of share first.

        Raises
        ------
        FlowError
            If a side is none of these, or goes by another clock than the other.
        """
        sides, clocks = [], []
        for given in (a, b):
            if isinstance(given, Ways):
                clocks.append(given.selection.clock)
                sides.append(given.built())
            else:
                clocks.append(self.selection.clock)
                sides.append(between.part(self.selection, self.built(), given))
        if clocks[0] != clocks[1]:
            raise FlowError(
                f"one side goes by {clocks[0]}_on and the other by {clocks[1]}_on, which are not "
                "to be compared; give both the same clock"
            )
        edges = {name: graph.edges(side) for name, side in zip("ab", sides, strict=True)}
        return self.answer(between.DIFFERENCE, **edges)


def _intervals(*names: str) -> str:
    return ", ".join(f"{interval_sql(name)} AS {name}" for name in names)
