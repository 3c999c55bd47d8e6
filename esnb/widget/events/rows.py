"""Rows of a table by their number: what a table of any length asks for, a page at a time.

An order of rows is an array of their numbers.  It is worked out in DuckDB, and pages are taken
from it by place: sorting ten million rows moves ten million numbers, and no row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from esnb.duck import interruptible
from esnb.errors import QueryError, shown
from esnb.query import gate
from esnb.sqltext import literal, quote

__all__ = ["KINDS", "Filter", "Ints", "Order", "Rows", "nearest"]

Ints = npt.NDArray[np.int64]
KINDS = ("contains", "is", "is not")
# Texts with no more different values than this are sorted by the number of their value.
_FEW, _SAMPLE, _FEW_OF_SAMPLE = 60_000, 20_000, 2_000
_NUMBER, _SORTED, _CODE, _VALUE = "_esnb_number", "_esnb_sorted", "_esnb_code", "_esnb_value"


class Filter(NamedTuple):
    """A condition on a column, of which no part is SQL.

    Attributes
    ----------
    column
        Its name; None for any of those that are shown.
    kind
        ``"contains"`` (in any case of letters), ``"is"`` or ``"is not"``.
    value
        The value as it is shown; None for a missing one.
    """

    column: str | None
    kind: str
    value: str | None


@dataclass(frozen=True, eq=False)
class Order:
    """Rows in an order.

    Attributes
    ----------
    numbers
        Numbers of the rows, or None for all of them as they come.
    count
        How many there are.
    """

    numbers: Ints | None
    count: int

    def part(self, first: int, count: int) -> Ints:
        """Return the numbers of `count` rows from a place on."""
        last = max(first, min(first + count, self.count))
        if self.numbers is None:
            return np.arange(first, last, dtype=np.int64)
        return self.numbers[first:last].astype(np.int64)

    def place(self, number: int) -> int | None:
        """Return where a row stands, None if it is not among them."""
        if self.numbers is None:
            return number if 0 <= number < self.count else None
        found = np.flatnonzero(self.numbers == number)
        return int(found[0]) if len(found) else None


class Rows:
    """A table of DuckDB whose rows are numbered from 0.

    Attributes
    ----------
    table, number
        Name of the table on a cursor, and of the column that numbers its rows.
    names, types
        Its columns, and what DuckDB calls their types.
    total
        How many rows there are.
    zone
        Zone in which times are shown.
    """

    table: str
    number: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    total: int
    zone: str

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a cursor of the caller's own, on which the table is."""
        raise NotImplementedError

    def take(self, numbers: Ints, names: Sequence[str]) -> pa.Table:
        """Return columns of some rows, in the order of `numbers`."""
        raise NotImplementedError

    # --- conditions --------------------------------------------------------------------------

    def checked(self, text: str) -> str:
        """Return a condition that an analyst wrote, if it is one.

        Raises
        ------
        QueryError
            If the gate refuses it, or it is no condition on a row.
        """
        if not isinstance(text, str):
            raise QueryError(f"where={shown(text)}: say an SQL condition on the columns")
        cursor = self.cursor()
        # Alone as well as in brackets, so that it cannot close these.
        for one in (f"({text}\n)", f"{text}\n"):
            gate.check(cursor, f"SELECT {one} FROM {self.table}")  # noqa: S608 (looked at, not run)
        try:
            # Bound, and not run.
            kinds = list(map(str, cursor.sql(f"SELECT ({text}\n) FROM {self.table} AS e").types))  # noqa: S608
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise QueryError(f"{shown(text)} is no condition on a row: {reason}") from None
        if kinds != ["BOOLEAN"]:
            raise QueryError(f"{shown(text)} is no condition on a row: it gives {kinds[0]}")
        return f"({text}\n)"

    def condition(self, one: Filter, among: Iterable[str]) -> str:
        """Return a filter as SQL over a row ``e``; `among` are the columns that None means."""
        if one.kind == "contains":
            sought = f"lower({literal(one.value or '')})"
            columns = list(among) if one.column is None else [one.column]
            each = [f"contains(lower({self._text(name)}), {sought})" for name in columns]
            return f"({' OR '.join(each)})" if each else "false"
        name = one.column or ""
        if one.value is None:
            return f"e.{quote(name)} IS {'NOT ' if one.kind == 'is not' else ''}NULL"
        sign = "=" if one.kind == "is" else "IS DISTINCT FROM"
        return f"{self._text(name)} {sign} {literal(one.value)}"

    def _text(self, name: str) -> str:
        column = f"e.{quote(name)}"
        return column if self.type_of(name) == "VARCHAR" else f"CAST({column} AS VARCHAR)"

    def type_of(self, name: str) -> str:
        """Return the type of a column."""
        return self.types[self.names.index(name)]

    # --- orders ------------------------------------------------------------------------------

    @interruptible()
    def order(
        self,
        cursor: duckdb.DuckDBPyConnection,
        conditions: Sequence[str],
        sort: str | None,
        descending: bool,
    ) -> Order:
        """Return the rows that fulfil conditions, in the order of a column.

        Rows of one value stay as they come, and missing values are last.
        """
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        source = f"FROM {self.table} AS e{where}"
        number = f"e.{self.number}"
        if sort is None:
            if not conditions:
                return Order(None, self.total)
            found = _numbers(cursor, f"SELECT {number} AS {_NUMBER} {source}")
            return _ordered(np.sort(found))
        column = f"e.{quote(sort)}"
        rows = f"SELECT {number} AS {_NUMBER}, {column} AS {_SORTED} {source}"
        if self.type_of(sort) == "VARCHAR":
            values = self._few(cursor, rows)
            if values is not None:
                return _ordered(self._by_code(cursor, rows, values, descending))
        direction = "DESC" if descending else "ASC"
        by = f" ORDER BY {_SORTED} {direction} NULLS LAST, {_NUMBER}"
        return _ordered(_numbers(cursor, f"SELECT {_NUMBER} FROM ({rows}){by}"))  # noqa: S608

    def _few(self, cursor: duckdb.DuckDBPyConnection, rows: str) -> list[str] | None:
        """Return the different texts, sorted, if they are few."""
        sql = f"SELECT count(DISTINCT {_SORTED}) FROM (SELECT * FROM ({rows}) LIMIT {_SAMPLE})"  # noqa: S608
        (many,) = cursor.execute(sql).fetchone() or (0,)
        if many > _FEW_OF_SAMPLE:
            return None
        sql = f"SELECT DISTINCT {_SORTED} FROM ({rows}) WHERE {_SORTED} IS NOT NULL"  # noqa: S608
        found = cursor.execute(f"{sql} LIMIT {_FEW + 1}").fetchall()
        return None if len(found) > _FEW else sorted(value for (value,) in found)

    def _by_code(
        self, cursor: duckdb.DuckDBPyConnection, rows: str, values: list[str], descending: bool
    ) -> Ints:
        """Return the numbers of rows in the order of texts that are few.

        Comparing millions of long texts that begin alike takes DuckDB ten times as long.
        """
        codes = np.arange(len(values), dtype=np.uint16)
        if descending:
            codes = codes[::-1]
        table = pa.table({_VALUE: pa.array(values, pa.string()), _CODE: pa.array(codes)})
        cursor.register("_esnb_codes", table)
        found = cursor.execute(
            f"SELECT r.{_NUMBER} AS n, CAST(coalesce(c.{_CODE}, {len(values)}) AS USMALLINT) AS c"  # noqa: S608
            f" FROM ({rows}) AS r LEFT JOIN _esnb_codes AS c ON r.{_SORTED} = c.{_VALUE}"
        ).fetchnumpy()
        cursor.unregister("_esnb_codes")
        # By number first: what is not there gets the last code, and a stable sort leaves it.
        by_number = np.full(self.total, np.iinfo(np.uint16).max, np.uint16)
        by_number[np.asarray(found["n"])] = np.asarray(found["c"])
        return np.argsort(by_number, kind="stable")[: len(found["n"])]

    # --- rows --------------------------------------------------------------------------------

    @interruptible()
    def texts(self, numbers: Ints, names: Sequence[str], limit: int = 0) -> list[list[str | None]]:
        """Return rows as texts, those that `Filter` compares; cut to `limit` characters.

        Numbers are given to the last digit, times in the zone of the table.
        """
        table = self.take(numbers, names)
        if not table.num_rows or not names:
            return [[] for _ in range(table.num_rows)]
        cursor = self.cursor()
        cursor.register("_esnb_page", table.rename_columns([f"c{n}" for n in range(len(names))]))
        cut = f", 1, {limit}" if limit else ", 1"
        columns = ", ".join(f"substr(CAST(c{n} AS VARCHAR){cut})" for n in range(len(names)))
        found = cursor.execute(f"SELECT {columns} FROM _esnb_page").fetchall()  # noqa: S608
        return [list(row) for row in found]


def nearest(name: object, names: Iterable[str]) -> str:
    """Return words about a column that is not there."""
    known = list(names)
    near = difflib.get_close_matches(str(name), known, 3, 0.5)
    some = f"did you mean {' or '.join(map(shown, near))}?" if near else ""
    listed = ", ".join(map(shown, known[:12])) + (", …" if len(known) > 12 else "")
    return f"there is no column {shown(name)}; {some or f'there are {listed}'}"


def _numbers(cursor: duckdb.DuckDBPyConnection, sql: str) -> Ints:
    (column,) = cursor.execute(sql).fetchnumpy().values()
    return np.asarray(column)


def _ordered(numbers: Any) -> Order:
    """Return an order, in half the memory where that is enough."""
    small = numbers.size == 0 or int(numbers.max()) < 2**31
    return Order(numbers.astype(np.int32) if small else numbers, len(numbers))
