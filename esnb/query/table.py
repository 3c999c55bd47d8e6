"""The table ``events`` as SQL: sealed files and tail together."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from esnb.log.snapshot import Segment
from esnb.query.names import literal, quote
from esnb.schema import COLUMNS

__all__ = ["events_sql"]

_NUMBER = "_esnb_row"
_TAIL = "_esnb_tail"  # the name under which a cursor knows the tail of its snapshot


def events_sql(
    cursor: duckdb.DuckDBPyConnection, segments: Sequence[Segment], tail: pa.Table
) -> str:
    """Return the SELECT of the events in `segments` and `tail`, to be run on `cursor`.

    A relation cannot be made from parameters without being run at once, hence the
    paths are constants.
    """
    names = ", ".join(quote(name) for name in COLUMNS)
    parts = []
    if segments:
        paths = ", ".join(literal(str(segment.path)) for segment in segments)
        parts.append(f"select {names} from read_parquet([{paths}], hive_partitioning=false)")  # noqa: S608
    # An empty tail would double the time of a look-up; without segments it gives the types.
    if tail.num_rows or not segments:
        cursor.register(_TAIL, tail)
        # DuckDB pushes the Bloom filters of joins through a union into its files and into Arrow,
        # which refuses them: through numbered rows it cannot.
        rows = f"select *, row_number() over () as {_NUMBER} from {quote(_TAIL)}"  # noqa: S608
        parts.append(f"select {names} from ({rows}) where {_NUMBER} > 0")  # noqa: S608
    return " union all ".join(parts)
