"""What changed between two moments, and which event did it."""

from __future__ import annotations

from esnb.timeline.fold import column
from esnb.timeline.moment import Moment
from esnb.timeline.table import Table
from esnb.timeline.text import literal, shown_sql

__all__ = ["counts_sql", "diff_sql"]


def diff_sql(table: Table, a: Moment, b: Moment) -> str:
    """Return the SELECT of the changes in (`a`, `b`].

    One row per stream and field whose value differs; a stream that came or went
    without any field has one row whose ``field`` is NULL.  The causing event is the
    last one in (a, b] since which the field has its final value, for a removed
    stream the one that ended it.
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
    none = "".join(f" AND p.w{i} IS NULL AND p.n{i} IS NULL" for i in numbers)
    # A SELECT for each field: most differ in few of the pairs.
    long = [
        "SELECT p.number, p.stream, p.change, -1 AS place, NULL::VARCHAR AS field,"  # noqa: S608 (our own)
        ' NULL::VARCHAR AS "before", NULL::VARCHAR AS "after", p.turned AS cause'
        f" FROM caused AS p WHERE p.change <> 'changed'{none}"
    ] + [
        f"SELECT p.number, p.stream, p.change, {i}, {literal(field.name)},"  # noqa: S608 (as above)
        f" {shown_sql(f'p.w{i}', field.type)}, {shown_sql(f'p.n{i}', field.type)}, p.c{i}"
        f" FROM caused AS p WHERE p.w{i} IS DISTINCT FROM p.n{i}"
        for i, field in enumerate(table.fold.fields)
    ]
    guard = (
        f"CASE WHEN {a.sql} > {b.sql} THEN"
        " error('the first moment lies after the second; swap them') ELSE true END"
    )
    joined = "\n    UNION ALL ".join(long)
    return f"""
WITH moved AS MATERIALIZED (
    SELECT t.stream, t.position, t.next_position, t.event_id, t.event_type, t.actor,
        t.occurred_on, t.ended, {a.reached("t")} AS old,
        {b.left("t")} IS NULL OR {b.left("t")} > {b.sql} AS last{kept}
    FROM {table.within(a, b)} AS t
), pair AS MATERIALIZED (
    SELECT n.stream, n.ended, row_number() OVER (ORDER BY n.stream) AS number,
        CASE WHEN coalesce(w.ended, true) THEN 'added' WHEN n.ended THEN 'removed'
            ELSE 'changed' END AS change{both}
    FROM (FROM moved WHERE last) AS n
    LEFT JOIN (FROM moved WHERE old) AS w ON w.stream = n.stream
    WHERE NOT (n.ended AND coalesce(w.ended, true))
), cause AS (
    SELECT p.number, min(t.position) FILTER (NOT t.old) AS began,
        coalesce(max(t.next_position) FILTER (t.ended <> p.ended), began) AS turned{turns}
    FROM moved AS t JOIN pair AS p ON p.stream = t.stream
    GROUP BY p.number
), caused AS MATERIALIZED (
    SELECT p.number, p.stream, p.change, c.turned{causes}
    FROM pair AS p JOIN cause AS c ON c.number = p.number
), long AS (
    {joined}
)
SELECT d.stream, d.change, d.field, d."before", d."after", d.position, d.event_id, d.event_type,
    d.actor, d.occurred_on
FROM (
    SELECT l.stream, l.change, l.field, l."before", l."after", t.position, t.event_id,
        t.event_type, t.actor, t.occurred_on, l.number, l.place
    FROM long AS l
    JOIN moved AS t ON t.position = l.cause AND t.stream = l.stream
    UNION ALL BY NAME SELECT NULL::VARCHAR AS stream WHERE NOT {guard}
) AS d
ORDER BY d.number, d.place
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
    SELECT CASE WHEN coalesce(w.ended, true) THEN 'added' WHEN n.ended THEN 'removed'
            ELSE 'changed' END AS change, count(*) AS streams{differing}
    FROM {table.moved_to(a, b)} AS n LEFT JOIN {table.moved_from(a, b)} AS w ON w.stream = n.stream
    WHERE CASE WHEN coalesce(w.ended, true) THEN NOT n.ended ELSE n.ended{any_field} END
    GROUP BY change
), long AS (
    SELECT c.change, -1 AS place, NULL::VARCHAR AS field, c.streams FROM counted AS c{one_each}
)
SELECT l.change, l.field, l.streams FROM long AS l WHERE l.streams > 0 ORDER BY l.change, l.place
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)
