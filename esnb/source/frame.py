"""Frames: pandas, Polars, Arrow, DuckDB, and whatever else speaks Arrow's C stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from esnb import jsontext
from esnb.errors import InputError, SourceError
from esnb.source.batch import JSON_TEXT, Batch, unique
from esnb.source.ledger import Ledger
from esnb.source.roles import Wants

__all__ = ["Frame", "batch_of", "reader_of"]

_ROWS = 65_536


class Frame:
    """A frame in memory, or a reader that gives one batch after the other."""

    unit = " rows"

    def __init__(self, given: Any) -> None:
        self.name = type(given).__name__
        self.size: int | None = None
        reader = reader_of(given)
        self.columns = unique([str(name) for name in reader.schema.names])
        self.schema = pa.schema(
            [field.with_name(name) for name, field in zip(self.columns, reader.schema, strict=True)]
        )
        if isinstance(reader, pa.Table):
            self.size = reader.num_rows
            self._batches: Iterable[Any] = reader.to_batches(max_chunksize=_ROWS)
        else:
            self._batches = reader

    def read(self, wants: Wants, ledger: Ledger) -> Iterator[Batch]:
        """Yield the rows."""
        for given in self._batches:
            for start in range(0, given.num_rows, _ROWS):
                part = given.slice(start, _ROWS)
                columns = [part.column(place) for place in range(part.num_columns)]
                table = pa.Table.from_arrays(columns, schema=self.schema)
                yield batch_of(table, wants, self.columns, ledger)


def batch_of(table: Any, wants: Wants, columns: tuple[str, ...], ledger: Ledger) -> Batch:
    """Return the rows of a table as a batch, numbered after those read before."""
    first = ledger.read + 1
    ledger.read += table.num_rows
    lines = pa.array(range(first, first + table.num_rows), pa.int64())
    if wants.rows:
        return Batch(lines, table, rows=_mappings(table), done=ledger.read)
    needed = set(wants.columns)
    for item in wants.members.values():
        needed.update(item.pick(columns))
    places = [place for place, name in enumerate(table.column_names) if name in needed]
    return Batch(lines, table.select(places), done=ledger.read)


def _mappings(table: Any) -> list[dict[str, Any]]:
    """Return the rows; times that Python cannot hold come as text, which no role accepts."""
    columns = []
    for column in table.columns:
        try:
            columns.append(column.to_pylist())
        except (OverflowError, ValueError):
            columns.append(column.cast(pa.string()).to_pylist())
    names = table.column_names
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def reader_of(given: Any) -> Any:
    """Return a frame as an Arrow table, or as a reader of record batches."""
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if isinstance(given, pa.Table | pa.RecordBatchReader):
        return given
    home = type(given).__module__.partition(".")[0]
    if home == "pandas" and hasattr(given, "columns"):
        return _from_pandas(given)
    if home == "polars" and hasattr(given, "collect"):
        given = given.collect()
    if hasattr(given, "to_arrow_reader"):  # DuckDB
        return given.to_arrow_reader(_ROWS)
    if hasattr(given, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(given)
    raise SourceError(
        f"a {type(given).__name__} cannot be imported. Give the path of a file (CSV, JSON lines, "
        "Parquet, XES) or a table of pandas, Polars, Arrow or DuckDB"
    )


def _from_pandas(given: Any) -> Any:
    if any(name is not None for name in given.index.names):
        given = given.reset_index()
    names = [str(name) for name in given.columns]
    columns, fields = [], []
    for place, name in enumerate(names):
        series = given.iloc[:, place]
        try:
            column = pa.array(series, from_pandas=True)
            nested = pa.types.is_nested(column.type)
        except (pa.ArrowException, TypeError):
            nested = True
        if nested:
            # Arrow would give every dict the keys of all, and cannot hold mixed kinds.
            column = _as_json(name, series.tolist())
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        columns.append(column)
        fields.append(pa.field(name, column.type, metadata=JSON_TEXT if nested else None))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _as_json(name: str, values: list[Any]) -> Any:
    texts: list[str | None] = []
    for row, value in enumerate(values, 1):
        if _missing(value):
            texts.append(None)
            continue
        try:
            texts.append(jsontext.canonical(jsontext.freeze(_plain(value))))
        except InputError as error:
            raise SourceError(f"the column {name!r}, row {row}: {error}") from None
    return pa.array(texts, pa.string())


def _missing(value: Any) -> bool:
    """Whether it is None, or pandas' way to say so."""
    if isinstance(value, float):
        return value != value
    return value is None or type(value).__name__ in ("NaTType", "NAType")


def _plain(value: Any) -> Any:
    """Return a value with lists for the arrays that pandas makes of them."""
    if hasattr(value, "tolist"):  # NumPy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
