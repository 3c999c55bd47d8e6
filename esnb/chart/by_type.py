"""The events of a flow over time, by type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyRelation

from esnb.chart.counts import TOP, Shown, count_events, public
from esnb.chart.over_time import MOST_MARKS, draw_events
from esnb.chart.steps import step
from esnb.flow.flow import Flow
from esnb.flow.steps import Ints, instants_of

if TYPE_CHECKING:
    import altair as alt

__all__ = ["type_counts", "types_over_time"]

_QUARTER = 900_000_000
# Fewer events are counted as they are.
_MANY = 100_000
# Since 1973 every zone differs from UTC by whole quarters of an hour.
_WHOLE_OFFSETS = 94_694_400_000_000
# Of two days and more no bin is shorter than a quarter of an hour.
_LONG = 2 * 86_400_000_000


def types_over_time(
    flow: Any, every: str = "auto", *, top: int = TOP, zone: str | None = None
) -> alt.Chart:
    """Draw how many events of a flow there were over time, by type, as stacked bars.

    `type_counts` returns what it draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow, or a table with the columns ``event_type`` and ``time`` of its ``events()``.
    every, top, zone
        As for `esnb.chart.events_over_time`; times are those of the flow's clock, in its zone.

    Returns
    -------
    altair.Chart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError, InstantError
        As `esnb.chart.event_counts`.
    """
    shown, clock = _counted(flow, every, top, zone, most_rows=MOST_MARKS)
    return draw_events(shown, every, clock)


def type_counts(
    flow: Any, every: str = "auto", *, top: int = TOP, zone: str | None = None
) -> DuckDBPyRelation:
    """Count the events of a flow over time: the table that `types_over_time` draws.

    Parameters
    ----------
    flow, every, top, zone
        See `types_over_time`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        ``time``, ``event_type`` and ``count``, as of `esnb.chart.event_counts`.

    Raises
    ------
    QueryError, InstantError
        As `esnb.chart.event_counts`.
    """
    return public(_counted(flow, every, top, zone)[0])


def _counted(
    flow: Any, every: str, top: int, zone: str | None, most_rows: int | None = None
) -> tuple[Shown, str]:
    """Return the counts, and the clock: empty for a table, which does not say."""
    if not isinstance(flow, Flow):
        counted = count_events(
            flow, every=every, clock="time", top=top, zone=zone, most_rows=most_rows
        )
        return counted, ""
    steps = flow.built()
    at, number = steps.at, steps.type_ids.astype(np.int64)
    weight = np.ones(len(steps), np.int64)
    if _quarters_do(at, every):
        # Millions of events are fewer quarters of an hour.
        first = int(at.min()) // _QUARTER
        quarter = at // _QUARTER - first
        kinds = len(steps.types)
        code = quarter * kinds + number
        found, weight = _tallied(code, int(quarter.max() + 1) * kinds)
        quarter, number = np.divmod(found, kinds)
        at = (quarter + first) * _QUARTER
    clock = f"{flow.selection.clock}_on"
    table = pa.table(
        {
            "event_type": pa.array(steps.types, pa.string()).take(pa.array(number)),
            clock: instants_of(at),
            "events": weight,
        }
    )
    counted = count_events(
        table, every=every, clock=clock, top=top, zone=zone or flow.selection.zone,
        most_rows=most_rows, weight="events",
    )  # fmt: skip
    return counted, clock


def _quarters_do(at: Ints, every: str) -> bool:
    """Return whether each bin begins and ends with a quarter of an hour, in any zone."""
    if len(at) < _MANY or int(at.min()) < _WHOLE_OFFSETS or int(at.max() - at.min()) < _LONG:
        return False
    return every == "auto" or step(every).seconds % 900 == 0


def _tallied(codes: Ints, size: int) -> tuple[Ints, Ints]:
    """Return the different codes from 0 to `size`, and how often each occurs."""
    if size > 4 * len(codes) + 1_000_000:
        found, counts = np.unique(codes, return_counts=True)
        return found, counts.astype(np.int64)
    counted = np.bincount(codes, minlength=size)
    found = np.flatnonzero(counted)
    return found, counted[found].astype(np.int64)
