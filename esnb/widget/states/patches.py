"""States as patches: of each row only what is different from the row before it.

Values are texts.  A long one is cut, and carries its length and a digest, so that two long
values that differ behind the cut are still two values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from esnb.sqltext import quote
from esnb.timeline.text import shown_sql

__all__ = ["LONG", "Patches", "is_json", "patches", "text_sql", "wire"]

# Characters of one value that are shipped; the rest comes when somebody asks for it.
LONG = 4000
_NESTED = ("STRUCT", "MAP", "UNION")


class Patches(NamedTuple):
    """States as patches.

    Attributes
    ----------
    base
        The values before the first row.
    rows
        For each row the fields that are different, by number, each with its value behind it.
    sizes
        For each row how many characters its values have.
    """

    base: list[Any]
    rows: list[list[Any]]
    sizes: list[int]

    def within(self, most: int, place: int) -> tuple[int, int]:
        """Return the first and the end of the rows around one that have so many characters."""
        first, end = place, min(place + 1, len(self.rows))
        left = most - sum(self.sizes[first:end])
        grown = True
        while grown:
            grown = False
            if end < len(self.rows) and self.sizes[end] <= left:
                left -= self.sizes[end]
                end += 1
                grown = True
            if first > 0 and self.sizes[first - 1] <= left:
                first -= 1
                left -= self.sizes[first]
                grown = True
        return first, end

    def part(self, first: int, end: int) -> Patches:
        """Return some of the rows, what they begin from worked out."""
        base = list(self.base)
        for row in self.rows[:first]:
            for number, value in zip(row[::2], row[1::2], strict=True):
                base[number] = value
        return Patches(base, self.rows[first:end], self.sizes[first:end])


def is_json(kind: str) -> bool:
    """Tell whether values of a DuckDB type are shipped as JSON text."""
    return kind.upper() == "JSON" or kind.endswith("]") or kind.upper().startswith(_NESTED)


def text_sql(name: str, kind: str) -> str:
    """Return SQL of a field as text, or as JSON text, cut as `wire` reads it."""
    if kind.upper() != "JSON" and is_json(kind):
        text = f"CAST(to_json({quote(name)}) AS VARCHAR)"
    else:
        text = shown_sql(quote(name), kind)
    long = f"left({text}, {LONG}) || md5({text}) || length({text})"
    return f"CASE WHEN length({text}) > {LONG} THEN {long} ELSE {text} END"


def wire(value: str | None) -> Any:
    """Return a value of `text_sql` for the browser.

    Text, null, or of a long text a list: its begin, its length, and part of its digest.
    """
    if value is None or len(value) <= LONG:
        return value
    return [value[:LONG], int(value[LONG + 32 :]), value[LONG : LONG + 12]]


def patches(table: pa.Table, before: bool) -> Patches:
    """Return the states of a table of texts as patches.

    Parameters
    ----------
    table
        A column for each field, a row for each state, values of `text_sql`.
    before
        The first row is the state before the others; otherwise there was nothing.
    """
    count = table.num_rows - before
    rows: list[list[Any]] = [[] for _ in range(count)]
    sizes = [0] * count
    base: list[Any] = []
    for number, column in enumerate(table.columns):
        first = column[0].as_py() if before else None
        base.append(wire(first))
        values = column.slice(1) if before else column
        earlier = pa.chunked_array([pa.array([first], pa.string()), *values.chunks])[:count]
        for place, value in _different(earlier, values):
            rows[place] += (number, wire(value))
            sizes[place] += 8 + min(len(value or ""), LONG)
    return Patches(base, rows, sizes)


def _different(earlier: pa.ChunkedArray, values: pa.ChunkedArray) -> Iterable[tuple[int, Any]]:
    same = pc.fill_null(pc.equal(earlier, values), False)
    none = pc.and_(pc.is_null(earlier), pc.is_null(values))
    places = pc.indices_nonzero(pc.invert(pc.or_(same, none)))
    return zip(places.to_pylist(), values.take(places).to_pylist(), strict=True)
