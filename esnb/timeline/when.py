"""When a condition on the state held: per aggregate, the periods from an event to an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb

from esnb.show import html_table
from esnb.timeline.table import Table

__all__ = ["Periods", "when_sql"]

_SHOWN = 10


class Periods:
    """The periods in which a condition held: a DuckDB relation, with `first`.

    Whatever a relation does (``df``, ``filter``, ``aggregate``, ``fetchall``…) it does too.
    """

    def __init__(self, ask: Callable[[str], duckdb.DuckDBPyRelation], sql: str) -> None:
        self._ask = ask
        self.sql = sql
        self._relation: duckdb.DuckDBPyRelation | None = None

    def first(self) -> duckdb.DuckDBPyRelation:
        """Return the first period of each aggregate for which the condition ever held."""
        return self._ask(f"SELECT p.* FROM ({self.sql}) AS p WHERE p.number = 1 ORDER BY p.stream")  # noqa: S608

    @property
    def relation(self) -> duckdb.DuckDBPyRelation:
        """All periods, by stream and number."""
        if self._relation is None:
            self._relation = self._ask(self.sql)
        return self._relation

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.relation, name)

    def __len__(self) -> int:
        return len(self.relation)

    def __repr__(self) -> str:
        return repr(self.relation)

    def _repr_html_(self) -> str:
        own = "p.stream, p.number, p.system_from, p.system_to, p.event_type, p.actor, p.events"
        total, streams, still = self._ask(
            "SELECT count(*), count(DISTINCT p.stream),"  # noqa: S608 (our own text)
            f" count(*) FILTER (p.system_to IS NULL) FROM ({self.sql}) AS p"
        ).fetchall()[0]
        # As text, a time is one in the zone of the log.
        rows = self._ask(
            f"SELECT COLUMNS(*)::VARCHAR FROM (SELECT {own} FROM ({self.sql}) AS p"  # noqa: S608
            f" ORDER BY p.stream, p.number LIMIT {_SHOWN})"
        ).fetchall()
        shown = f"; the first {_SHOWN}" if total > _SHOWN else ""
        names = ["stream", "number", "from", "to", "begun by", "actor", "events"]
        title = f"{total:,} periods of {streams:,} aggregates, {still:,} still going on{shown}"
        return html_table(names, rows, caption=title)


def when_sql(table: Table, condition: str) -> str:
    """Return the SELECT of the periods in which `condition`, SQL over a row ``t``, held."""
    return f"""
WITH steps AS (
    SELECT t.stream, t.revision, t.position, t.event_id, t.event_type, t.actor, t.occurred_on,
        t.system_from, t.system_to, t.next_position,
        NOT t.ended AND coalesce(({condition}), false) AS held
    FROM {table.source} AS t
), marked AS (
    SELECT s.*, s.held AND NOT coalesce(lag(s.held) OVER o, false) AS begins
    FROM steps AS s
    WINDOW o AS (PARTITION BY s.stream ORDER BY s.position)
), numbered AS (
    SELECT m.*, count(*) FILTER (m.begins) OVER (PARTITION BY m.stream ORDER BY m.position
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS number
    FROM marked AS m
)
SELECT n.stream, n.number, min(n.system_from) AS system_from,
    arg_max_null(n.system_to, n.position) AS system_to,
    min(n.position) AS position, arg_max_null(n.next_position, n.position) AS until_position,
    count(*) AS events, arg_min(n.revision, n.position) AS revision,
    arg_min(n.event_id, n.position) AS event_id,
    arg_min(n.event_type, n.position) AS event_type,
    arg_min_null(n.actor, n.position) AS actor,
    arg_min(n.occurred_on, n.position) AS occurred_on
FROM numbered AS n WHERE n.held
GROUP BY n.stream, n.number
ORDER BY n.stream, n.number
""".strip()  # noqa: S608 (the condition has passed the gate, or was traced)
