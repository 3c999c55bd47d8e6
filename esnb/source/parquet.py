"""Parquet files, batch by batch, with a guard against files that unfold without end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from esnb.errors import SourceError
from esnb.source.batch import Batch, unique
from esnb.source.frame import batch_of
from esnb.source.ledger import Ledger
from esnb.source.roles import Wants

__all__ = ["Parquet"]

_ROWS = 65_536
_SLICE = 64 << 20
_MAX_RATIO = 1000
_FREE_BYTES = 4 << 30


class Parquet:
    """A Parquet file; the line of a row is its number, from 1."""

    unit = " rows"

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        try:
            self._bytes = path.stat().st_size
            self._file = pq.ParquetFile(path, read_dictionary=[], pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path} cannot be read as Parquet: {error}") from None
        schema = self._file.schema_arrow
        self.columns = unique(schema.names)
        if self.columns != tuple(schema.names):
            raise SourceError(f"{path} has two columns of one name, or one without a name")
        self.schema = schema
        self.size: int | None = self._file.metadata.num_rows
        self._check_sizes()

    def read(self, wants: Wants, ledger: Ledger) -> Iterator[Batch]:
        """Yield the rows."""
        needed = set(wants.columns)
        for item in wants.members.values():
            needed.update(item.pick(self.columns))
        names = [name for name in self.columns if wants.rows or name in needed]
        file = pq.ParquetFile(
            self._path, read_dictionary=self._repeating(), pre_buffer=False, memory_map=False
        )
        unfolded = 0
        try:
            for given in file.iter_batches(_ROWS, columns=names, use_threads=True):
                # Repeating texts come as dictionaries: their size shows before they unfold.
                size = sum(_unfolded(column) for column in given.columns)
                unfolded += size
                if unfolded > max(_FREE_BYTES, _MAX_RATIO * self._bytes):
                    raise self._bomb(unfolded)
                rows = max(1, given.num_rows * _SLICE // max(size, _SLICE))
                for start in range(0, given.num_rows, rows):
                    table = pa.Table.from_batches([given.slice(start, rows)])
                    yield batch_of(table, wants, self.columns, ledger)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(
                f"{self._path} cannot be read: {error}. Nothing was imported"
            ) from None

    def _chunks(self) -> Iterator[Any]:
        metadata = self._file.metadata
        for group in range(metadata.num_row_groups):
            for place in range(metadata.num_columns):
                yield metadata.row_group(group).column(place)

    def _check_sizes(self) -> None:
        size = sum(chunk.total_uncompressed_size for chunk in self._chunks())
        if size > max(_FREE_BYTES, _MAX_RATIO * self._bytes):
            raise self._bomb(size)

    def _repeating(self) -> list[str]:
        """Return the text columns with less than a few bytes a value: they repeat themselves."""
        values: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for chunk in self._chunks():
            if chunk.physical_type == "BYTE_ARRAY":
                values[chunk.path_in_schema] += chunk.num_values
                size[chunk.path_in_schema] += chunk.total_uncompressed_size
        return [path for path, number in values.items() if size[path] < 4 * number]

    def _bomb(self, size: int) -> SourceError:
        return SourceError(
            f"{self._path} unfolds to more than {size >> 20} MiB from {self._bytes:,} bytes, "
            "which looks like a compression bomb. Nothing was imported"
        )


def _unfolded(column: Any) -> int:
    if pa.types.is_dictionary(column.type) and len(column.dictionary):
        lengths = pc.binary_length(column.dictionary)
        return pc.sum(lengths.take(column.indices).cast(pa.int64())).as_py() or 0
    return int(column.nbytes)
