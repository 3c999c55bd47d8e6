"""Flows in plain SQL over the events of a log: slower than `esnb.flow`, and the same numbers.

It is what a piece gives for `Piece.sql`, to be read, or run with ``log.sql``.
"""

from __future__ import annotations

from esnb.errors import QueryError
from esnb.flow import Flow
from esnb.flow.between import DIFFERENCE
from esnb.flow.selection import CHOSEN, LogSelection
from esnb.flow.steps import interval_sql
from esnb.sqltext import literal
from esnb.widget.base.session import Streams

__all__ = ["difference_sql", "edges_sql", "variants_sql"]

# More names are no text that anybody reads.
_MOST_NAMES = 20


def edges_sql(flow: Flow, streams: Streams | None) -> str:
    """Return the SELECT of all edges of a flow, as `Flow.directly_follows` has them.

    Parameters
    ----------
    flow
        A flow of a log that nothing was chosen in afterwards.
    streams
        The streams that narrow it.
    """
    waits = ", ".join(
        f"{interval_sql(f'e.{name}')} AS {name}"
        for name in ("median_wait", "mean_wait", "p95_wait")
    )
    return (
        f"WITH {_steps(flow, streams, '')},\n{_edges('')}\n"
        f"SELECT e.kind, e.source, e.target, e.count, e.cases, {waits}\nFROM edges AS e\n"
        "ORDER BY e.count DESC, e.kind, e.source, e.target"
    )


def difference_sql(a: Flow, b: Flow, streams: Streams | None) -> str:
    """Return the SELECT of the edges of two flows, as `Flow.between` has them."""
    parts = [
        part
        for flow, side in ((a, "_a"), (b, "_b"))
        for part in (_steps(flow, streams if side == "_a" else None, side), _edges(side))
    ]
    sides = ", ".join(f"{side} AS (FROM edges_{side})" for side in "ab")
    return "WITH " + ",\n".join([*parts, sides, DIFFERENCE.removeprefix("WITH ")])


def variants_sql(flow: Flow, streams: Streams | None, sort: str, limit: int) -> str:
    """Return the SELECT of the first variants, sorted by ``sort``: ``"cases DESC"``."""
    lengths = ", ".join(
        f"{interval_sql(f'floor({value} + 0.5)::BIGINT')} AS {name}_duration"
        for name, value in (
            ("median", "median(c.ended - c.started)"),
            ("mean", "avg(c.ended - c.started)"),
            ("p95", "quantile_cont(c.ended - c.started, 0.95)"),
        )
    )
    order = _order(flow)
    return (
        f"WITH {_chosen(streams)}cases AS (\n"  # noqa: S608 (our own text)
        f"    SELECT s.case_id, list(s.event_type ORDER BY {order}) AS variant,\n"
        f"        first(s.time ORDER BY {order}) AS started,\n"
        f"        last(s.time ORDER BY {order}) AS ended\n"
        f"    FROM ({_selected(flow)}) AS s GROUP BY s.case_id\n)\n"
        "SELECT c.variant, len(c.variant) AS length, count(*) AS cases,"
        " count(*) / sum(count(*)) OVER () AS share,\n"
        f"    {lengths},\n"
        "    make_timestamptz(min(c.started)) AS first_seen,"
        " make_timestamptz(max(c.ended)) AS last_seen\n"
        f"FROM cases AS c GROUP BY c.variant\nORDER BY {sort}, cases DESC, variant\nLIMIT {limit}"
    )


def _selected(flow: Flow) -> str:
    if not isinstance(flow.selection, LogSelection):
        raise QueryError("only flows of a log are to be had in SQL")
    return flow.selection.sql


def _chosen(streams: Streams | None) -> str:
    if streams is None:
        return ""
    if len(streams) > _MOST_NAMES:
        # What is asked for cannot be written down here: it is in the session.
        return f"/* {CHOSEN}: the {len(streams):,} streams of session.streams.table */\n"
    names = ", ".join(f"({literal(name)})" for name in streams.table["stream"].to_pylist())
    return (
        f"{CHOSEN}(stream) AS (VALUES {names}),\n"
        if names
        else (f"{CHOSEN} AS (SELECT '' AS stream WHERE false),\n")
    )


def _order(flow: Flow) -> str:
    return "s.position" if flow.selection.clock == "recorded" else "s.time, s.position"


def _steps(flow: Flow, streams: Streams | None, side: str) -> str:
    return (
        f"{_chosen(streams)}steps{side} AS (\n"  # noqa: S608 (our own text)
        "    SELECT s.case_id, s.event_type AS source, lead(s.event_type) OVER o AS target,\n"
        "        lead(s.time) OVER o - s.time AS wait, row_number() OVER o AS place\n"
        f"    FROM ({_selected(flow)}) AS s\n"
        f"    WINDOW o AS (PARTITION BY s.case_id ORDER BY {_order(flow)})\n)"
    )


def _edges(side: str) -> str:
    waits = (
        "floor(median(s.wait) + 0.5)::BIGINT AS median_wait, "
        "floor(avg(s.wait) + 0.5)::BIGINT AS mean_wait, "
        "floor(quantile_cont(s.wait, 0.95) + 0.5)::BIGINT AS p95_wait"
    )
    return (
        f"edges{side} AS (\n"  # noqa: S608 (our own text)
        "    SELECT 'step' AS kind, s.source, s.target, count(*) AS count,"
        f" count(DISTINCT s.case_id) AS cases,\n        {waits}\n"
        f"    FROM steps{side} AS s WHERE s.target IS NOT NULL GROUP BY s.source, s.target\n"
        "    UNION ALL\n"
        "    SELECT 'start', NULL, s.source, count(*), count(*), NULL, NULL, NULL\n"
        f"    FROM steps{side} AS s WHERE s.place = 1 GROUP BY s.source\n"
        "    UNION ALL\n"
        "    SELECT 'end', s.source, NULL, count(*), count(*), NULL, NULL, NULL\n"
        f"    FROM steps{side} AS s WHERE s.target IS NULL GROUP BY s.source\n)"
    )
