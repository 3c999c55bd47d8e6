"""How many aggregates there were of each kind, at every tick of a clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from esnb import instants
from esnb.errors import TimelineError, shown
from esnb.query.names import quote
from esnb.timeline.build import one_row
from esnb.timeline.moment import Moment, instant_sql
from esnb.timeline.table import Table

__all__ = ["Ticks", "counts_sql", "population_sql", "ticks", "whole_hour"]

_MAX_TICKS = 100_000
_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Ticks:
    """`number` instants from `start`, `every` months, days and microseconds apart.

    All of them are whole `hours`, or some may not be.
    """

    start: str
    every: str
    number: int
    hours: bool = False


def ticks(
    cursor: duckdb.DuckDBPyConnection,
    table: Table,
    every: str | timedelta,
    start: datetime | None,
    end: datetime | None,
) -> Ticks:
    """Return the ticks of a question, calendar steps taken in the zone of `cursor`.

    Without a `start`, the first tick is the begin of the hour, day, week, month or
    year (by the size of `every`) of the first event; without an `end`, the last
    one is the first at or after the last event.

    Raises
    ------
    TimelineError
        If `every` is no positive duration, `start` lies after `end`, or there are
        more than 100,000 ticks.
    """
    months, days, micros, every_sql = _duration(cursor, every)
    first, last = (None, None) if start is None else (instant_sql(start),) * 2
    if start is None or end is None:
        known = table.state.known
        if known is not None:
            least, greatest = (instant_sql(instants.from_micros(at)) for at in known)
            unit = _unit(months, days, micros)
            first = first or f"date_trunc('{unit}', {least})"
            last = greatest
    if end is not None:
        last = instant_sql(end)
        first = first or last
    if first is None or last is None:
        return Ticks("TIMESTAMPTZ '1970-01-01 00:00:00Z'", every_sql, 0)
    if start is not None and end is not None and start > end:
        raise TimelineError("start lies after end; swap them")
    # A month has at least 28 days; a day of 22 hours leaves room for any change of clocks.
    shortest = ((months * 28) + days) * 22 * 3_600_000_000 + micros
    number = _number(cursor, first, last, every_sql, shortest, through=end is None)
    (odd,) = one_row(
        cursor,
        f"SELECT count(*) FROM (SELECT {first} + range * {every_sql} AS time FROM range({number}))"  # noqa: S608
        f" AS t WHERE epoch_us(t.time) % {_HOUR} <> 0",
    )
    return Ticks(first, every_sql, number, hours=odd == 0)


def counts_sql(table: Table, by: str, given: Ticks, cube: str | None = None) -> str:
    """Return the SELECT of ``time, <by>, count``: every value at every tick, zeros too.

    The population follows from signed changes: a state counts from its begin and
    no longer from its end; one of no length counts never.  Where all ticks are whole hours
    they are taken from a `cube` (`esnb.timeline.cube`).
    """
    name = quote(by)
    shown_as = quote(f"{by}_2") if by.casefold() in {"time", "count"} else name
    ticks = f"""
WITH ticks AS (
    SELECT {given.start} + range * {given.every} AS time FROM range({given.number})
)""".strip()  # noqa: S608 (our own text)
    if cube is not None:
        return f"""
{ticks}, kinds AS (
    SELECT row_number() OVER (ORDER BY k.kind NULLS LAST) AS id, k.kind
    FROM (SELECT c.kind FROM {cube} AS c GROUP BY c.kind HAVING sum(c.stood) > 0) AS k
), change AS (
    SELECT t.time, c.kind, sum(c.delta) AS step
    FROM (SELECT make_timestamptz(c.hour * {_HOUR}) AS time, c.kind, c.delta FROM {cube} AS c) AS c
    ASOF JOIN ticks AS t ON t.time >= c.time
    GROUP BY t.time, c.kind
)
SELECT t.time, k.kind AS {shown_as},
    CAST(coalesce(sum(c.step) OVER (PARTITION BY k.id ORDER BY t.time), 0) AS BIGINT) AS count
FROM ticks AS t CROSS JOIN kinds AS k
LEFT JOIN change AS c ON c.time = t.time AND c.kind IS NOT DISTINCT FROM k.kind
ORDER BY t.time, k.id
""".strip()  # noqa: S608 (identifiers quoted, constants made by us)
    return f"""
{ticks}, stood AS (
    SELECT t.{name} AS kind, t.system_from, t.system_to FROM {table.source} AS t
    WHERE NOT t.ended AND (t.system_to IS NULL OR t.system_to > t.system_from)
), kinds AS (
    SELECT row_number() OVER (ORDER BY k.kind NULLS LAST) AS id, k.kind
    FROM (SELECT DISTINCT s.kind FROM stood AS s) AS k
), change AS (
    SELECT s.kind, s.system_from AS time, 1 AS step FROM stood AS s
    UNION ALL
    SELECT s.kind, s.system_to AS time, -1 AS step FROM stood AS s WHERE s.system_to IS NOT NULL
), level AS (
    SELECT k.id, c.time,
        sum(sum(c.step)) OVER (PARTITION BY k.id ORDER BY c.time) AS count
    FROM change AS c JOIN kinds AS k ON k.kind IS NOT DISTINCT FROM c.kind
    GROUP BY k.id, c.time
), grid AS (
    SELECT t.time, k.id, k.kind FROM ticks AS t CROSS JOIN kinds AS k
)
SELECT g.time, g.kind AS {shown_as}, CAST(coalesce(l.count, 0) AS BIGINT) AS count
FROM grid AS g ASOF LEFT JOIN level AS l ON l.id = g.id AND g.time >= l.time
ORDER BY g.time, g.id
""".strip()  # noqa: S608 (identifiers quoted, constants made by us)


def population_sql(table: Table, by: str, at: Moment, cube: str | None = None) -> str:
    """Return the SELECT of ``<by>, count``: how many aggregates of each kind stood at a moment."""
    name = quote(by)
    count = quote("count_2" if by.casefold() == "count" else "count")
    if cube is None:
        return f"""
SELECT t.{name}, count(*) AS {count} FROM {table.standing(at)} AS t WHERE NOT t.ended
GROUP BY t.{name} ORDER BY {count} DESC, t.{name} NULLS LAST
""".strip()  # noqa: S608 (identifiers quoted)
    return f"""
SELECT c.kind AS {name}, CAST(sum(c.delta) AS BIGINT) AS {count} FROM {cube} AS c
WHERE c.hour <= {at.order // _HOUR}
GROUP BY c.kind HAVING sum(c.delta) > 0 ORDER BY 2 DESC, 1 NULLS LAST
""".strip()  # noqa: S608 (identifiers quoted)


def whole_hour(at: Moment) -> bool:
    """Tell whether a moment is a whole hour of the clock."""
    return at.clock == "instant" and at.order % _HOUR == 0


def _duration(
    cursor: duckdb.DuckDBPyConnection, every: str | timedelta
) -> tuple[int, int, int, str]:
    """Return the months, days and microseconds of `every`, and SQL of it."""
    try:
        row = cursor.execute(
            "SELECT datepart('year', i) * 12 + datepart('month', i), datepart('day', i),"
            " datepart('hour', i) * 3600000000 + datepart('minute', i) * 60000000"
            " + datepart('microsecond', i) FROM (SELECT CAST($1 AS INTERVAL) AS i)",
            [every],
        ).fetchone()
    except duckdb.Error:
        row = None
    if row is None or row[0] is None:
        raise TimelineError(
            f"every={shown(every)} is not a duration; say e.g. '1 day' or '6 hours'"
        )
    months, days, micros = map(int, row)
    if min(months, days, micros) < 0 or max(months, days, micros) == 0:
        raise TimelineError(f"every={shown(every)} must be longer than nothing; say e.g. '1 day'")
    sql = f"(to_months({months}) + to_days({days}) + to_microseconds({micros}))"
    return months, days, micros, sql


def _unit(months: int, days: int, micros: int) -> str:
    if months:
        return "month" if months % 12 else "year"
    if days:
        return "day" if days % 7 else "week"
    for unit, length in (("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000)):
        if micros >= length:
            return unit
    return "microseconds"


def _number(
    cursor: duckdb.DuckDBPyConnection,
    first: str,
    last: str,
    every: str,
    shortest: int,
    *,
    through: bool,
) -> int:
    """Return how many ticks there are up to `last`, and one more to go `through` it."""
    (span,) = one_row(cursor, f"SELECT epoch_us({last}) - epoch_us({first})")
    enough = min(max(0, span // shortest) + 1, _MAX_TICKS + 1)
    # `first + i * every` grows with i, so the count of those up to `last` is their number.
    number, exact = one_row(
        cursor,
        f"SELECT count(*) FILTER (t.time <= {last}), count(*) FILTER (t.time = {last})"  # noqa: S608
        f" FROM (SELECT {first} + range * {every} AS time FROM range({enough})) AS t",
    )
    if number > _MAX_TICKS:
        raise TimelineError(
            f"that makes more than {_MAX_TICKS:,} ticks; say a longer `every`, or start and end"
        )
    return int(number) + (1 if through and not exact else 0)
