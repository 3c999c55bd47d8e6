"""Two states of a whole population beside each other, whatever the clocks they were taken by.

`esnb.timeline.diff` answers for two moments of the system clock, with the event behind every
difference.  This module also compares what was true with what was known, and counts and lists
first: causes are looked for in one aggregate at a time, so that a large difference is seen at
once.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import duckdb
import pyarrow as pa

from esnb.errors import TimelineError, shown
from esnb.timeline import pipeline
from esnb.timeline.bothsides import EVENT, Aggregate, Side
from esnb.timeline.diff import diff_sql
from esnb.timeline.fold import column
from esnb.timeline.moment import LATEST, moment, ordered
from esnb.timeline.read import Read
from esnb.timeline.states import as_of_sql
from esnb.timeline.text import literal, shown_sql, unknown

__all__ = ["CHANGES", "Comparison", "Listed", "Side", "side"]

CHANGES = ("added", "removed", "changed")
_NUMBERS = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
    "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
)  # fmt: skip
_PAIRS, _LISTED = "_esnb_pairs", "_esnb_listed"


def side(read: Read, when: object, zone: str | None) -> Side:
    """Read a side: a moment as `Timeline.as_of` takes it, or a pair ``(as_of, valid_at)``.

    Raises
    ------
    InstantError
        If an instant cannot be read.
    TimelineError
        If a pair is none.
    """
    if not isinstance(when, tuple | list):
        return Side(moment(when, zone))
    if len(when) != 2:
        raise TimelineError(f"{shown(when)} is no pair; say (as_of, valid_at), None for now")
    known, valid = when
    at = LATEST if known is None else moment(known, zone)
    return Side(at, None if valid is None else read.occurred(valid, zone))


class Listed:
    """A list of aggregates in its order, of which a part can be read at once.

    It lasts until the next list of its comparison is made.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, count: int) -> None:
        self._cursor = cursor
        self._count = count

    @property
    def sized(self) -> bool:
        """Whether differences of values have a size."""
        if "size" not in self._cursor.table(_LISTED).columns:
            return False
        found = self._cursor.sql(f"SELECT 1 FROM {_LISTED} WHERE size IS NOT NULL LIMIT 1")  # noqa: S608
        return found.fetchone() is not None

    def __len__(self) -> int:
        return self._count

    def rows(self, first: int, count: int) -> duckdb.DuckDBPyRelation:
        """Return `count` rows from the row `first` on, counted from 0."""
        return self._cursor.sql(
            f"SELECT l.* EXCLUDE (row) FROM {_LISTED} AS l"  # noqa: S608 (numbers)
            f" WHERE l.row > {int(first)} AND l.row <= {int(first) + int(count)} ORDER BY l.row"
        )

    def names(self) -> pa.Table:
        """Return the column ``stream`` of all of them."""
        return self._cursor.sql(f"SELECT l.stream FROM {_LISTED} AS l").to_arrow_table()  # noqa: S608


class Comparison:
    """What differs between two states of all aggregates.

    Made by `Timeline.compare`, for the log as it was then.  Its relations read what it has
    found already: read one to its end before you ask for the next.

    Attributes
    ----------
    fields
        Names of the fields that are compared.
    """

    def __init__(self, read: Read, a: Side, b: Side, *, keep: bool = True) -> None:
        self._read, self._a, self._b, self._keep = read, a, b, keep
        self._plain = a.valid is None and b.valid is None
        if self._plain:
            ordered(a.known, b.known)
        self._table = read.table
        self._types = {field.name: field.type for field in read.fold.fields}
        self.fields = tuple(self._types)
        self._cursor = read.session.fresh(read.snapshot)

    def inline(self) -> Comparison:
        """Return the same, whose relations name no table but ``events``: to show their SQL."""
        return Comparison(self._read, self._a, self._b, keep=False)

    def _size(self, field: str) -> str:
        """Return SQL of after less before: of numbers, and of amounts that are text."""
        i, kind = self._number(field), self._types[field].split("(")[0].upper()
        if kind in _NUMBERS:
            size = f"p.n{i}::DOUBLE - p.w{i}::DOUBLE"
        elif kind == "VARCHAR":
            # With a point: numbers of houses and of parcels are no amounts.
            old, new = (
                f"CASE WHEN regexp_full_match({v}, '-?[0-9]+\\.[0-9]+') THEN {v}::DOUBLE END"
                for v in (f"p.w{i}", f"p.n{i}")
            )
            size = f"{new} - {old}"
        else:
            return "NULL::DOUBLE"
        return f"(SELECT CASE WHEN isfinite(s) THEN s END FROM (SELECT {size} AS s))"  # noqa: S608 (ours)

    def population(self) -> int:
        """Return how many aggregates there are on either side."""
        if self._plain:
            standing = self._table.standing(self._a.known)
            before = f"(SELECT count(*) FROM {standing} AS t WHERE NOT t.ended)"  # noqa: S608
            added = f"(SELECT count(*) FROM {self._pairs} AS p WHERE NOT p.had)"  # noqa: S608
            return self._one(f"SELECT {before} + {added}")
        a, b = self._states(self._a), self._states(self._b)
        return self._one(
            f"SELECT count(*) FROM (SELECT a.stream FROM ({a}) AS a"  # noqa: S608 (our own)
            f" UNION SELECT b.stream FROM ({b}) AS b)"
        )

    def counts(self) -> duckdb.DuckDBPyRelation:
        """Return how many aggregates differ: ``change``, ``field``, ``streams``.

        Where ``field`` is NULL, in anything at all.
        """
        sums = "".join(
            f", count(*) FILTER (p.w{i} IS DISTINCT FROM p.n{i}) AS d{i}"
            for i in range(len(self.fields))
        )
        each = "".join(
            f"\nUNION ALL SELECT c.change, {i}, {literal(name)}, c.d{i} FROM counted AS c"  # noqa: S608
            for i, name in enumerate(self.fields)
        )
        return self._cursor.sql(f"""
WITH counted AS MATERIALIZED (
    SELECT {_CHANGE} AS change, count(*) AS streams{sums} FROM {self._pairs} AS p GROUP BY ALL
), long AS (
    SELECT c.change, -1 AS place, NULL::VARCHAR AS field, c.streams FROM counted AS c{each}
)
SELECT l.change, l.field, l.streams FROM long AS l WHERE l.streams > 0 ORDER BY l.change, l.place
""")  # noqa: S608 (identifiers quoted, constants made by `literal`)

    def streams(
        self, field: str | None = None, change: str | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Return the aggregates that differ, the largest differences first.

        Parameters
        ----------
        field
            Only those that differ in it.
        change
            Only those ``added``, ``removed`` or ``changed``.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``stream``, ``change``, ``fields`` (how many differ); with a field also ``before``
            and ``after`` as text, and ``size``: after less before, of numbers and
            of amounts that are text (``"49.90"``).
        """
        return self._cursor.sql(self._streams(field, change))

    def listed(self, field: str | None = None, change: str | None = None) -> Listed:
        """Return the same as a list that is kept, to be read page by page."""
        self._cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE {_LISTED} AS"  # noqa: S608 (our own text)
            f" SELECT row_number() OVER () AS row, l.* FROM ({self._streams(field, change)}) AS l"
        )
        return Listed(self._cursor, self._one(f"SELECT count(*) FROM {_LISTED}"))  # noqa: S608

    def _streams(self, field: str | None, change: str | None) -> str:
        differing = " + ".join(
            f"(p.w{i} IS DISTINCT FROM p.n{i})::INTEGER" for i in range(len(self.fields))
        )
        more, size = "", "NULL::DOUBLE"
        if field is not None:
            i = self._number(field)
            size = self._size(field)
            more = f', {self._text(f"p.w{i}", field)} AS "before"'
            more += f', {self._text(f"p.n{i}", field)} AS "after", {size} AS size'
        return (
            f"SELECT p.stream, {_CHANGE} AS change, {differing or '0'} AS fields{more}"  # noqa: S608
            f" FROM {self._pairs} AS p WHERE {self._chosen(field, change)}"
            f" ORDER BY abs({size}) DESC NULLS LAST, fields DESC, p.stream"
        )

    def values(self, field: str, change: str | None = None) -> duckdb.DuckDBPyRelation:
        """Return which values went over into which, the most frequent first.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``before``, ``after`` (as text), ``streams``.
        """
        i = self._number(field)
        return self._cursor.sql(
            f'SELECT {self._text(f"p.w{i}", field)} AS "before",'  # noqa: S608 (quoted)
            f' {self._text(f"p.n{i}", field)} AS "after", count(*) AS streams'
            f" FROM {self._pairs} AS p WHERE {self._chosen(field, change)}"
            ' GROUP BY ALL ORDER BY streams DESC, "before", "after"'
        )

    def rows(self, field: str | None = None, change: str | None = None) -> duckdb.DuckDBPyRelation:
        """Return all differences: one row per aggregate and field, on a cursor of its own.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``stream``, ``change``, ``field``, ``before``, ``after``; between two
            moments also the event that did it, as `Timeline.diff` has it.
        """
        wanted = ["true"]
        if field is not None:
            self._number(field)
            wanted.append(f"d.field = {literal(field)}")
        if change is not None:
            wanted.append(f"d.change = {literal(_known(change))}")
        where = " AND ".join(wanted)
        if self._plain:
            found = diff_sql(self._table, self._a.known, self._b.known)
            return self._fresh().sql(f"SELECT d.* FROM ({found}) AS d WHERE {where}")  # noqa: S608
        each = " UNION ALL ".join(
            [
                'SELECT p.*, -1 AS place, NULL::VARCHAR AS field, NULL::VARCHAR AS "before",'  # noqa: S608
                f' NULL::VARCHAR AS "after" FROM pair AS p WHERE {self._bare}'
            ]
            + [
                f"SELECT p.*, {i}, {literal(name)}, {self._text(f'p.w{i}', name)},"  # noqa: S608
                f" {self._text(f'p.n{i}', name)} FROM pair AS p"
                f" WHERE p.w{i} IS DISTINCT FROM p.n{i}"
                for i, name in enumerate(self.fields)
            ]
        )
        return self._fresh().sql(
            f"WITH pair AS MATERIALIZED (SELECT p.*, {_CHANGE} AS change"  # noqa: S608 (as above)
            f" FROM ({self._joined()}) AS p)\n"
            'SELECT d.stream, d.change, d.field, d."before", d."after"'
            f" FROM ({each}) AS d WHERE {where} ORDER BY d.stream, d.place"
        )

    def of(self, stream: str) -> pa.Table:
        """Return what differs in one aggregate, and the event that did it.

        Returns
        -------
        pyarrow.Table
            The columns of `Timeline.diff`.  On the valid clock the event is the one since which
            the field has its value on the side `b`, or, if both sides know that one, on the
            side `a`; where both know both, the last event that only one side knows.
        """
        one = self._aggregate(stream)
        found = [*one.rows()]
        kinds = {"position": pa.int64(), "occurred_on": pa.timestamp("us", "UTC")}
        names = ("stream", "change", "field", "before", "after", *EVENT)
        return pa.table(
            {
                name: pa.array([r[name] for r in found], kinds.get(name, pa.string()))
                for name in names
            }
        )

    def states(self, stream: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return one aggregate on both sides: values by field, None where it was not there."""
        one = self._aggregate(stream)
        return one.a.state, one.b.state

    def _aggregate(self, stream: str) -> Aggregate:
        return Aggregate(self._read, self._table, stream, self._a, self._b)

    # --- SQL ---------------------------------------------------------------------------------

    @cached_property
    def _pairs(self) -> str:
        """SQL of a table of the aggregates that differ: had, has, and both values of fields."""
        if self._plain:
            return f"({self._moved()})"
        if not self._keep:
            return f"({self._joined()})"
        # Both sides are folds of the events: made once.
        self._cursor.execute(f"CREATE OR REPLACE TEMP TABLE {_PAIRS} AS {self._joined()}")
        return _PAIRS

    def _moved(self) -> str:
        """Between two moments only what moved is compared."""
        a, b = self._a.known, self._b.known
        return self._sides(
            f"{self._table.moved_to(a, b)} AS n LEFT JOIN {self._table.moved_from(a, b)} AS w"
            " ON w.stream = n.stream",
            "NOT coalesce(w.ended, true)",
            "NOT n.ended",
        )

    def _joined(self) -> str:
        a, b = self._states(self._a), self._states(self._b)
        return self._sides(
            f"({a}) AS w FULL JOIN ({b}) AS n ON w.stream = n.stream",
            "w.stream IS NOT NULL",
            "n.stream IS NOT NULL",
        )

    def _sides(self, tables: str, had: str, has: str) -> str:
        names = [column(field) for field in self._read.fold.fields]
        both = "".join(f", w.{name} AS w{i}, n.{name} AS n{i}" for i, name in enumerate(names))
        differ = "".join(f" OR w.{name} IS DISTINCT FROM n.{name}" for name in names)
        return (
            f"SELECT coalesce(n.stream, w.stream) AS stream, {had} AS had, {has} AS has{both}"  # noqa: S608
            f" FROM {tables}\nWHERE ({had} OR {has}) AND (({had}) <> ({has}){differ})"
        )

    def _states(self, of: Side) -> str:
        if of.valid is None:
            return as_of_sql(self._table, of.known)
        pipeline.register(self._cursor, self._read.fold)
        return pipeline.valid_sql(self._read.fold, of.valid, of.known.reached("e"))

    @property
    def _bare(self) -> str:
        """SQL: the aggregate came or went without any field."""
        none = "".join(f" AND p.w{i} IS NULL AND p.n{i} IS NULL" for i in range(len(self.fields)))
        return f"p.had <> p.has{none}"

    def _chosen(self, field: str | None, change: str | None) -> str:
        wanted = ["true"]
        if field is not None:
            i = self._number(field)
            wanted.append(f"p.w{i} IS DISTINCT FROM p.n{i}")
        if change is not None:
            wanted.append(f"{_CHANGE} = {literal(_known(change))}")
        return " AND ".join(wanted)

    def _text(self, value: str, field: str) -> str:
        return shown_sql(value, self._types[field])

    def _number(self, field: str) -> int:
        if field not in self._types:
            raise unknown("field", field, self._types)
        return self.fields.index(field)

    def _fresh(self) -> duckdb.DuckDBPyConnection:
        return self._read.session.fresh(self._read.snapshot)

    def _one(self, sql: str) -> int:
        found = self._cursor.execute(sql).fetchone()
        return int(found[0]) if found else 0


_CHANGE = "CASE WHEN NOT p.had THEN 'added' WHEN NOT p.has THEN 'removed' ELSE 'changed' END"


def _known(change: str) -> str:
    if change not in CHANGES:
        raise unknown("change", change, CHANGES)
    return change
