"""Matches: where a pattern was found in the cases of a flow."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa

from esnb.errors import FlowError, shown
from esnb.flow import conditions, spans
from esnb.flow.grammar import fault
from esnb.flow.pattern import Occurrences, Pattern
from esnb.flow.steps import Bools, Steps, instants_of, interval_sql
from esnb.show import html_table

if TYPE_CHECKING:
    from esnb.flow.flow import Flow
    from esnb.timeline import Timeline

__all__ = ["Matches", "checked_state"]

_SHOWN = 10


class Matches:
    """Where a pattern was found: the cases, the matches in each, and the very events.

    Parameters
    ----------
    flow
        The cases.
    pattern
        Its text; see ``docs/patterns.md``.
    within
        How long after its first event all events of a match happen, as ``"2d"``.
    state
        Timeline that says what ``state`` is in a condition: the state after the event.

    Attributes
    ----------
    text
        The pattern.
    elements
        Its elements as they are written; element 1 of `events` is the first.

    Raises
    ------
    FlowError
        If the pattern is none, with a caret under the place.
    """

    def __init__(
        self,
        flow: Flow,
        pattern: str,
        *,
        within: str | timedelta | None = None,
        state: Timeline | None = None,
    ) -> None:
        read = Pattern.read(pattern)
        checked_state(state)
        longest = None if within is None else spans.micros(within)
        lengths = []
        for limit in read.automaton.limits:
            try:
                lengths.append(spans.micros(limit.length, "limit"))
            except FlowError as error:
                raise fault(pattern, limit.place, str(error)) from None
        steps = flow.built()
        conditions.check_types(flow.selection, steps, read.elements, pattern)
        held = conditions.held(flow.selection, steps, read.elements, pattern, state)
        self.text = pattern
        self.elements = tuple(element.text for element in read.elements)
        self._within = within
        self._flow = flow
        self._steps = steps
        self._found: Occurrences = read.find(steps, held, lengths, longest)

    @property
    def count(self) -> int:
        """How many matches there are."""
        return len(self._found)

    @property
    def cases(self) -> int:
        """In how many cases there is one."""
        return int(self._in.sum())

    @cached_property
    def _in(self) -> Bools:
        in_it = np.zeros(self._steps.cases, np.bool_)
        in_it[self._found.cases] = True
        return in_it

    @cached_property
    def _numbers(self) -> Any:
        """The number of each match in its case, from 1."""
        cases = self._found.cases
        new = np.diff(cases, prepend=-1) != 0
        first = np.maximum.accumulate(np.where(new, np.arange(len(cases)), 0))
        return (np.arange(len(cases)) - first + 1).astype(np.int32)

    def streams(self) -> duckdb.DuckDBPyRelation:
        """Return the cases with a match.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``matches`` (how many), ``first_at`` (first event of the first match),
            ``last_at`` (last event of the last one).  By case.
        """
        found, steps = self._found, self._steps
        new = np.flatnonzero(np.diff(found.cases, prepend=-1))
        last = np.append(new, len(found))[1:] - 1
        return self._flow.answer(
            "FROM matched",
            matched=pa.table(
                {
                    "case_id": steps.names.take(pa.array(found.cases[new])),
                    "matches": last - new + 1,
                    "first_at": instants_of(steps.at[found.firsts[new]]),
                    "last_at": instants_of(steps.at[found.ends[last] - 1]),
                }
            ),
        )

    def matches(self) -> duckdb.DuckDBPyRelation:
        """Return the matches.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``match`` (in the case, from 1), ``first_at``, ``last_at``, ``duration``
            (INTERVAL), ``events`` (how many, with those that ``...`` skipped),
            ``first_position``, ``last_position``.  By case and match.
        """
        found, steps = self._found, self._steps
        first, last = found.firsts, found.ends - 1
        return self._flow.answer(
            "SELECT m.case_id, m.match, m.first_at, m.last_at, "  # noqa: S608 (our own text)
            f"{interval_sql('m.micros')} AS duration, m.events, m.first_position, m.last_position"
            " FROM matched AS m",
            matched=pa.table(
                {
                    "case_id": steps.names.take(pa.array(found.cases)),
                    "match": self._numbers,
                    "first_at": instants_of(steps.at[first]),
                    "last_at": instants_of(steps.at[last]),
                    "micros": steps.at[last] - steps.at[first],
                    "events": found.ends - first,
                    "first_position": steps.positions[first],
                    "last_position": steps.positions[last],
                }
            ),
        )

    def events(self) -> duckdb.DuckDBPyRelation:
        """Return the events of all matches.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``case_id``, ``match`` (in the case, from 1), ``element`` (number of the element that
            the event is, see `elements`; NULL for an event that ``...`` skipped),
            ``event_type``, ``time`` (on the clock of the flow), ``position``, ``event_id`` (NULL
            in a flow of a table).  By case, match and place.
        """
        found, rows = self._found, self._found.rows
        each = found.ends - found.firsts
        table = evidence(self._steps, rows)
        table = table.append_column("match", pa.array(np.repeat(self._numbers, each)))
        element = pa.array(found.numbers, mask=found.numbers == 0)
        table = table.append_column("element", element)
        return with_ids(
            self._flow, table, "m.case_id, m.match, m.element, m.event_type, m.time, m.position"
        )

    def flow(self) -> Flow:
        """Return the flow of the cases with a match, whole."""
        return type(self._flow)(self._flow.selection, self._steps.only(self._in))

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        within = "" if self._within is None else f", within {self._within}"
        return (
            f"Matches({shown(self.text)}{within}: {self.count:,} in {self.cases:,} of "
            f"{self._steps.cases:,} cases)"
        )

    def _repr_html_(self) -> str:
        # As text, a time is one in the zone of the flow.
        rows = self.streams().limit(_SHOWN).project("COLUMNS(*)::VARCHAR").fetchall()
        more = f"; the first {_SHOWN}" if self.cases > _SHOWN else ""
        zone = self._flow.selection.zone
        title = f"{self!r}{more}; {self._flow.selection.clock} time, {zone}"
        return html_table(["case", "matches", "first at", "last at"], rows, caption=title)


def checked_state(state: object) -> None:
    """Refuse what is no timeline of what happened."""
    from esnb.timeline import Timeline
    from esnb.timeline.hypothetical import WhatIf

    if isinstance(state, WhatIf) or not (state is None or isinstance(state, Timeline)):
        raise FlowError(
            f"state={shown(state)}: give a timeline of this log, as log.timeline('order')"
        )


def evidence(steps: Steps, rows: Any) -> Any:
    """Return the events in some rows as a table: row, case_id, event_type, time, position."""
    types = pa.DictionaryArray.from_arrays(
        pa.array(steps.type_ids[rows]), pa.array(steps.types, pa.string())
    )
    cases = np.searchsorted(steps.firsts, rows, "right") - 1
    return pa.table(
        {
            "row": np.arange(len(rows)),
            "case_id": steps.names.take(pa.array(cases)),
            "event_type": types,
            "time": instants_of(steps.at[rows]),
            "position": steps.positions[rows],
        }
    )


def with_ids(flow: Flow, table: Any, columns: str, more: str = "") -> duckdb.DuckDBPyRelation:
    """Return columns of a table ``m`` of events, their ids, and more, in the order of its rows."""
    try:
        cursor = flow.selection.events_cursor()
    except FlowError:
        cursor = flow.selection.cursor()
        ids, joined = "NULL::VARCHAR", ""
    else:
        ids, joined = "e.event_id", " LEFT JOIN events AS e ON e.position = m.position"
    cursor.register("_esnb_found", table)
    return cursor.sql(
        f"SELECT {columns}, {ids} AS event_id{more} FROM _esnb_found AS m{joined} ORDER BY m.row"  # noqa: S608
    )
