"""Which event gave a field the value that it has."""

from __future__ import annotations

from esnb.timeline.fold import column
from esnb.timeline.moment import Moment
from esnb.timeline.table import Table
from esnb.timeline.text import literal, shown_sql

__all__ = ["blame_sql"]


def blame_sql(table: Table, stream: str, at: Moment) -> str:
    """Return the SELECT of one row per field of `stream` as it was at `at`.

    A field is there when it has a value, or when an event of the present life of
    the aggregate took its value away.
    """
    fields = [column(field) for field in table.fold.fields]
    steps = "".join(
        f",\n        t.{name} IS DISTINCT FROM lag(t.{name}) OVER o AS c{i}"
        for i, name in enumerate(fields)
    )
    rows = ", ".join(
        f"{{'place': {i}, 'field': {literal(field.name)},"
        f" 'value': {shown_sql(f'arg_max_null(s.{name}, s.position)', field.type)},"
        f" 'cause': max(s.position) FILTER (s.c{i})}}"
        for i, (field, name) in enumerate(zip(table.fold.fields, fields, strict=True))
    )
    if not rows:
        rows = "{'place': 0, 'field': '', 'value': NULL::VARCHAR, 'cause': NULL::BIGINT}"
    return f"""
WITH reached AS (
    SELECT t.* FROM {table.of(stream)} AS t WHERE {at.reached("t")}
), steps AS (
    SELECT t.*{steps}
    FROM reached AS t
    WHERE t.position > (SELECT coalesce(max(r.position) FILTER (r.ended), -1) FROM reached AS r)
    WINDOW o AS (ORDER BY t.position)
), long AS (
    SELECT unnest([{rows}]) AS row FROM steps AS s
)
SELECT l.row.field AS field, l.row."value" AS "value", t.position, t.revision, t.event_id,
    t.event_type, t.actor, t.occurred_on, t.recorded_on
FROM long AS l JOIN reached AS t ON t.position = l.row.cause
ORDER BY l.row.place
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)
