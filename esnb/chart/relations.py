"""What a chart may be drawn from: a log, a DuckDB relation, or any table that speaks Arrow."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyRelation, Expression, SQLExpression

from esnb import duck
from esnb.errors import QueryError
from esnb.query.names import quote

__all__ = ["column", "relation", "zone_of"]


def relation(source: Any) -> DuckDBPyRelation:
    """Return `source` as a DuckDB relation.

    Raises
    ------
    QueryError
        If it is neither a log, a relation nor a table.
    """
    if isinstance(source, DuckDBPyRelation):
        return source
    if isinstance(source, pa.Table):
        return duck.connect().from_arrow(source)
    events = getattr(source, "events", None)
    if callable(events):
        return relation(events())
    if hasattr(source, "__arrow_c_stream__"):
        return relation(pa.RecordBatchReader.from_stream(source).read_all())
    raise QueryError(
        f"a {type(source).__name__} cannot be drawn; give a log, a DuckDB relation, "
        "or a pandas, Polars or Arrow table"
    )


def column(table: DuckDBPyRelation, name: str) -> Expression:
    """Return the column `name` of `table`.

    Raises
    ------
    QueryError
        Naming the columns that there are.
    """
    if name not in table.columns:
        raise QueryError(f"there is no column {name!r}; there are {', '.join(table.columns)}")
    # ColumnExpression loses the quotes inside a name.
    return SQLExpression(quote(name))


def zone_of(source: Any, table: DuckDBPyRelation, zone: str | None) -> str:
    """Return the zone in which to show times: the given one, the log's, or DuckDB's own."""
    if zone is not None:
        return zone
    if not isinstance(source, DuckDBPyRelation):
        declared = getattr(source, "zone", None)
        return declared if isinstance(declared, str) else "UTC"
    row = table.aggregate("max(current_setting('TimeZone'))").fetchone()
    found = row[0] if row else None
    return "UTC" if found in (None, "Etc/UTC") else str(found)
