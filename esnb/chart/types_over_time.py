"""The events of a flow over time, by type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckdb import DuckDBPyRelation

from esnb.chart.counts import TOP, event_counts
from esnb.chart.over_time import events_over_time
from esnb.chart.relations import column, relation, zone_of
from esnb.flow.flow import Flow

if TYPE_CHECKING:
    import altair as alt

__all__ = ["type_counts", "types_over_time"]


def types_over_time(
    flow: Any, every: str = "auto", *, top: int = TOP, zone: str | None = None
) -> alt.Chart:
    """Draw how many events of a flow there were over time, by type, as stacked bars.

    `type_counts` returns what it draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow, or a table with the columns ``event_type`` and ``at`` of its ``events()``.
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
    table, clock, place = _asked(flow, zone)
    made: alt.Chart = events_over_time(table, every=every, clock=clock, top=top, zone=place)
    return made


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
        ``at``, ``event_type`` and ``count``, as of `esnb.chart.event_counts`.

    Raises
    ------
    QueryError, InstantError
        As `esnb.chart.event_counts`.
    """
    table, clock, place = _asked(flow, zone)
    return event_counts(table, every=every, clock=clock, top=top, zone=place)


def _asked(flow: Any, zone: str | None) -> tuple[DuckDBPyRelation, str, str]:
    """Return the events, their column of time under the name of the clock, and the zone."""
    if isinstance(flow, Flow):
        clock = f"{flow.selection.clock}_on"
        # Without the names of the cases, which `flow.events()` has for each event.
        table = flow.ask(
            "SELECT t.event_type, s.at AS moment FROM steps AS s JOIN types AS t USING (type_id)"
        ).project(f"event_type, moment AS {clock}")
        return table, clock, zone or flow.selection.zone
    table = relation(flow)
    for name in ("event_type", "at"):
        column(table, name)
    return table, "at", zone_of(flow, table, zone)
