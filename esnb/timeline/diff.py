"""What changed between two moments, and which event did it."""

from __future__ import annotations

from esnb.timeline.build import Table
from esnb.timeline.fold import column
from esnb.timeline.moment import Moment
from esnb.timeline.text import literal

__all__ = ["diff_sql"]


def diff_sql(table: Table, a: Moment, b: Moment) -> str:
    """Return the SELECT of the changes in (`a`, `b`].

    One row per stream and field whose value differs; a stream that came or went
    without any field has one row whose ``field`` is NULL.  The causing event is the
    last one in (a, b] since which the field has its final value, for a removed
    stream the one that ended it.
    """
    # `steps` begins with the row that stood at a.  Where a field differs at b, its last
    # change lies behind that row, so the row itself is never taken for the cause.
    fields = [column(field) for field in table.fold.fields]
    changed = "".join(
        f",\n        t.{name} IS DISTINCT FROM lag(t.{name}) OVER o AS c{i}"
        for i, name in enumerate(fields)
    )
    causes = "".join(
        f",\n        max(s.position) FILTER (s.c{i}) AS c{i}" for i in range(len(fields))
    )
    rows = ", ".join(
        [
            "{'place': -1, 'field': NULL::VARCHAR, 'before': NULL::VARCHAR,"
            " 'after': NULL::VARCHAR, 'cause': c.turned, 'differs': "
            "NOT (p.had AND p.has)"
            + "".join(f" AND w.{name} IS NULL AND n.{name} IS NULL" for name in fields)
            + "}"
        ]
        + [
            f"{{'place': {i}, 'field': {literal(field.name)},"
            f" 'before': CAST(w.{name} AS VARCHAR), 'after': CAST(n.{name} AS VARCHAR),"
            f" 'cause': CASE WHEN p.has THEN c.c{i} ELSE c.turned END,"
            f" 'differs': w.{name} IS DISTINCT FROM n.{name}}}"
            for i, (field, name) in enumerate(zip(table.fold.fields, fields, strict=True))
        ]
    )
    guard = (
        f"CASE WHEN {a.sql} > {b.sql} THEN"
        " error('the first moment lies after the second; swap them') ELSE true END"
    )
    return f"""
WITH pair AS (
    SELECT n.stream, n.position AS last, coalesce(w.position, -1) AS first,
        coalesce(NOT w.ended, false) AS had, NOT n.ended AS has
    FROM {table.source} AS n
    LEFT JOIN {table.source} AS w ON w.stream = n.stream AND {a.standing("w")}
    WHERE {guard} AND {b.standing("n")} AND w.position IS DISTINCT FROM n.position
        AND NOT (n.ended AND coalesce(w.ended, true))
), steps AS (
    SELECT t.stream, t.position,
        t.ended IS DISTINCT FROM coalesce(lag(t.ended) OVER o, true) AS turned{changed}
    FROM {table.source} AS t JOIN pair AS p ON p.stream = t.stream
    WHERE t.position BETWEEN p.first AND p.last
    WINDOW o AS (PARTITION BY t.stream ORDER BY t.position)
), cause AS (
    SELECT s.stream, max(s.position) FILTER (s.turned) AS turned{causes}
    FROM steps AS s GROUP BY s.stream
), long AS (
    SELECT p.stream,
        CASE WHEN NOT p.had THEN 'added' WHEN NOT p.has THEN 'removed' ELSE 'changed' END AS change,
        unnest([{rows}]) AS row
    FROM pair AS p
    JOIN cause AS c ON c.stream = p.stream
    JOIN {table.source} AS n ON n.stream = p.stream AND n.position = p.last
    LEFT JOIN {table.source} AS w ON w.stream = p.stream AND w.position = p.first
)
SELECT l.stream, l.change, l.row.field AS field, l.row."before" AS "before",
    l.row."after" AS "after", t.position, t.event_id, t.event_type, t.actor, t.occurred_on
FROM long AS l JOIN {table.source} AS t ON t.stream = l.stream AND t.position = l.row.cause
WHERE l.row.differs
ORDER BY l.stream, l.row.place
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)
