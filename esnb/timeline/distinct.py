"""Which values of two Arrow arrays differ, as ``IS DISTINCT FROM`` of DuckDB says it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb.timeline.ranks import Bools

__all__ = ["comparable", "distinct"]

# Types of which two values are the same exactly where what stands for them in a file is the same.
# An interval of a month is one of thirty days, and -0.0 as text is not 0.0.
_COMPARABLE = {
    "varchar", "boolean", "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint",
    "usmallint", "uinteger", "ubigint", "uhugeint", "double", "decimal", "date", "time",
    "timestamp", "timestamp with time zone", "uuid", "blob",
}  # fmt: skip


@lru_cache(maxsize=1024)
def comparable(kind: str, *, as_text: bool) -> bool:
    """Tell whether `distinct` can compare values of a DuckDB type, that stand there as text."""
    return _comparable(duckdb.sqltype(kind), as_text=as_text)


def _comparable(kind: Any, *, as_text: bool) -> bool:
    if kind.id in ("list", "map", "struct"):
        return all(_comparable(child, as_text=as_text) for _, child in kind.children)
    return kind.id in _COMPARABLE and not (as_text and kind.id == "double")


def distinct(a: pa.Array, b: pa.Array) -> Bools:
    """Return for each place whether two arrays of one type differ there; NULL is a value."""
    known_a, known_b = _truths(a.is_valid()), _truths(b.is_valid())
    found = np.not_equal(known_a, known_b)
    both = known_a & known_b
    if pa.types.is_nested(a.type):
        rows = np.flatnonzero(both)
        found[rows] = _nested(a.take(pa.array(rows)), b.take(pa.array(rows)))
        return found
    differ = _truths(pc.not_equal(a, b).fill_null(False))
    if pa.types.is_floating(a.type):
        differ &= ~_truths(pc.and_(pc.is_nan(a), pc.is_nan(b)).fill_null(False))
    found |= differ
    return found


def _nested(a: pa.Array, b: pa.Array) -> Bools:
    """Return where two arrays of structs, lists or maps differ, none of which is NULL."""
    found: Bools = np.zeros(len(a), dtype=bool)
    if pa.types.is_struct(a.type):
        for number in range(a.type.num_fields):
            found |= distinct(a.field(number), b.field(number))
        return found
    a, b = _as_list(a), _as_list(b)
    lengths = a.value_lengths().to_numpy(zero_copy_only=False)
    found |= lengths != b.value_lengths().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(~found)
    of = np.repeat(rows, lengths[rows])
    wanted = pa.array(rows)
    found[of[distinct(a.take(wanted).flatten(), b.take(wanted).flatten())]] = True
    return found


def _as_list(values: pa.Array) -> pa.Array:
    if not pa.types.is_map(values.type):
        return values
    pairs = pa.StructArray.from_arrays([values.keys, values.items], ["key", "value"])
    return pa.ListArray.from_arrays(values.offsets, pairs)


def _truths(values: pa.Array) -> Bools:
    truths: Bools = values.to_numpy(zero_copy_only=False)
    return truths
