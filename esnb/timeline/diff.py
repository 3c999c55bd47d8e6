"""What changed between two moments, and which event did it."""

from __future__ import annotations

import duckdb

from esnb.timeline import ages
from esnb.timeline.build import one_row
from esnb.timeline.fold import Fold, column
from esnb.timeline.moment import Moment
from esnb.timeline.parts import restored
from esnb.timeline.table import Table, left, reached, since
from esnb.timeline.text import literal, shown_sql

__all__ = ["READ", "by_age_sql", "counts_sql", "diff_sql", "searched_sql", "to_be_read"]

# The changes that as many events made are for people to read, and sorted.  To sort more of them
# would take a third of the time of the whole answer, and whoever wants to can.
READ = 100_000
# Of the rows ``w`` and ``n`` of one aggregate, before and after.
_CHANGE = (
    "CASE WHEN coalesce(w.ended, true) THEN 'added' WHEN n.ended THEN 'removed' ELSE 'changed' END"
)


def diff_sql(table: Table, a: Moment, b: Moment, *, sort: bool = True) -> str:
    """Return the SELECT of the changes in (`a`, `b`].

    One row per stream and field whose value differs; a stream that came or went without any field
    has one row whose ``field`` is NULL.  The causing event is the last one in (a, b] since which
    the field has its final value, for a removed stream the one that ended it.

    Parameters
    ----------
    sort
        By stream, and in the order of the fields.
    """
    found = by_age_sql(table, a, b) if table.aged else searched_sql(table, a, b)
    if sort:
        found += "\nORDER BY l.stream, l.place"
    if a.given and b.given:
        return found
    return (
        f"SELECT d.* FROM ({found}) AS d UNION ALL BY NAME SELECT NULL::VARCHAR AS stream WHERE NOT"  # noqa: S608
        f" CASE WHEN {a.sql} > {b.sql} THEN"
        " error('the first moment lies after the second; swap them') ELSE true END"
    )


def to_be_read(cursor: duckdb.DuckDBPyConnection, table: Table, a: Moment, b: Moment) -> bool:
    """Tell whether so few events lie in (`a`, `b`] that their changes are a list for people."""
    if table.state.events <= READ:
        return True
    rows = table.filed(since(a, b))
    (events,) = one_row(cursor, f"SELECT count(*) FROM {rows} AS t")  # noqa: S608 (our own)
    return bool(events <= READ)


def by_age_sql(table: Table, a: Moment, b: Moment) -> str:
    """Return what `searched_sql` does, where the rows tell the ages of their fields.

    Only the two states of an aggregate are compared: how old what differs is in the second one
    tells the key of the row that the event made.
    """
    fields = table.fold.fields
    aged = "".join(f", t.{name}" for name in ages.names(table.fold))
    kept = "".join(f", {restored(field.type, f't.f{i}')} AS f{i}" for i, field in enumerate(fields))
    # What a removed aggregate had went with it, whenever that had been set.
    turned = f"n.key - {ages.age_sql('n', 0)}"
    both = "".join(
        f",\n        w.f{i} AS w{i}, n.f{i} AS n{i},"
        f" CASE WHEN n.ended THEN {turned} ELSE n.key - {ages.age_sql('n', i + 1)} END AS c{i}"
        for i in range(len(fields))
    )
    return f"""
WITH was AS (
    SELECT t.key, t.ended{kept} FROM {table.filed(left(a, b))} AS t
), now AS (
    SELECT t.stream, t.ended{aged}{kept} FROM {table.filed(reached(a, b))} AS t
), pair AS MATERIALIZED (
    SELECT n.stream, {_CHANGE} AS change, {turned} AS turned{both}
    FROM now AS n LEFT JOIN was AS w ON {ages.number_sql("w")} = {ages.number_sql("n")}
    WHERE NOT (n.ended AND coalesce(w.ended, true))
), long AS (
    {_long(table.fold, "pair")}
)
SELECT l.stream, l.change, l.field, l."before", l."after", t.position, t.event_id, t.event_type,
    t.actor, t.occurred_on
FROM long AS l JOIN {table.filed(since(a, b))} AS t ON t.key = l.cause
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def _long(fold: Fold, pairs: str) -> str:
    """Return SELECTs of what differs, by field: most differ in few of the pairs.

    Parameters
    ----------
    pairs
        Table of ``stream``, ``change``, ``turned``, and by field ``w0`` and ``n0``, its two values,
        and ``c0``, the cause.
    """
    none = "".join(f" AND p.w{i} IS NULL AND p.n{i} IS NULL" for i in range(len(fold.fields)))
    return "\n    UNION ALL ".join(
        [
            "SELECT p.stream, p.change, -1 AS place, NULL::VARCHAR AS field,"  # noqa: S608 (our own)
            ' NULL::VARCHAR AS "before", NULL::VARCHAR AS "after", p.turned AS cause'
            f" FROM {pairs} AS p WHERE p.change <> 'changed'{none}"
        ]
        + [
            f"SELECT p.stream, p.change, {i}, {literal(field.name)},"  # noqa: S608 (as above)
            f" {shown_sql(f'p.w{i}', field.type)}, {shown_sql(f'p.n{i}', field.type)}, p.c{i}"
            f" FROM {pairs} AS p WHERE p.w{i} IS DISTINCT FROM p.n{i}"
            for i, field in enumerate(fold.fields)
        ]
    )


def searched_sql(table: Table, a: Moment, b: Moment) -> str:
    """Return what `diff_sql` does for two moments in order, by looking for the causes in all rows.

    It needs no ages, and is what they are held to.
    """
    # `moved` has for each stream that moved the row that stood at a, if there was one, and those
    # since.  Behind the last of them that differs from the one at b, the final value began; where
    # none differs there was none at a, and it began with the first.
    fields = [column(field) for field in table.fold.fields]
    numbers = range(len(fields))
    kept = "".join(f", t.{name} AS f{i}" for i, name in enumerate(fields))
    both = "".join(f", w.f{i} AS w{i}, n.f{i} AS n{i}" for i in numbers)
    turns = "".join(
        f",\n        max(t.next_position) FILTER (t.f{i} IS DISTINCT FROM p.n{i}) AS c{i}"
        for i in numbers
    )
    causes = "".join(
        f",\n        p.w{i}, p.n{i}, CASE WHEN p.ended THEN c.turned"
        f" ELSE coalesce(c.c{i}, c.began) END AS c{i}"
        for i in numbers
    )
    return f"""
WITH moved AS MATERIALIZED (
    SELECT t.stream, t.position, t.next_position, t.event_id, t.event_type, t.actor,
        t.occurred_on, t.ended, {a.reached("t")} AS old,
        {b.left("t")} IS NULL OR {b.left("t")} > {b.sql} AS last{kept}
    FROM {table.within(a, b)} AS t
), pair AS MATERIALIZED (
    SELECT n.stream, n.ended, {_CHANGE} AS change{both}
    FROM (FROM moved WHERE last) AS n
    LEFT JOIN (FROM moved WHERE old) AS w ON w.stream = n.stream
    WHERE NOT (n.ended AND coalesce(w.ended, true))
), cause AS (
    SELECT p.stream, min(t.position) FILTER (NOT t.old) AS began,
        coalesce(max(t.next_position) FILTER (t.ended <> p.ended), began) AS turned{turns}
    FROM moved AS t JOIN pair AS p ON p.stream = t.stream
    GROUP BY p.stream
), caused AS MATERIALIZED (
    SELECT p.stream, p.change, c.turned{causes}
    FROM pair AS p JOIN cause AS c ON c.stream = p.stream
), long AS (
    {_long(table.fold, "caused")}
)
SELECT l.stream, l.change, l.field, l."before", l."after", t.position, t.event_id, t.event_type,
    t.actor, t.occurred_on
FROM long AS l JOIN moved AS t ON t.position = l.cause AND t.stream = l.stream
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def counts_sql(table: Table, a: Moment, b: Moment) -> str:
    """Return the SELECT of how many streams changed in (`a`, `b`], by field.

    It compares the two states of each stream that moved, and looks for no event.
    """
    fields = [column(field) for field in table.fold.fields]
    differing = "".join(
        f",\n        count(*) FILTER (w.{name} IS DISTINCT FROM n.{name}) AS d{i}"
        for i, name in enumerate(fields)
    )
    any_field = "".join(f" OR w.{name} IS DISTINCT FROM n.{name}" for name in fields)
    one_each = "".join(
        f"\n    UNION ALL SELECT c.change, {i}, {literal(field.name)}, c.d{i} FROM counted AS c"  # noqa: S608
        for i, field in enumerate(table.fold.fields)
    )
    return f"""
WITH counted AS MATERIALIZED (
    SELECT {_CHANGE} AS change, count(*) AS streams{differing}
    FROM {table.moved_to(a, b)} AS n LEFT JOIN {table.moved_from(a, b)} AS w ON w.stream = n.stream
    WHERE CASE WHEN coalesce(w.ended, true) THEN NOT n.ended ELSE n.ended{any_field} END
    GROUP BY change
), long AS (
    SELECT c.change, -1 AS place, NULL::VARCHAR AS field, c.streams FROM counted AS c{one_each}
)
SELECT l.change, l.field, l.streams FROM long AS l WHERE l.streams > 0 ORDER BY l.change, l.place
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)
