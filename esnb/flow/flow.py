"""Flow: how cases went, and the questions asked of that."""

from __future__ import annotations

import threading
from typing import Any

import duckdb

from esnb import progress
from esnb.flow import graph
from esnb.flow.selection import Selection
from esnb.flow.steps import Steps, interval_sql, ordered

__all__ = ["Flow"]


class Flow:
    """How the cases of a selection went: which event came after which, and after how long.

    Nothing is read before the first question, which puts all events in order; the others are
    answered from there.  A flow stands for the log as it was when the flow was made.

    Parameters
    ----------
    selection
        The events; see `esnb.eventlog.EventLog.flow`.
    """

    def __init__(self, selection: Selection, steps: Steps | None = None) -> None:
        self.selection = selection
        self._steps = steps
        self._lock = threading.Lock()

    # --- for other modules of this package -------------------------------------------------

    def built(self) -> Steps:
        """Return the events in order; they are read once."""
        with self._lock:
            if self._steps is None:
                chosen = self.selection
                title = f"flow of {chosen.of}" if chosen.of else "flow"
                with progress.bar(None, chosen.most, " events", title) as seen:
                    self._steps = ordered(
                        chosen.batches(), by_time=chosen.clock == "occurred", seen=seen
                    )
            return self._steps

    def cursor(self, *, events: bool = False) -> duckdb.DuckDBPyConnection:
        """Return a cursor of its own, with the tables ``steps``, ``cases`` and ``types``.

        See `esnb.flow.steps.Steps.register` for their columns.

        Parameters
        ----------
        events
            Whether it shall have the log as ``events`` too; ``steps.position`` is the place in
            it.

        Raises
        ------
        FlowError
            If `events` are asked for and the flow is not one of a log.
        """
        cursor = self.selection.events_cursor() if events else self.selection.cursor()
        self.built().register(cursor)
        return cursor

    def ask(self, sql: str, **tables: Any) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a SELECT over ``steps``, ``cases``, ``types`` and `tables`.

        It has a cursor of its own: a reader of it is not cut off by the next question.
        """
        cursor = self.cursor()
        for name, table in tables.items():
            cursor.register(name, table)
        return cursor.sql(sql)

    def answer(self, sql: str, **tables: Any) -> duckdb.DuckDBPyRelation:
        """Return a lazy relation of a SELECT over `tables` (Arrow) alone, on its own cursor."""
        cursor = self.selection.cursor()
        for name, table in tables.items():
            cursor.register(name, table)
        return cursor.sql(sql)

    # --- questions -------------------------------------------------------------------------

    def directly_follows(self) -> duckdb.DuckDBPyRelation:
        """Return the directly-follows graph: which type comes next, how often and how soon.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``kind`` ('start', 'step' or 'end'), ``source``, ``target`` (NULL before the first
            event of a case, and behind its last), ``count``, ``cases`` (in how many cases),
            ``median_wait``, ``mean_wait``, ``p95_wait`` (INTERVAL, rounded to a microsecond;
            NULL but for steps).  By count from the highest, kind, source, target.
        """
        waits = ", ".join(
            f"{interval_sql(f'f.{name}')} AS {name}"
            for name in ("median_wait", "mean_wait", "p95_wait")
        )
        return self.answer(
            f"SELECT f.kind, f.source, f.target, f.count, f.cases, {waits} FROM follows AS f",  # noqa: S608
            follows=graph.edges(self.built()),
        )
