"""States after each row, column by column: where each value was said, and not the value itself.

The rows come in the order of their fold.  What a field holds after a row is what was said last
(or first) of it, so it is enough to know in which row that was: an array of row numbers, which
NumPy makes of a column in a few milliseconds where a window of SQL takes a hundred.  Values are
looked up when they are written, in whatever order that is.

`esnb.timeline.pipeline.every_sql` makes the same states in SQL, and is what this is held to; it
takes over where numbers grow beyond 64 bits, or rows beyond memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb.timeline import ages
from esnb.timeline.distinct import distinct
from esnb.timeline.fold import CARRIED, Field, Fold
from esnb.timeline.parts import GROUP_ROWS, stored
from esnb.timeline.pipeline import said_sql
from esnb.timeline.ranks import Bools, Ints

__all__ = ["Columns", "folded"]

# What a range of rows may take before it is left to SQL, which can put it on disk.
MOST_BYTES = 1_500_000_000
_BATCH = 500_000
_INT64 = 2**63 - 1


class _UnfitError(Exception):
    """These rows are for SQL."""


class Columns:
    """The states after some rows: `CARRIED`, ``system_from``, ``system_to``, ``next_position``,
    ``ended``, ``f0``, ``f1``…, the memory of the sides, and the ages of the fields
    (`esnb.timeline.ages`) where there are any, as they stand in files.

    Attributes
    ----------
    rows
        How many there are.
    fresh
        How many aggregates are new; they have numbers from `number` on.
    longest
        The most rows that an aggregate has by now; 0 where ages are not known.
    system_from, system_to, position
        Microseconds since 1970 and positions, by row; ``system_to`` of an open row is the
        largest number there is.
    open
        Whether no row of the stream follows.
    """

    def __init__(self, fold: Fold, table: pa.Table, defaults: pa.Table, number: int) -> None:
        self.rows = table.num_rows
        self.fresh = self.longest = 0
        # A value is looked up in an array, at the number of the row that said it; -1 is none.
        self._looked_up: dict[str, tuple[pa.Array, Ints | None]] = {}
        self._table, self._fold, self._defaults = table, fold, defaults
        begins = self._begins()
        self.position = self._int64("position")
        self.open = np.append(begins[1:], True)[: self.rows]
        self._times(begins)
        for name in (*CARRIED, "ended", *(name for name, _ in fold.memory)):
            self._looked_up[name] = (_whole(table.column(name)), None)
        ended = _truths(table.column("ended"))
        lives = begins | ended if fold.lives else begins
        first = np.maximum.accumulate(np.where(lives, np.arange(self.rows), 0))
        for place, field in enumerate(fold.fields):
            self._fold_field(place, field, first, ended if fold.lives else None)
        if ages.names(fold):
            self._count(begins, number)
        del self._table

    def closed(self, lengths: Sequence[int]) -> list[Ints]:
        """Return the rows that are not open by begin, those of about one length together.

        Parameters
        ----------
        lengths
            Parts of the whole time: rows that stood no longer than the first come first.
        """
        rows = self._in_time(np.flatnonzero(~self.open))
        span = int(np.ptp(self.system_from)) if self.rows else 0
        length = self.system_to[rows] - self.system_from[rows]
        kind = np.searchsorted([span // part for part in lengths], length, side="left")
        return [rows[kind == number] for number in range(len(lengths) + 1)]

    def standing(self) -> Ints:
        """Return the open rows, by begin."""
        return self._in_time(np.flatnonzero(self.open))

    def _in_time(self, rows: Ints) -> Ints:
        """Return rows by begin, those of one moment by position."""
        sorted_rows: Ints = rows[np.argsort(self.position[rows])]
        if np.all(np.diff(self.system_from[sorted_rows]) >= 0):
            return sorted_rows  # as ever, but where a clock went back
        return rows[np.lexsort((self.position[rows], self.system_from[rows]))]

    def schema(self, names: Sequence[str]) -> pa.Schema:
        """Return the names and types of columns."""
        return pa.schema([(name, self._looked_up[name][0].type) for name in names])

    def batches(self, names: Sequence[str], rows: Ints) -> Iterator[pa.RecordBatch]:
        """Yield columns of some rows, in their order, a row group at a time."""
        for start in range(0, len(rows), GROUP_ROWS):
            some = rows[start : start + GROUP_ROWS]
            here = pa.array(some)
            arrays = {}
            for name in names:
                values, places = self._looked_up[name]
                if places is None:
                    wanted = here
                else:
                    found = places[some]
                    wanted = pa.array(found, mask=found < 0)
                arrays[name] = pc.take(values, wanted, boundscheck=False)
            yield pa.RecordBatch.from_pydict(arrays)

    def table(self) -> pa.Table:
        """Return all columns of all rows."""
        names = [*self._looked_up]
        return pa.Table.from_batches(
            list(self.batches(names, np.arange(self.rows))), self.schema(names)
        )

    def _begins(self) -> Bools:
        """Return for each row whether a stream begins with it."""
        begins = np.ones(self.rows, dtype=bool)
        if self.rows > 1:
            streams = _whole(self._table.column("stream"))
            differ = pc.not_equal(streams.slice(1), streams.slice(0, self.rows - 1))
            begins[1:] = differ.to_numpy(zero_copy_only=False)
        return begins

    def _int64(self, name: str, none: int = 0) -> Ints:
        """Return a column of whole numbers or instants, and `none` where it has nothing."""
        values = _whole(self._table.column(name)).cast(pa.int64()).fill_null(none)
        numbers: Ints = values.to_numpy(zero_copy_only=False)
        return numbers

    def _times(self, begins: Bools) -> None:
        known = self._int64("known")
        if self.rows and np.any((np.diff(known) < 0) & ~begins[1:]):
            # A clock that went back: what was known stays known.
            values, codes = np.unique(known, return_inverse=True)
            streams = np.cumsum(begins, dtype=np.int64) * len(values)
            known = values[np.maximum.accumulate(streams + codes) - streams]
        kind = self._table.schema.field("known").type
        self.system_from = known
        self.system_to = np.append(known[1:], _INT64)[: self.rows]
        self.system_to[self.open] = _INT64
        following = np.append(self.position[1:], 0)[: self.rows]
        for name, numbers in (("system_to", self.system_to), ("next_position", following)):
            array = pa.array(numbers, pa.int64(), mask=self.open)
            self._looked_up[name] = (array.cast(kind) if name == "system_to" else array, None)
        self._looked_up["system_from"] = (pa.array(known, pa.int64()).cast(kind), None)

    def _count(self, begins: Bools, number: int) -> None:
        """Number the aggregates, count their rows, and note the ages of their fields."""
        key, *words = ages.names(self._fold)
        carried = f"was_{key}" in self._table.column_names
        of = ages.counted(begins, number, self._int64(f"was_{key}", -1) if carried else None)
        self.fresh, self.longest = of.fresh, of.longest
        fields = (f"f{place}" for place in range(len(self._fold.fields)))
        changes = (self._changes(name, begins) for name in ("ended", *fields))
        before = [self._int64(f"was_{word}") for word in words] if carried else []
        found = (of.keys, *ages.packed(begins, changes, before))
        for name, values in zip((key, *words), found, strict=True):
            self._looked_up[name] = (pa.array(values), None)

    def _changes(self, name: str, begins: Bools) -> Ints:
        """Return the rows whose value differs from that in the row before of their stream."""
        values, places = self._looked_up[name]
        if places is None:
            differ = distinct(values.slice(1), values.slice(0, max(self.rows - 1, 0)))
            return np.flatnonzero(differ & ~begins[1:]) + 1
        # Said anew, it may still be what it was.
        rows = np.flatnonzero((places[1:] != places[:-1]) & ~begins[1:]) + 1
        now, before = (
            values.take(pa.array(at, mask=at < 0)) for at in (places[rows], places[rows - 1])
        )
        return rows[distinct(now, before)]

    def _fold_field(self, number: int, field: Field, first: Ints, ended: Bools | None) -> None:
        """Note where the values of a field are.

        Parameters
        ----------
        first
            For each row the first row of the life of its stream.
        ended
            Rows at which a field with a default has no value.
        """
        name = f"f{number}"
        if not _by_number(field):
            self._looked_up[name] = (_whole(self._table.column(name)), None)
            return
        said = _whole(self._table.column(f"said_{number}"))
        ended = None if field.default == "NULL" else ended
        if field.kind == "sum":
            default = _whole(self._defaults.column(f"d{number}"))
            self._looked_up[name] = (_sums(said, default, first, ended), None)
            return
        if field.kind == "whole":
            self._looked_up[name] = (said, None)
            return
        told = (
            _truths(self._table.column(f"told_{number}"))
            if field.boxed
            else said.is_valid().to_numpy(zero_copy_only=False)
        )
        here = np.arange(self.rows)
        if field.kind == "latest":
            places = np.maximum.accumulate(np.where(told, here, -1))
            missing = places < first
        else:
            after = np.where(told, here, self.rows)[::-1]
            places = np.minimum.accumulate(after)[::-1][first]
            missing = places > here
        if field.default == "NULL":
            places[missing] = -1
        else:
            # Behind the rows stands what is there before anything is said.
            default = _whole(self._defaults.column(f"d{number}"))
            said = pa.concat_arrays([said, default.cast(said.type)])
            places[missing if field.kind == "latest" else ...] = self.rows
        if ended is not None:
            places[ended] = -1
        self._looked_up[name] = (said, places)


def folded(
    cursor: duckdb.DuckDBPyConnection,
    fold: Fold,
    source: str,
    *,
    carry: bool = False,
    number: int = 0,
) -> Columns | None:
    """Return the states after each row of a source, None where SQL has to make them.

    Parameters
    ----------
    source, carry
        As in `esnb.timeline.pipeline.every_sql`.
    number
        That of the first new aggregate.
    """
    windowed = {number for number, field in enumerate(fold.fields) if not _by_number(field)}
    kept = [f"was_{name}" for name in ages.names(fold)] if carry else []
    sql = said_sql(fold, source, windowed, kept, carry=carry)
    reader = cursor.execute(sql).to_arrow_reader(_BATCH)
    schema, batches, size = reader.schema, [], 0
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > MOST_BYTES:
            return None
    values = ", ".join(
        f"{stored(field.type, f'CAST({field.default} AS {field.type})')} AS d{number}"
        for number, field in enumerate(fold.fields)
    )
    defaults = cursor.execute(f"SELECT {values or '1 AS one'}").to_arrow_table()
    try:
        return Columns(fold, pa.Table.from_batches(batches, schema), defaults, number)
    except (_UnfitError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _by_number(field: Field) -> bool:
    """Tell whether the states of a field follow from row numbers, or sums of whole numbers."""
    if field.kind == "sum":
        return field.type.upper().startswith(("BIGINT", "DECIMAL"))
    return field.kind not in ("min", "max")


def _sums(said: pa.Array, default: pa.Array, first: Ints, ended: Bools | None) -> pa.Array:
    """Return the sums of what was said in this life of the stream so far."""
    steps, start = _units(said, default.type), _units(default, default.type)
    if len(steps) and float(np.abs(steps.astype(np.float64)).sum()) + abs(start[0]) > _INT64 // 2:
        raise _UnfitError
    total = np.cumsum(steps)
    before = total - steps
    sums = total - before[first] + start[0] if len(steps) else steps
    mask = ended if ended is not None else None
    if not pa.types.is_decimal(default.type):
        return pa.array(sums, default.type, mask=mask)
    if len(sums) and np.abs(sums).max() >= 10**default.type.precision:
        raise _UnfitError
    words = np.empty((len(sums), 2), dtype=np.int64)
    words[:, 0], words[:, 1] = sums, sums >> 63
    valid = None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little"))
    return pa.Array.from_buffers(default.type, len(sums), [valid, pa.py_buffer(words)])


def _units(values: pa.Array, kind: pa.DataType) -> Ints:
    """Return numbers in units of the last digit of `kind`, nulls as 0."""
    if pa.types.is_integer(kind) and pa.types.is_integer(values.type):
        numbers: Ints = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return numbers
    if not (pa.types.is_decimal128(kind) and pa.types.is_decimal128(values.type)):
        raise _UnfitError
    if values.type.scale != kind.scale:
        values = values.cast(pa.decimal128(38, kind.scale))
    words = np.frombuffer(values.buffers()[1], dtype=np.int64)
    words = words.reshape(-1, 2)[values.offset : values.offset + len(values)]
    low = words[:, 0]
    if values.null_count:
        valid = values.is_valid().to_numpy(zero_copy_only=False)
        low, high = np.where(valid, low, 0), np.where(valid, words[:, 1], 0)
    else:
        high = words[:, 1]
    if not np.array_equal(low >> 63, high):
        raise _UnfitError
    return low


def _whole(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # more text than one array takes
        raise _UnfitError
    return array


def _truths(column: pa.ChunkedArray) -> Bools:
    truths: Bools = _whole(column).fill_null(False).to_numpy(zero_copy_only=False)
    return truths
