"""What changed between two moments, and which event did it."""

from __future__ import annotations

from esnb.timeline.fold import column
from esnb.timeline.moment import Moment
from esnb.timeline.table import Table
from esnb.timeline.text import literal, shown_sql

__all__ = ["diff_sql"]


def diff_sql(table: Table, a: Moment, b: Moment) -> str:
    """Return the SELECT of the changes in (`a`, `b`].

    One row per stream and field whose value differs; a stream that came or went
    without any field has one row whose ``field`` is NULL.  The causing event is the
    last one in (a, b] since which the field has its final value, for a removed
    stream the one that ended it.
    """
    # `moved` has for each stream that moved the row that stood at a, if there was one, and those
    # since.  Where a field differs at b, its last change lies behind the first of them, so that
    # one is never taken for the cause.
    fields = [column(field) for field in table.fold.fields]
    kept = "".join(f", t.{name} AS f{i}" for i, name in enumerate(fields))
    changed = "".join(
        f",\n        max(t.position) FILTER (t.f{i} IS DISTINCT FROM b.f{i}) AS c{i}"
        for i in range(len(fields))
    )
    none = "".join(f" AND w.f{i} IS NULL AND n.f{i} IS NULL" for i in range(len(fields)))
    rows = ", ".join(
        [
            "{'place': -1, 'field': NULL::VARCHAR, 'before': NULL::VARCHAR,"
            f" 'after': NULL::VARCHAR, 'cause': c.turned, 'differs': NOT (c.had AND c.has){none}}}"
        ]
        + [
            f"{{'place': {i}, 'field': {literal(field.name)},"
            f" 'before': CASE WHEN w.f{i} IS DISTINCT FROM n.f{i}"
            f" THEN {shown_sql(f'w.f{i}', field.type)} END,"
            f" 'after': CASE WHEN w.f{i} IS DISTINCT FROM n.f{i}"
            f" THEN {shown_sql(f'n.f{i}', field.type)} END,"
            f" 'cause': CASE WHEN c.has THEN c.c{i} ELSE c.turned END,"
            f" 'differs': w.f{i} IS DISTINCT FROM n.f{i}}}"
            for i, field in enumerate(table.fold.fields)
        ]
    )
    guard = (
        f"CASE WHEN {a.sql} > {b.sql} THEN"
        " error('the first moment lies after the second; swap them') ELSE true END"
    )
    return f"""
WITH moved AS MATERIALIZED (
    SELECT t.stream, t.position, t.next_position, t.event_id, t.event_type, t.actor,
        t.occurred_on, t.ended, {a.reached("t")} AS old,
        {b.left("t")} IS NULL OR {b.left("t")} > {b.sql} AS last{kept}
    FROM {table.within(a, b)} AS t
), cause AS (
    SELECT t.stream,
        coalesce(bool_or(NOT t.ended) FILTER (t.old), false) AS had,
        coalesce(bool_or(NOT t.ended) FILTER (t.last), false) AS has,
        max(t.position) FILTER (t.ended IS DISTINCT FROM coalesce(b.ended, true)) AS turned{changed}
    FROM moved AS t
    LEFT JOIN moved AS b ON b.next_position = t.position AND b.stream = t.stream
    GROUP BY t.stream
), long AS (
    SELECT c.stream,
        CASE WHEN NOT c.had THEN 'added' WHEN NOT c.has THEN 'removed' ELSE 'changed' END AS change,
        unnest([{rows}]) AS row
    FROM cause AS c
    JOIN moved AS n ON n.stream = c.stream AND n.last
    LEFT JOIN moved AS w ON w.stream = c.stream AND w.old
    WHERE c.had OR c.has
)
SELECT d.stream, d.change, d.field, d."before", d."after", d.position, d.event_id, d.event_type,
    d.actor, d.occurred_on
FROM (
    SELECT l.stream, l.change, l.row.field AS field, l.row."before" AS "before",
        l.row."after" AS "after", t.position, t.event_id, t.event_type, t.actor, t.occurred_on,
        l.row.place AS place
    FROM long AS l JOIN moved AS t ON t.stream = l.stream AND t.position = l.row.cause
    WHERE l.row.differs
    UNION ALL BY NAME SELECT NULL::VARCHAR AS stream WHERE NOT {guard}
) AS d
ORDER BY d.stream, d.place
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)
