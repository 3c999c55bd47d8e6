"""Two sides of a flow beside each other: what goes more often, less often, faster, slower."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from esnb import instants
from esnb.errors import FlowError, shown
from esnb.flow.selection import Selection
from esnb.flow.steps import Bools, Ints, Steps, interval_sql

__all__ = ["DIFFERENCE", "of_rows", "part"]

_WAITS = ", ".join(
    f"{interval_sql(micros)} AS {name}"
    for micros, name in (
        ("j.wait_a", "median_wait_a"),
        ("j.wait_b", "median_wait_b"),
        ("(j.wait_b - j.wait_a)", "wait_change"),
    )
)
# Over the edges of both sides, ``a`` and ``b``, as `esnb.flow.graph.edges` gives them.
DIFFERENCE = f"""
WITH edges AS (
    SELECT e.kind, e.source, e.target, e.count AS count_a, 0 AS count_b,
        e.median_wait AS wait_a, NULL AS wait_b FROM a AS e
    UNION ALL
    SELECT e.kind, e.source, e.target, 0, e.count, NULL, e.median_wait FROM b AS e
), joined AS (
    SELECT e.kind, e.source, e.target,
        sum(e.count_a)::BIGINT AS count_a, sum(e.count_b)::BIGINT AS count_b,
        max(e.wait_a) AS wait_a, max(e.wait_b) AS wait_b
    FROM edges AS e GROUP BY ALL
), shared AS (
    SELECT i.*, i.count_a / greatest(sum(i.count_a) OVER k, 1) AS share_a,
        i.count_b / greatest(sum(i.count_b) OVER k, 1) AS share_b
    FROM joined AS i WINDOW k AS (PARTITION BY i.kind)
)
SELECT j.kind, j.source, j.target, j.count_a, j.count_b, j.share_a, j.share_b,
    j.count_b - j.count_a AS change, 100 * (j.share_b - j.share_a) AS points, {_WAITS}
FROM shared AS j
ORDER BY abs(points) DESC, abs(change) DESC, j.kind, j.source NULLS FIRST, j.target NULLS LAST
""".strip()  # noqa: S608 (our own text)


def part(selection: Selection, steps: Steps, given: object) -> Steps:
    """Return one side of a comparison: the steps of a window, or those that filters ask for.

    Parameters
    ----------
    given
        A pair of instants, from the one on and before the other, on the clock of the flow;
        either may be None.  Or a mapping of ``window`` (such a pair), ``where`` (an SQL
        condition on the columns of an event) and filters as of `esnb.query.select.Filters`, all
        of which must hold, and what the flow itself asks for, too.

    Raises
    ------
    FlowError
        If it is neither.
    InstantError
        If a time is unreadable, or has no zone where none is declared.
    QueryError
        If there is no such filter, or the condition does not pass the gate.
    """
    if isinstance(given, Mapping):
        asked = dict(given)
        window, where = asked.pop("window", None), asked.pop("where", None)
        rows = np.ones(len(steps), np.bool_)
        if where is not None or asked:
            rows = _found(selection.matching(where, asked), steps.positions)
        if window is not None:
            rows &= _inside(selection, steps, window)
        return of_rows(steps, rows)
    return of_rows(steps, _inside(selection, steps, given))


def of_rows(steps: Steps, rows: Bools) -> Steps:
    """Return the steps of some events, `rows`; a case that has none of them is left out."""
    if not len(steps):
        return steps
    lengths = np.add.reduceat(rows, steps.firsts[:-1], dtype=np.int64)
    chosen = lengths > 0
    firsts = np.zeros(int(chosen.sum()) + 1, np.int64)
    np.cumsum(lengths[chosen], out=firsts[1:])
    return Steps(
        steps.types,
        steps.type_ids[rows],
        steps.at[rows],
        steps.positions[rows],
        firsts,
        steps.names.filter(chosen),
    )


def _found(wanted: Ints, positions: Ints) -> Bools:
    there = np.zeros(int(max(wanted.max(initial=-1), positions.max(initial=-1))) + 1, np.bool_)
    there[wanted] = True
    return there[positions]


def _inside(selection: Selection, steps: Steps, window: object) -> Bools:
    if not isinstance(window, tuple | list) or len(window) != 2:
        raise FlowError(
            f"{shown(window)} is no side of a comparison; say a pair of instants, (from, to), "
            "another flow, or filters as {'actor': 'm.weber'}"
        )
    first, last = (
        None if end is None else instants.micros(instants.instant(end, declared=selection.declared))
        for end in window
    )
    if first is not None and last is not None and first > last:
        raise FlowError(f"the window {shown(window)} ends before it begins; swap its ends")
    rows = np.ones(len(steps), np.bool_)
    if first is not None:
        rows &= steps.at >= first
    if last is not None:
        rows &= steps.at < last
    return rows
