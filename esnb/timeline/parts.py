"""Files of rows: written by pyarrow, whose Bloom filters find one stream in millions of rows."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from esnb.log import files
from esnb.query.names import literal
from esnb.timeline.fold import Fold
from esnb.timeline.state import Part

__all__ = [
    "FILE_GROUPS", "GROUP_ROWS", "as_text", "read_sql", "restored", "selected", "stored",
    "write_batches", "write_files", "write_part",
]  # fmt: skip

GROUP_ROWS = 40_960
FILE_GROUPS = 4
# Of files that are not packed.  A question for a few whole rows reads the columns that it sorts by,
# and then all columns of the row groups that have those rows.
_SMALL_GROUP_ROWS = 10_240
# Fewer rows do not tell whether the values of a column repeat.
_TELLING = 1_000
_MOMENTS = ("system_from", "system_to", "position", "next_position")
# Columns whose values repeat so rarely that looking for repetition is lost time.
_DISTINCT = {
    "stream", "position", "event_id", "occurred_on", "recorded_on", "system_from", "slot", "key",
}  # fmt: skip
_AS_THEY_ARE = {
    "varchar", "boolean", "tinyint", "smallint", "integer", "bigint", "double", "decimal", "date",
    "timestamp with time zone",
}  # fmt: skip


def as_text(kind: str) -> bool:
    """Tell whether values of type `kind` stand in a file as text."""
    return not _plain(_parsed(kind))


def stored(kind: str, value: str) -> str:
    """Return SQL of what stands in a file for a `value` of type `kind`."""
    return f"CAST({value} AS VARCHAR)" if as_text(kind) else value


def restored(kind: str, value: str) -> str:
    """Return SQL of the value for which `value` stands in a file."""
    parsed = _parsed(kind)
    # Written as what it is, JSON needs no reading to be JSON again; within others it is text.
    same = str(parsed) == "JSON" or (_plain(parsed) and "JSON" not in str(parsed))
    return value if same else f"CAST({value} AS {kind})"


def read_sql(folder: Path, parts: tuple[Part, ...], *, by_name: bool = False) -> str:
    """Return SQL of a table of the rows in `parts`, of which there is at least one.

    It has the columns of the first; `by_name` those of all, NULL where a file has none.
    """
    names = ", ".join(literal(str(folder / part.name)) for part in parts)
    union = ", union_by_name=true" if by_name else ""
    return f"read_parquet([{names}], hive_partitioning=false{union})"


def write_part(
    cursor: duckdb.DuckDBPyConnection,
    sql: str,
    folder: Path,
    kind: str,
    *,
    fold: Fold | None = None,
    level: int = 0,
    packed: bool = True,
) -> Part:
    """Write the rows of a SELECT as one file of a store.

    Its name tells its `kind`.

    Columns ``f0``, ``f1``… are the fields of `fold`.  Rows with a ``stream`` get a Bloom filter
    on it.  Files that are not `packed` are twice as large and read in two thirds of the time,
    and their row groups are small.
    """
    schema, batches = selected(cursor, [sql])
    return write_batches(schema, batches, folder, kind, fold=fold, level=level, packed=packed)


def selected(
    cursor: duckdb.DuckDBPyConnection, selects: Sequence[str]
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return the columns of SELECTs, and their rows one after the other, sharing no batch."""
    first, *others = selects
    reader = cursor.execute(first).to_arrow_reader(GROUP_ROWS)
    return reader.schema, chain(reader, *(_batches(cursor, other) for other in others))


def write_files(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    folder: Path,
    kind: str,
    *,
    fold: Fold | None = None,
    level: int = 0,
) -> list[Part]:
    """Write Arrow record batches as files of `FILE_GROUPS` row groups, one of them at least.

    Those that are full are not to be merged with others (level 9).
    """
    batches = iter(batches)
    made: list[Part] = []
    head = next(batches, None)
    # What repeats in the first file does in all of them: to look takes long.
    repeating = _repeating(_leaves(schema), head)
    while head is not None or not made:
        some = () if head is None else chain((head,), islice(batches, FILE_GROUPS - 1))
        part = write_batches(
            schema, some, folder, kind, fold=fold, level=level, repeating=repeating
        )
        made.append(replace(part, level=9) if part.rows >= FILE_GROUPS * GROUP_ROWS else part)
        head = next(batches, None)
    return made


def write_batches(
    schema: Any,
    batches: Iterable[Any],
    folder: Path,
    kind: str,
    *,
    fold: Fold | None = None,
    level: int = 0,
    packed: bool = True,
    repeating: Sequence[str] | None = None,
) -> Part:
    """Write Arrow record batches as one file of a store (see `write_part`), each a row group.

    Where it is not `packed`, each is several.  Columns that are `repeating` get a dictionary; the
    first batch tells which they are, where that is not said.
    """
    group_rows = GROUP_ROWS if packed else _SMALL_GROUP_ROWS
    leaves = _leaves(schema)
    of_streams = "stream" in schema.names
    fields = enumerate(fold.fields if fold is not None else ())
    texts = {f"f{i}" for i, field in fields if field.type.upper() == "JSON"}
    found: dict[str, list[Any]] = {name: [] for name in ("stream", *_MOMENTS) if name in leaves}
    rows = 0
    batches = iter(batches)
    head = next(batches, None)
    repeating = _repeating(leaves, head) if repeating is None else repeating
    unfinished = files.temporary(folder)
    try:
        # A file of our own: a failed writer of pyarrow holds its file open for a while.
        with (
            pa.OSFile(str(unfinished), "wb") as file,
            pq.ParquetWriter(
                file,
                _as_json(pa.RecordBatch.from_pylist([], schema), texts).schema,
                compression="lz4" if packed else "none",
                use_dictionary=list(repeating),
                column_encoding=_encodings(leaves, repeating),
                bloom_filter_options=(
                    {"stream": {"ndv": group_rows, "fpp": 0.01}} if of_streams else None
                ),
                store_schema=False,
            ) as writer,
        ):
            for plain in batches if head is None else chain((head,), batches):
                batch = _as_json(plain, texts)
                rows += batch.num_rows
                for name, values in found.items():
                    column = batch.column(name)
                    column = column if name == "stream" else column.cast(pa.int64())
                    both = pc.min_max(column).as_py().values()
                    values += (value for value in both if value is not None)
                writer.write_table(pa.Table.from_batches([batch]), row_group_size=group_rows)
        sha256 = files.digest(unfinished)
        name = f"{kind}-{sha256[:24]}.parquet"
        size = unfinished.stat().st_size
        os.replace(unfinished, folder / name)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    spans = {name: (min(values), max(values)) for name, values in found.items() if values}
    return Part(name, rows, size, sha256, spans.pop("stream", None), spans, level)


@lru_cache(maxsize=1024)
def _parsed(kind: str) -> Any:
    return duckdb.sqltype(kind)


def _plain(kind: Any) -> bool:
    """Tell whether Parquet has such values, JSON being text."""
    if kind.id in ("list", "map", "struct"):
        return all(_plain(child) for _, child in kind.children)
    return kind.id in _AS_THEY_ARE


def _batches(cursor: duckdb.DuckDBPyConnection, sql: str) -> Iterator[Any]:
    """Run a SELECT when its first row is wanted."""
    yield from cursor.execute(sql).to_arrow_reader(GROUP_ROWS)


def _as_json(batch: Any, names: Collection[str]) -> Any:
    """Return a batch whose columns `names`, JSON texts, are known to Parquet as JSON."""
    for number, name in enumerate(batch.schema.names):
        if name in names:
            values = pa.ExtensionArray.from_storage(pa.json_(pa.string()), batch.column(number))
            batch = batch.set_column(number, name, values)
    return batch


def _repeating(leaves: Iterable[str], head: Any) -> list[str]:
    """Return the columns worth a dictionary, as the first row group tells: values repeat there.

    A dictionary of almost as many values as rows is dear to write, and dearer to read.
    """
    some = [name for name in leaves if name not in _DISTINCT]
    if head is None or head.num_rows < _TELLING:
        return some

    def single(name: str) -> bool:
        if name not in head.schema.names or pa.types.is_nested(head.schema.field(name).type):
            return False
        values = head.column(name)
        known = len(values) - values.null_count
        return bool(known) and pc.count_distinct(values).as_py() > known / 2

    return [name for name in some if not single(name)]


def _encodings(leaves: Mapping[str, Any], repeating: Collection[str]) -> dict[str, str]:
    """Return how columns are written of which Parquet would write value by value."""
    # Lengths first, then all of the text: read in half the time of text by text.
    found = {
        name: "DELTA_LENGTH_BYTE_ARRAY"
        for name, kind in leaves.items()
        if name not in repeating and pa.types.is_string(kind)
    }
    if "key" in leaves:
        # Many bits of it are the same in all rows about one moment.
        found["key"] = "DELTA_BINARY_PACKED"
    return found


def _leaves(schema: Any) -> dict[str, Any]:
    """Return the names by which Parquet knows the columns, of lists and structs too, and types."""
    result = {}

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
            result[path] = kind

    for field in schema:
        walk(field.name, field.type)
    return result
