"""What changed between two moments, and which event did it."""

from __future__ import annotations

from esnb.timeline.fold import column
from esnb.timeline.moment import Moment
from esnb.timeline.table import Table
from esnb.timeline.text import literal

__all__ = ["diff_sql"]


def diff_sql(table: Table, a: Moment, b: Moment) -> str:
    """Return the SELECT of the changes in (`a`, `b`].

    One row per stream and field whose value differs; a stream that came or went
    without any field has one row whose ``field`` is NULL.  The causing event is the
    last one in (a, b] since which the field has its final value, for a removed
    stream the one that ended it.
    """
    # `rows` has for each stream that moved the row that stood at a, if there was one, and those
    # since.  Where a field differs at b, its last change lies behind the first of them, so that
    # one is never taken for the cause.
    fields = [column(field) for field in table.fold.fields]
    changed = "".join(
        f",\n        t.{name} IS DISTINCT FROM lag(t.{name}) OVER o AS c{i}, t.{name} AS f{i}"
        for i, name in enumerate(fields)
    )
    ends = "".join(
        f",\n        arg_max_null(s.f{i}, s.position) AS n{i},"
        f" arg_max_null(s.f{i}, s.position) FILTER (s.old) AS w{i},"
        f" max(s.position) FILTER (s.c{i}) AS c{i}"
        for i in range(len(fields))
    )
    none = "".join(f" AND p.w{i} IS NULL AND p.n{i} IS NULL" for i in range(len(fields)))
    rows = ", ".join(
        [
            "{'place': -1, 'field': NULL::VARCHAR, 'before': NULL::VARCHAR,"
            f" 'after': NULL::VARCHAR, 'cause': p.turned, 'differs': NOT (p.had AND p.has){none}}}"
        ]
        + [
            f"{{'place': {i}, 'field': {literal(field.name)},"
            f" 'before': CAST(p.w{i} AS VARCHAR), 'after': CAST(p.n{i} AS VARCHAR),"
            f" 'cause': CASE WHEN p.has THEN p.c{i} ELSE p.turned END,"
            f" 'differs': p.w{i} IS DISTINCT FROM p.n{i}}}"
            for i, field in enumerate(table.fold.fields)
        ]
    )
    guard = (
        f"CASE WHEN {a.sql} > {b.sql} THEN"
        " error('the first moment lies after the second; swap them') ELSE true END"
    )
    return f"""
WITH steps AS MATERIALIZED (
    SELECT t.stream, t.position, t.event_id, t.event_type, t.actor, t.occurred_on, t.ended,
        {a.reached("t")} AS old,
        t.ended IS DISTINCT FROM coalesce(lag(t.ended) OVER o, true) AS turned{changed}
    FROM {table.within(a, b)} AS t
    WINDOW o AS (PARTITION BY t.stream ORDER BY t.position)
), pair AS (
    SELECT s.stream,
        coalesce(bool_or(NOT s.ended) FILTER (s.old), false) AS had,
        NOT arg_max(s.ended, s.position) AS has,
        max(s.position) FILTER (s.turned) AS turned{ends}
    FROM steps AS s GROUP BY s.stream
), long AS (
    SELECT p.stream,
        CASE WHEN NOT p.had THEN 'added' WHEN NOT p.has THEN 'removed' ELSE 'changed' END AS change,
        unnest([{rows}]) AS row
    FROM pair AS p WHERE p.had OR p.has
)
SELECT d.stream, d.change, d.field, d."before", d."after", d.position, d.event_id, d.event_type,
    d.actor, d.occurred_on
FROM (
    SELECT l.stream, l.change, l.row.field AS field, l.row."before" AS "before",
        l.row."after" AS "after", t.position, t.event_id, t.event_type, t.actor, t.occurred_on,
        l.row.place AS place
    FROM long AS l JOIN steps AS t ON t.stream = l.stream AND t.position = l.row.cause
    WHERE l.row.differs
    UNION ALL BY NAME SELECT NULL::VARCHAR AS stream WHERE NOT {guard}
) AS d
ORDER BY d.stream, d.place
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)
