"""Flow: how cases went, and the questions asked of that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Unpack

import duckdb
import numpy as np

from esnb import progress
from esnb.errors import FlowError, shown
from esnb.flow import cases, graph
from esnb.flow.checked import Checked, Open
from esnb.flow.coverage import Coverage, covered
from esnb.flow.matches import Matches
from esnb.flow.selection import Selection
from esnb.flow.steps import Bools, Steps, interval_sql, ordered
from esnb.flow.variants import Variants
from esnb.flow.ways import Ways
from esnb.show import UNTYPESET, html_table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    import pandas as pd

    from esnb.flow.rules import Rule
    from esnb.timeline import Timeline

__all__ = ["Covered", "Flow"]

_SHOWN = 12


class Flow(Ways):
    """How the cases of a selection went: which event came after which, and after how long.

    Nothing is read before the first question, which puts all events in order; the others are
    answered from there.  A flow stands for the log as it was when the flow was made.

    Parameters
    ----------
    selection
        The events; see `esnb.eventlog.EventLog.flow`.
    steps
        What has been read of them.
    whole
        Whether that is all of the selection, and not some of its cases.
    """

    def __init__(
        self, selection: Selection, steps: Steps | None = None, *, whole: bool = False
    ) -> None:
        self.selection = selection
        self._steps = steps
        part = "" if steps is None or whole else ", some of the cases"
        self._described = selection.described + part
        self._found: dict[str, Any] = {}
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

    def activities(self) -> duckdb.DuckDBPyRelation:
        """Return the event types and how often each occurs.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``event_type``, ``count``, ``cases`` (in how many), ``starts``, ``ends`` (how many
            cases begin and end with it), ``first_seen``, ``last_seen`` (on the clock of the
            flow).  By count from the highest, then by name.
        """
        return self.answer("FROM activities", activities=cases.activities(self.built()))

    def directly_follows(
        self, coverage: float | None = None, *, most: int | None = None
    ) -> duckdb.DuckDBPyRelation | Covered:
        """Return the directly-follows graph: which type comes next, how often and how soon.

        Parameters
        ----------
        coverage
            Part of all transitions to be shown, 0 to 1: only the edges taken most often that
            reach it, with the widest way from the start to each type and from it to the end, so
            that nothing is cut off.  What is left out is said in ``attrs``.
        most
            No more edges than these, with a coverage.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``kind`` ('start', 'step' or 'end'), ``source``, ``target`` (NULL before the first
            event of a case, and behind its last), ``count``, ``cases`` (in how many cases),
            ``median_wait``, ``mean_wait``, ``p95_wait`` (INTERVAL, rounded to a microsecond;
            NULL but for steps).  By count from the highest, kind, source, target.
            With a coverage it has ``attrs`` too, and `df` gives them on: ``coverage`` (a
            text), ``edges``, ``of_edges``, ``transitions``, ``of_transitions``, ``share``.

        Raises
        ------
        FlowError
            If the coverage is no number from 0 to 1.
        """
        found = self._kept("edges", graph.edges)
        kept = None
        if coverage is not None or most is not None:
            found, kept = covered(found, 1.0 if coverage is None else coverage, most)
        relation = self.answer(
            "SELECT f.kind, f.source, f.target, f.count, f.cases, "  # noqa: S608 (our own text)
            f"{_intervals('f', 'median_wait', 'mean_wait', 'p95_wait')} FROM follows AS f",
            follows=found,
        )
        return relation if kept is None else Covered(relation, kept)

    def variants(self, limit: int | None = None) -> duckdb.DuckDBPyRelation:
        """Return the ways that cases went, with how many went each.

        Parameters
        ----------
        limit
            Only the first so many.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``variant`` (VARCHAR[], the types in order), ``length``, ``cases``, ``share`` (of
            all cases, 0 to 1), ``median_duration``, ``mean_duration``, ``p95_duration``
            (INTERVAL), ``first_seen`` (first event of any such case), ``last_seen`` (last
            event of any), ``examples`` (the first three cases by name), ``variant_id`` (the
            first 16 digits of the SHA-256 of the types as JSON).  By cases from the most, then
            by variant.

        Raises
        ------
        FlowError
            If the limit is no whole number from 0 on.
        """
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int) or limit < 0
        ):
            raise FlowError(f"limit={shown(limit)}: say how many variants, or nothing for all")
        return self.answer(
            "SELECT v.variant, v.length, v.cases, v.share, "  # noqa: S608 (our own text)
            f"{_intervals('v', 'median_duration', 'mean_duration', 'p95_duration')}, "
            "v.first_seen, v.last_seen, v.examples, v.variant_id FROM variants AS v",
            variants=self._variants().table(limit),
        )

    @property
    def variant_count(self) -> int:
        """How many variants there are."""
        return len(self._variants())

    def durations(self) -> duckdb.DuckDBPyRelation:
        """Return the cases: when each began and ended.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``started``, ``ended``, ``duration`` (INTERVAL from the first event to
            the last), ``events``, ``first_type``, ``last_type``.  By case.
        """
        return self.answer(
            "SELECT d.case_id, d.started, d.ended, "  # noqa: S608 (our own text)
            f"{_intervals('d', 'duration')}, d.events, d.first_type, d.last_type"
            " FROM durations AS d",
            durations=cases.durations(self.built()),
        )

    def events(self) -> duckdb.DuckDBPyRelation:
        """Return the events of the selection, by case and in order.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``place`` (in the case, from 0), ``event_type``, ``time`` (on the clock of
            the flow), ``position`` (in the log, or number of the row in a table).
        """
        return self.answer("FROM selected", selected=cases.events(self.built()))

    # --- patterns and rules ----------------------------------------------------------------

    def match(
        self,
        pattern: str,
        *,
        within: str | timedelta | None = None,
        state: Timeline | None = None,
    ) -> Matches:
        """Return where a pattern is found: a regular expression whose letters are events.

        Parameters
        ----------
        pattern
            ``"OrderPlaced (PaymentFailed){3,} OrderConfirmed"``; ``docs/patterns.md`` has the
            whole grammar.
        within
            How long after the first event of a match its last one may happen, as ``"2d"``.
        state
            Timeline of this log, for conditions on the state after an event:
            ``"OrderShipped[state.paid < state.total]"``.

        Raises
        ------
        FlowError
            If the pattern is none, names an unknown event type, or has a condition that is
            none; with a caret under the place.
        """
        return Matches(self, pattern, within=within, state=state)

    def check(
        self,
        rules: Rule | str | Iterable[Rule | str],
        *,
        state: Timeline | None = None,
        open: Open = "broken",
        until: object = None,
    ) -> Checked:
        """Check rules in all cases: which held, which were broken, and by which events.

        Parameters
        ----------
        rules
            One or several, of `esnb.flow.rules` (``response("OrderPlaced", "OrderShipped",
            within="7d")``), or sentences (``"OrderShipped never before OrderPaid"``).
        state
            Timeline of this log, for conditions on the state after an event.
        open
            An event whose limit in time is not over at the end of what is known waits in vain
            (``"broken"``), or is left out of account (``"not_applicable"``).
        until
            That end, an instant; the last event of the flow without it.

        Raises
        ------
        FlowError
            If a rule is none, or names an unknown event type.
        """
        return Checked(self, rules, state=state, open=open, until=until)

    # --- the cases behind a number ---------------------------------------------------------

    def streams(self, **conditions: Unpack[cases.Conditions]) -> duckdb.DuckDBPyRelation:
        """Return the cases behind a number: those for which all that is said holds.

        Parameters
        ----------
        edge
            ``("OrderPlaced", "OrderShipped")``: the second comes directly after the first, once
            at least.  ``(None, type)``: begins with it; ``(type, None)``: ends with it.
        without_edge
            Such a pair: they do not go there.
        variant
            Went exactly this way: the types in order, or a ``variant_id``.
        with_, without
            Has all of these types; has none of them.  A type or a list.
        starting, ending
            The first, the last event is of this type, or of one of these.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``started``, ``ended``, ``events``.  By case.

        Raises
        ------
        FlowError
            If a type or variant is not there; it names near ones.
        """
        return self.answer(
            "FROM listed", listed=cases.listed(self.built(), self._which(conditions))
        )

    def only(self, **conditions: Unpack[cases.Conditions]) -> Flow:
        """Return the flow of some of the cases, whole; see `streams` for the conditions."""
        return self._narrowed(self._which(conditions))

    def _which(self, conditions: cases.Conditions) -> Bools:
        return cases.chosen(self.built(), self._variants, **conditions)

    def _narrowed(self, which: Bools) -> Flow:
        return Flow(self.selection, self.built().only(which))

    def _variants(self) -> Variants:
        found: Variants = self._kept("variants", Variants)
        return found

    def _kept(self, name: str, work: Callable[[Steps], Any]) -> Any:
        """Return what was found before, or find it."""
        steps = self.built()
        with self._lock:
            if name not in self._found:
                self._found[name] = work(steps)
            return self._found[name]

    # --- what it is ------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.built())

    def __repr__(self) -> str:
        built = "" if self._steps is None else f", {_counted(self._steps)}"
        return f"Flow({self._described}{built})"

    def _repr_html_(self) -> str:
        steps = self.built()
        found = cases.activities(steps).select(["event_type", "count", "cases", "starts", "ends"])
        rows = found.slice(0, _SHOWN).to_pylist()
        left_out = f" ({_SHOWN} of {found.num_rows:,} types)" if found.num_rows > _SHOWN else ""
        return (
            f"<p {UNTYPESET}><b>Flow</b> {escape(self._described)}<br>"
            f"{_counted(steps)}{left_out}</p>"
            + html_table(
                ["event type", "events", "cases", "starts", "ends"],
                [list(row.values()) for row in rows],
            )
        )


class Covered:
    """A part of a graph, as a DuckDB relation that says in ``attrs`` what part it is.

    Whatever a relation does (``df``, ``filter``, ``fetchall``, ...) it does too.
    """

    def __init__(self, relation: duckdb.DuckDBPyRelation, shown: Coverage) -> None:
        self.relation = relation
        self.attrs: dict[str, Any] = {"coverage": str(shown), **shown._asdict()}

    def df(self) -> pd.DataFrame:
        """Return it as a pandas DataFrame with the same ``attrs``."""
        found = self.relation.df()
        found.attrs.update(self.attrs)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.relation, name)

    def __len__(self) -> int:
        return len(self.relation)

    def __repr__(self) -> str:
        return f"{self.relation!r}{self.attrs['coverage']}"


def _counted(steps: Steps) -> str:
    there = int(np.count_nonzero(np.bincount(steps.type_ids)))
    counts = {"event": len(steps), "case": steps.cases, "event type": there}
    return ", ".join(f"{n:,} {what}{'' if n == 1 else 's'}" for what, n in counts.items())


def _intervals(row: str, *names: str) -> str:
    return ", ".join(f"{interval_sql(f'{row}.{name}')} AS {name}" for name in names)
