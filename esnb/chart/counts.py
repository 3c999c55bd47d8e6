"""What the charts show, as tables: the headless twin of each chart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from duckdb import ConstantExpression, DuckDBPyRelation, Expression, FunctionExpression

from esnb import duck, instants
from esnb.chart.relations import column, relation, zone_of
from esnb.chart.steps import Step, fitting, step
from esnb.errors import InstantError, QueryError
from esnb.schema import INSTANT

__all__ = ["Shown", "count_events", "count_states", "event_counts", "public", "state_counts"]

# More names than this share colours, and nobody tells them apart.
TOP = 9


@dataclass(frozen=True)
class Shown:
    """A counted table and what has to be said about it.

    Attributes
    ----------
    rows
        Columns ``time`` (timestamp, UTC), ``wall`` (the same on the clocks of `zone`,
        without zone), ``key`` (text, null for none and for the rest), ``rest`` (bool:
        the names left out, together), ``count``; by ``time``, then largest name first.
    keys
        The names shown, largest first.
    left_out, left_out_count
        How many names are in the rest, and what they count together.
    step
        Length of one bin, or None where the instants were given.
    """

    rows: pa.Table
    by: str
    zone: str
    total: int
    keys: tuple[str | None, ...]
    left_out: int
    left_out_count: int
    step: Step | None = None
    thinned: int = 1


def event_counts(
    events: Any,
    by: str = "event_type",
    every: str = "auto",
    *,
    clock: str = "occurred_on",
    top: int = TOP,
    zone: str | None = None,
) -> DuckDBPyRelation:
    """Count events over time: the table that `events_over_time` draws.

    Parameters
    ----------
    events
        A log, a DuckDB relation, or a pandas, Polars or Arrow table of events.
    by
        Column that tells them apart.
    every
        Length of a bin: ``"1 day"``, ``"15 minutes"``; ``"auto"`` gives at most 120 bins.
        Days and longer follow the calendar of the zone.
    clock
        Column of the time: ``occurred_on`` or ``recorded_on``.
    top
        How many names to keep; the others are counted together as ``other``.
    zone
        IANA zone of the calendar; the log's own by default.

    Returns
    -------
    duckdb.DuckDBPyRelation
        ``time`` (start of the bin), the column `by` (text) and ``count``.  Bins without
        events have no row.

    Raises
    ------
    QueryError
        If a column is missing or `every` is unreadable.
    InstantError
        If there is no such zone.
    """
    return public(count_events(events, by, every, clock=clock, top=top, zone=zone))


def state_counts(
    counts: Any, by: str | None = None, *, top: int = TOP, zone: str | None = None
) -> DuckDBPyRelation:
    """Count aggregates by state over time: the table that `states_over_time` draws.

    Parameters
    ----------
    counts
        Table with ``time`` (instant), one column of names, and ``count``, as
        ``timeline.counts("status")`` returns it.
    by
        The column of names; not needed where there is only one.
    top, zone
        As for `event_counts`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        ``time``, the column `by` and ``count``, a row for every name at every instant.

    Raises
    ------
    QueryError
        If the table has other columns.
    """
    return public(count_states(counts, by, top=top, zone=zone))


def count_events(
    events: Any,
    by: str = "event_type",
    every: str = "auto",
    *,
    clock: str = "occurred_on",
    top: int = TOP,
    zone: str | None = None,
    most_rows: int | None = None,
    weight: str | None = None,
) -> Shown:
    """Do the work of `event_counts`; coarsen the bins if more than `most_rows` came out.

    A row stands for as many events as the column `weight` says, or for one.
    """
    table = relation(events)
    where = _known(zone_of(events, table, zone))
    base = table.select(
        column(table, clock).cast("TIMESTAMPTZ").alias("time"),
        column(table, by).cast("VARCHAR").alias("key"),
        (ConstantExpression(1) if weight is None else column(table, weight)).alias("number"),
    ).filter("time is not null")
    found = base.aggregate(
        'coalesce(sum("number"), 0), epoch(max(time)) - epoch(min(time))'
    ).fetchone()
    total, seconds = found if found is not None else (0, None)
    width = fitting(seconds or 0) if every == "auto" else step(every)
    counted = _binned(base, width, where)
    if most_rows is not None and counted.num_rows > most_rows:
        width = fitting(seconds)
        counted = _binned(base, width, where)
    return _top(counted, by, where, int(total), top, width)


def count_states(
    counts: Any,
    by: str | None = None,
    *,
    top: int = TOP,
    zone: str | None = None,
    most_instants: int | None = None,
) -> Shown:
    """Do the work of `state_counts`; thin the instants if there are more than asked for."""
    table = relation(counts)
    where = _known(zone_of(counts, table, zone))
    names = [name for name in table.columns if name not in ("time", "count")]
    if by is None:
        if len(names) != 1:
            raise QueryError(
                f"say by=, the column of the states; there are {', '.join(names) or 'none'}"
            )
        by = names[0]
    base = table.select(
        column(table, "time").cast("TIMESTAMPTZ").alias("time"),
        column(table, by).cast("VARCHAR").alias("key"),
        column(table, "count").cast("BIGINT").alias("number"),
    )
    wall = _wall(base, where)
    rows = wall.aggregate(
        'time, wall, "key", sum(number)::bigint as "count"', 'time, wall, "key"'
    ).to_arrow_table()
    thinned = 1
    if most_instants is not None:
        instants_there = pc.unique(rows["time"]).sort()
        thinned = -(-len(instants_there) // most_instants) or 1
        kept = instants_there.take(pa.array(range(0, len(instants_there), thinned), pa.int64()))
        rows = rows.filter(pc.is_in(rows["time"], value_set=kept))
    newest = rows.filter(pc.equal(rows["time"], pc.max(rows["time"]))) if rows.num_rows else rows
    total = pc.sum(newest["count"]).as_py() or 0
    return _top(rows, by, where, int(total), top, None, thinned, fill=True)


def _known(zone: str) -> str:
    try:
        instants.zone(zone)
    except InstantError:
        raise InstantError(zone, "no time zone has this name; say e.g. 'Europe/Berlin'") from None
    return zone


def _binned(base: DuckDBPyRelation, width: Step, zone: str) -> pa.Table:
    # Hours are cut in UTC: on the clocks of a place one of them comes twice a year.
    local = zone if width.civil else "UTC"
    bins = base.select(
        _timezone(
            local,
            FunctionExpression(
                "time_bucket", width.interval(), _timezone(local, column(base, "time"))
            ),
        ).alias("time"),
        column(base, "key"),
        column(base, "number"),
    )
    return (
        _wall(bins, zone)
        .aggregate('time, wall, "key", sum("number")::bigint as "count"', 'time, wall, "key"')
        .to_arrow_table()
    )


def _timezone(zone: str, value: Expression) -> Expression:
    return FunctionExpression("timezone", ConstantExpression(zone), value)


def _wall(table: DuckDBPyRelation, zone: str) -> DuckDBPyRelation:
    others = [column(table, name) for name in table.columns]
    return table.select(*others, _timezone(zone, column(table, "time")).alias("wall"))


def _top(
    counted: pa.Table,
    by: str,
    zone: str,
    total: int,
    top: int,
    width: Step | None,
    thinned: int = 1,
    fill: bool = False,
) -> Shown:
    """Keep the `top` largest names and add the others up; `fill` absent ones with zeros."""
    if top < 1:
        raise QueryError(f"top must be from 1, not {top}")
    sizes: Counter[str | None] = Counter()
    rows = counted.to_pylist()
    for row in rows:
        sizes[row["key"]] += row["count"]
    ranked = sorted(sizes, key=lambda key: (-sizes[key], key is None, key or ""))
    # One name left over takes no more room than the word "other".
    kept = ranked if len(ranked) <= top + 1 else ranked[:top]
    rank = {key: number for number, key in enumerate(kept)}
    rest = len(kept)
    cells: Counter[tuple[datetime, datetime, int]] = Counter()
    for row in rows:
        cells[row["time"], row["wall"], rank.get(row["key"], rest)] += row["count"]
    if fill:
        ranks = range(len(ranked) if rest == len(ranked) else rest + 1)
        for at, wall in {(row["time"], row["wall"]) for row in rows}:
            for number in ranks:
                cells[at, wall, number] += 0
    order = sorted(cells)
    keys = [None if number == rest else kept[number] for _, _, number in order]
    shown = pa.table(
        {
            "time": pa.array([at for at, _, _ in order], INSTANT),
            "wall": pa.array([wall for _, wall, _ in order], pa.timestamp("us")),
            "key": pa.array(keys, pa.string()),
            "rest": pa.array([number == rest for _, _, number in order], pa.bool_()),
            "count": pa.array([cells[cell] for cell in order], pa.int64()),
        }
    )
    return Shown(
        rows=shown,
        by=by,
        zone=zone,
        total=total,
        keys=tuple(kept),
        left_out=len(ranked) - len(kept),
        left_out_count=sum(sizes[key] for key in ranked[rest:]),
        step=width,
        thinned=thinned,
    )


def public(shown: Shown) -> DuckDBPyRelation:
    """Return the rows under the names that a user knows."""
    rest = other_label(shown.keys)
    connection = duck.connect()
    connection.execute("set TimeZone = ?", [shown.zone])
    named = pc.if_else(shown.rows["rest"], pa.scalar(rest), shown.rows["key"])
    table = pa.table([shown.rows["time"], named, shown.rows["count"]], ["time", shown.by, "count"])
    return connection.from_arrow(table)


def other_label(keys: tuple[str | None, ...]) -> str:
    """Return a name for the rest that no name in `keys` has."""
    label = "other"
    while label in keys:
        label += " names"
    return label
