"""Files of rows: written by pyarrow, whose Bloom filters find one stream in millions of rows."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from esnb.log import files
from esnb.query.names import literal
from esnb.timeline.state import Part

__all__ = ["read_sql", "restored", "stored", "write_part"]

_GROUP_ROWS = 40_960
# Columns whose values repeat so rarely that looking for repetition is lost time.
_DISTINCT = {
    "stream", "position", "event_id", "occurred_on", "recorded_on", "system_from", "system_to",
    "next_position", "slot",
}  # fmt: skip
_AS_THEY_ARE = {"VARCHAR", "BOOLEAN", "BIGINT", "DOUBLE", "DATE", "INTEGER", "TIMESTAMPTZ"}


def stored(kind: str, value: str) -> str:
    """Return SQL of what stands in a file for a `value` of type `kind`."""
    return value if _same(kind) else f"CAST({value} AS VARCHAR)"


def restored(kind: str, value: str) -> str:
    """Return SQL of the value for which `value` stands in a file."""
    return value if _same(kind) else f"CAST({value} AS {kind})"


def read_sql(folder: Path, parts: tuple[Part, ...]) -> str:
    """Return SQL of a table of the rows in `parts`, of which there is at least one."""
    names = ", ".join(literal(str(folder / part.name)) for part in parts)
    return f"read_parquet([{names}], hive_partitioning=false)"


def write_part(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    folder: Path,
    kind: str,
    *,
    level: int = 0,
    packed: bool = True,
) -> Part:
    """Write the rows of a SELECT as one file of a store; its name tells its `kind`.

    Rows with a ``stream`` get a Bloom filter on it.  Files that are not `packed` are twice as
    large and read in two thirds of the time.
    """
    reader = cursor.execute(sql).to_arrow_reader(_GROUP_ROWS)
    names = reader.schema.names
    of_streams = "stream" in names
    spans: dict[str, list[Any]] = {"stream": [], "system_from": []}
    rows = 0
    unfinished = files.temporary(folder)
    try:
        # A file of our own: a failed writer of pyarrow holds its file open for a while.
        with (
            pa.OSFile(str(unfinished), "wb") as file,
            pq.ParquetWriter(
                file,
                reader.schema,
                compression={
                    name: ("zstd" if name == "event_id" else "snappy") if packed else "none"
                    for name in _leaves(reader)
                },
                use_dictionary=[name for name in _leaves(reader) if name not in _DISTINCT],
                bloom_filter_options=(
                    {"stream": {"ndv": _GROUP_ROWS, "fpp": 0.01}} if of_streams else None
                ),
                store_schema=False,
            ) as writer,
        ):
            for batch in reader:
                rows += batch.num_rows
                for name, found in spans.items() if batch.num_rows and of_streams else ():
                    values = batch.column(name)
                    if name == "system_from":
                        values = values.cast(pa.int64())
                    found += pc.min_max(values).as_py().values()
                writer.write_table(pa.Table.from_batches([batch]), row_group_size=_GROUP_ROWS)
        sha256 = files.digest(unfinished)
        name = f"{kind}-{sha256[:24]}.parquet"
        size = unfinished.stat().st_size
        os.replace(unfinished, folder / name)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    streams, known = ((min(found), max(found)) if found else None for found in spans.values())
    return Part(name, rows, size, sha256, streams, known, level)


def _same(kind: str) -> bool:
    """Tell whether a type comes back from Parquet as it went there."""
    plain = kind.upper().rstrip("[]")
    return plain in _AS_THEY_ARE or plain.startswith("DECIMAL")


def _leaves(reader: Any) -> list[str]:
    """Return the names by which Parquet knows the columns, those of lists and structs too."""
    result = []

    def walk(path: str, kind: Any) -> None:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            walk(f"{path}.list.element", kind.value_type)
        elif pa.types.is_struct(kind):
            for field in kind:
                walk(f"{path}.{field.name}", field.type)
        elif pa.types.is_map(kind):
            walk(f"{path}.key_value.key", kind.key_type)
            walk(f"{path}.key_value.value", kind.item_type)
        else:
            result.append(path)

    for field in reader.schema:
        walk(field.name, field.type)
    return result
