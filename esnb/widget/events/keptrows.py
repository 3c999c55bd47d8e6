"""Rows of any table (relation, frame) as numbered rows, kept in a DuckDB of our own.

Few rows stay in memory; many go into a file of a temporary folder, once, and are read from there.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from esnb import instants
from esnb.duck import connect, interruptible
from esnb.errors import InstantError, QueryError
from esnb.source.batch import unique
from esnb.source.frame import reader_of
from esnb.sqltext import literal, quote
from esnb.widget.events.rows import Ints, Rows

__all__ = ["KeptRows"]

_MOST_ROWS, _MOST_BYTES = 1_000_000, 256 << 20


class KeptRows(Rows):
    """The rows of a relation or frame, as they were when they were read.

    Parameters
    ----------
    source
        Relation of DuckDB, or frame of pandas, Polars or Arrow.

    Raises
    ------
    QueryError
        If it has no columns.
    SourceError
        If it is no table.
    """

    table = "rows"
    number = "rowid"

    @interruptible()
    def __init__(self, source: Any) -> None:
        given = reader_of(source)
        names = _named(given.schema.names)
        if not names:
            raise QueryError("a table without columns has nothing to show")
        fields = [_Field(field, name) for field, name in zip(given.schema, names, strict=True)]
        schema = pa.schema([field.field for field in fields])
        batches = given.to_batches() if isinstance(given, pa.Table) else given
        few, rest = _first(batches)
        if rest is None:
            self._connection = connect()
        else:
            folder = tempfile.mkdtemp(prefix="esnb-rows-")
            weakref.finalize(self, shutil.rmtree, folder, True)
            self._connection = connect(str(Path(folder, "rows.duckdb")))
        made = (
            pa.record_batch(
                [field.read(column) for field, column in zip(fields, batch.columns, strict=True)],
                schema=schema,
            )
            for batch in chain(few, rest or ())
        )
        self._connection.register("_esnb_read", pa.RecordBatchReader.from_batches(schema, made))
        self._connection.execute("CREATE TABLE rows AS SELECT * FROM _esnb_read")
        self._connection.unregister("_esnb_read")
        self.zone = _zone(fields)
        self._connection.execute(f"SET GLOBAL TimeZone = {literal(self.zone)}")
        for setting in ("enable_external_access = false", "lock_configuration = true"):
            self._connection.execute(f"SET GLOBAL {setting}")
        shown = self._connection.execute("SELECT * FROM rows LIMIT 0").description or []
        self.names = tuple(column[0] for column in shown)
        self.types = tuple(str(column[1]) for column in shown)
        (self.total,) = self._connection.execute("SELECT count(*) FROM rows").fetchone() or (0,)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        return self._connection.cursor()

    @interruptible()
    def take(self, numbers: Ints, names: Sequence[str]) -> pa.Table:
        """Return columns of some rows, in the order of `numbers`."""
        cursor = self.cursor()
        columns = ", ".join(f"e.{quote(name)} AS c{place}" for place, name in enumerate(names))
        select = f"SELECT e.rowid AS n, {columns} FROM rows AS e WHERE e.rowid"  # noqa: S608
        values = np.unique(numbers)
        if len(values) and values[-1] - values[0] + 1 == len(values):
            found = cursor.execute(f"{select} BETWEEN {values[0]} AND {values[-1]} ORDER BY n")
        else:
            wanted = f"(SELECT unnest({literal(str(values.tolist()))}::BIGINT[]))"
            found = cursor.execute(f"{select} IN {wanted} ORDER BY n")
        table = found.to_arrow_table()
        places = np.searchsorted(table["n"].to_numpy(), numbers)
        taken = table.take(pa.array(places)).select(range(1, len(names) + 1))
        return taken.rename_columns(list(names))


class _Field:
    """A column, in a type that DuckDB takes without loss."""

    def __init__(self, field: Any, name: str) -> None:
        kind = field.type
        if pa.types.is_timestamp(kind) and kind.tz is not None and kind.unit == "ns":
            # DuckDB would cut an instant to microseconds; a time without a zone it would not.
            self.kind, self.zone = pa.timestamp("ns"), None
        else:
            self.kind = kind if _taken(kind) else pa.string()
            self.zone = kind.tz if pa.types.is_timestamp(kind) else None
        self.field = pa.field(name, self.kind)

    def read(self, column: Any) -> Any:
        if column.type == self.kind:
            return column
        if self.kind != pa.string():
            return column.cast(self.kind)
        texts = (None if value is None else str(value) for value in column.to_pylist())
        return pa.array(texts, pa.string())


@cache
def _taken(kind: Any) -> bool:
    """Whether DuckDB knows an Arrow type."""
    try:
        connect().from_arrow(pa.table({"x": pa.array([], kind)})).fetchall()
    except (duckdb.Error, pa.ArrowException):
        return False
    return True


def _named(given: Iterable[object]) -> list[str]:
    """Return names that SQL can tell apart: it does not see the case of letters."""
    found: list[str] = []
    taken: set[str] = set()
    for name in unique([str(name).replace("\x00", "U+0000") for name in given]):
        number, candidate = 2, name
        while candidate.casefold() in taken:
            candidate, number = f"{name}_{number}", number + 1
        taken.add(candidate.casefold())
        found.append(candidate)
    return found


def _first(batches: Iterable[Any]) -> tuple[list[Any], Iterator[Any] | None]:
    """Return what stays in memory, and what comes after it if there is too much."""
    rest = iter(batches)
    few, rows, size = [], 0, 0
    for batch in rest:
        few.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows > _MOST_ROWS or size > _MOST_BYTES:
            return few, rest
    return few, None


def _zone(fields: Iterable[_Field]) -> str:
    """Return the zone of the first column that has one."""
    for field in fields:
        if field.zone is not None:
            try:
                instants.zone(field.zone)
            except InstantError:
                continue
            return str(field.zone)
    return "UTC"
