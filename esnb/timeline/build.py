"""Making the rows of a store: from nothing, or going on from the open rows.

Streams are taken in ranges of about a million rows: memory stays bounded, and the log's
files, which are sorted by stream, are read once.  The rows of all ranges are then merged by
time (`esnb.timeline.runs`).  Where rows are there already, only the events since are read; a
stream that they touch goes on from its open row, which stands for all rows before it
(`esnb.timeline.pipeline`) and is closed by that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from esnb.duck import interruptible
from esnb.errors import TimelineError
from esnb.progress import bar
from esnb.timeline import ages, cube
from esnb.timeline.columns import Columns, folded
from esnb.timeline.fold import CARRIED, Fold
from esnb.timeline.moment import NEVER
from esnb.timeline.parts import (
    GROUP_ROWS,
    read_sql,
    restored,
    selected,
    stored,
    write_batches,
    write_files,
    write_part,
)
from esnb.timeline.pipeline import every_sql, sided, system_rows
from esnb.timeline.ranks import Ints
from esnb.timeline.runs import Runs
from esnb.timeline.state import Part, State
from esnb.timeline.table import OWN, Table
from esnb.timeline.text import literal

__all__ = ["built", "extended", "interval_sql", "one_row", "reading"]

_RANGE = 1_000_000
# And of about as many bytes of payloads.
_RANGE_BYTES = 500_000_000
_SAMPLES = 200
# Closed rows are sorted apart when they stood for at most this part of the whole time, or longer.
_LENGTHS = (512, 64, 8)
# As many small files of a kind become one.
_MERGED = 16
# A file of more open rows than this is not merged with others.
_LARGE = 100_000
# Open rows that are open no more are left out of the files when they are more than this, and
# more than an eighth of them all.
_MANY_GONE = 50_000
# Names and types of columns, and record batches of them.
_Rows = tuple[pa.Schema, Iterable[pa.RecordBatch]]
_STATES, _NEW, _CARRY, _GONE = "_esnb_states", "_esnb_new", "_esnb_carry", "_esnb_gone"


def interval_sql(fold: Fold) -> str:
    """Return the SELECT over ``events`` that the rows follow from, for people to read.

    What sides add comes from a table ``rows``, since it is computed outside of SQL.
    """
    return every_sql(fold, "rows" if fold.sides else f"({system_rows(fold)})")


@interruptible()
def built(cursor: duckdb.DuckDBPyConnection, fold: Fold, folder: Path, next_position: int) -> State:
    """Write all rows of `fold` to files in `folder`.

    Parameters
    ----------
    cursor
        Cursor that knows ``events`` up to `next_position`.

    Raises
    ------
    TimelineError
        If a value does not fit the type declared for its field.
    """
    work = _Work(cursor, fold, folder, None)
    with reading():
        work.take(work.ranges("true"), "folding events")
    return State(
        next_position,
        anchor(cursor, next_position),
        work.slots,
        tuple(work.closed),
        tuple(work.open),
        numbers=work.numbers,
        longest=work.longest,
    )


@interruptible()
def extended(cursor: duckdb.DuckDBPyConnection, table: Table, next_position: int) -> State:
    """Write what the events since add to `table`, and return the state of both.

    Raises
    ------
    TimelineError
        If a value does not fit the type declared for its field.
    """
    before = table.state
    work = _Work(cursor, table.fold, table.folder, table)
    with reading():
        ranges = work.ranges(f"e.position >= {before.next_position}")
        if not ranges:
            return replace(
                before, next_position=next_position, anchor=anchor(cursor, next_position)
            )
        work.take(ranges, "folding new events")
        gone = work.gone(before)
        cubes = {name: part and work.cube(name, part) for name, part in before.cubes.items()}
    state = before.after(
        next_position=next_position,
        anchor=anchor(cursor, next_position),
        slots=work.slots,
        closed=(*before.closed, *(part for part in work.closed if part.rows)),
        open=(*before.open, *(part for part in work.open if part.rows)),
        gone=gone,
        numbers=work.numbers,
        longest=work.longest,
        cubes=cubes,
    )
    return _merged(cursor, replace(table, state=state))


def anchor(cursor: duckdb.DuckDBPyConnection, next_position: int) -> str | None:
    """Return the id of the last event before a position, None if there is none."""
    rows = cursor.execute(
        "SELECT e.event_id FROM events AS e WHERE e.position = ?", [next_position - 1]
    ).fetchall()
    return str(rows[0][0]) if rows else None


@contextmanager
def reading() -> Iterator[None]:
    """Say what is wrong where a value does not fit its type."""
    try:
        yield
    except (
        duckdb.ConversionException,
        duckdb.InvalidInputException,
        duckdb.OutOfRangeException,
    ) as error:
        reason = str(error).splitlines()[0]
        raise TimelineError(
            f"a payload does not fit the type declared for its field: {reason}. "
            "Declare another type, or name the field without one"
        ) from error


def one_row(cursor: duckdb.DuckDBPyConnection, sql: str, *values: object) -> tuple[Any, ...]:
    """Return the one row of an aggregate query."""
    (row,) = cursor.execute(sql, list(values)).fetchall()
    return row


@dataclass
class _Work:
    """Folds ranges of streams, one after the other, into files."""

    cursor: duckdb.DuckDBPyConnection
    fold: Fold
    folder: Path
    before: Table | None

    def __post_init__(self) -> None:
        self.closed: list[Part] = []
        self.open: list[Part] = []
        self._ages = ages.names(self.fold)
        if self.before is None:
            self.slots = self.numbers = 0
            self.longest = 0 if self._ages else None
        else:
            state = self.before.state
            self.slots, self.numbers, self.longest = state.slots, state.numbers, state.longest
        self._level = 9 if self.before is None else 0
        self._cubes = [] if self.before is None else list(self.before.state.cubes)
        # Of each class of closed rows, and of the open ones, where there are several ranges.
        self._runs: tuple[Runs, ...] = ()
        self.cursor.execute(f"CREATE OR REPLACE TEMP TABLE {_GONE} (slot BIGINT)")
        for number in range(len(self._cubes)):
            self.cursor.execute(f"DROP TABLE IF EXISTS temp.{cube.changes_table(number)}")

    def ranges(self, where: str) -> list[str]:
        """Return conditions over ``e`` that divide the rows for which `where` holds."""
        rows = f"({self.fold.rows})"
        (count,) = one_row(
            self.cursor,
            f"SELECT count(*) FROM {rows} AS e WHERE {where}",  # noqa: S608 (our own text)
        )
        (size,) = one_row(
            self.cursor,
            f"SELECT coalesce(avg(strlen(e.data)), 0) FROM events AS e WHERE {where}"  # noqa: S608
            " AND hash(e.position) % 61 = 0",
        )
        number = max(-(-count // _RANGE), int(count * size // _RANGE_BYTES))
        if number <= 1:
            return [where] if count or self.before is None else []
        rate = max(1, count // (number * _SAMPLES))
        steps = ", ".join(str(i / number) for i in range(1, number))
        (bounds,) = one_row(
            self.cursor,
            f"SELECT quantile_disc(e.stream, [{steps}]) FROM {rows} AS e"  # noqa: S608
            f" WHERE {where} AND hash(e.position) % {rate} = 0",
        )
        between = [literal(bound) for bound in sorted(set(bounds or ()))]
        below = ["true", *(f"e.stream >= {bound}" for bound in between)]
        above = [*(f"e.stream < {bound}" for bound in between), "true"]
        return [f"{where} AND {low} AND {high}" for low, high in zip(below, above, strict=True)]

    def take(self, ranges: Sequence[str], what: str) -> None:
        """Fold ranges of rows, `what` being said of it, and write the files."""
        with ExitStack() as stack, bar(None, len(ranges), " parts", what, delay=1.5) as step:
            if len(ranges) > 1:
                runs = (Runs(self.folder) for _ in range(len(_LENGTHS) + 2))
                self._runs = tuple(stack.enter_context(one) for one in runs)
            for where in ranges:
                self._take(where)
                step(1)
            if self._runs:
                *closed, standing = self._runs
                rows = chain.from_iterable(one.merged() for one in closed)
                self._write((closed[0].schema, rows), (standing.schema, standing.merged()))

    def _take(self, where: str) -> None:
        """Fold the rows for which `where` holds: all, or all new ones, of some streams."""
        fold, carry = self.fold, None
        if self.before is not None:
            self.cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE {_NEW} AS"  # noqa: S608 (our own text)
                f" SELECT e.* FROM ({fold.rows}) AS e WHERE {where}"
            )
            fold, where, carry = replace(fold, rows=f"FROM {_NEW}"), "true", _CARRY
            self._carry(self.before)
        rows = f"({system_rows(fold, where, carry, self._ages)})"
        source = sided(self.cursor, fold, rows, carry=carry is not None)
        columns = folded(self.cursor, fold, source, carry=carry is not None, number=self.numbers)
        self._note_ages(columns)
        if columns is None:
            every = every_sql(fold, source, carry=carry is not None)
            self.cursor.execute(f"CREATE OR REPLACE TEMP TABLE {_STATES} AS {every}")
            made = self._from_sql()
        else:
            made = self._from_columns(columns)
        if self._runs:
            for runs, rows_of in zip(self._runs, made, strict=True):
                runs.add(*rows_of())
        else:
            *closed, standing = made
            schema, first = closed[0]()
            others = chain.from_iterable(rows_of()[1] for rows_of in closed[1:])
            self._write((schema, chain(first, others)), standing)
        self._note_changes(columns)
        for name in (_STATES, _NEW, _CARRY):
            self.cursor.execute(f"DROP TABLE IF EXISTS temp.{name}")

    def _note_ages(self, columns: Columns | None) -> None:
        """Note whether the ages of all rows are known by now, and what they take."""
        if columns is None:
            self.longest = None
            return
        self.numbers += columns.fresh
        if self.longest is not None:
            self.longest = max(self.longest, columns.longest)

    def _note_changes(self, columns: Columns | None) -> None:
        """Note what the new states change of the cubes."""
        if not self._cubes:
            return
        if columns is not None:
            self.cursor.register(_STATES, columns.table())
        since = self.before.state.next_position if self.before else 0
        for number, name in enumerate(self._cubes):
            cube.note_changes(self.cursor, self.fold, name, number, _STATES, since)
        if columns is not None:
            self.cursor.unregister(_STATES)

    def _from_columns(self, columns: Columns) -> list[Callable[[], _Rows]]:
        """Return what `_from_sql` does, from columns in memory."""
        states = [f"f{number}" for number in range(len(self.fold.fields))]
        memory = [name for name, _ in self.fold.memory]
        closed = [*OWN, *self._ages, *states]
        standing = [*CARRIED, "system_from", "ended", *self._ages, *states, *memory]

        def read(names: list[str], rows: Ints) -> _Rows:
            return columns.schema(names), columns.batches(names, rows)

        return [
            *(partial(read, closed, rows) for rows in columns.closed(_LENGTHS)),
            partial(read, standing, columns.standing()),
        ]

    def _carry(self, before: Table) -> None:
        names = (*CARRIED, "system_from", "ended", "slot", *self._ages)
        own = ", ".join(f"t.{name}" for name in names)
        kinds = [(f"f{i}", field.type) for i, field in enumerate(self.fold.fields)]
        states = "".join(
            f", {restored(kind, f't.{name}')} AS {name}"
            for name, kind in (*kinds, *self.fold.memory)
        )
        self.cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE {_CARRY} AS SELECT {own}{states}"  # noqa: S608
            f" FROM {before.open_rows()} AS t SEMI JOIN {_NEW} AS n ON n.stream = t.stream"
        )
        self.cursor.execute(f"INSERT INTO {_GONE} SELECT slot FROM {_CARRY}")  # noqa: S608

    def _from_sql(self) -> list[Callable[[], _Rows]]:
        """Return what makes the closed rows, class by class, and the open ones: in this order."""
        states = "".join(f", NULL::BIGINT AS {name}" for name in self._ages)
        states += "".join(
            f", {stored(field.type, f't.f{i}')} AS f{i}" for i, field in enumerate(self.fold.fields)
        )
        closed = ", ".join(f"t.{name}" for name in OWN)
        rows = f"SELECT {closed}{states} FROM {_STATES} AS t WHERE t.next_position IS NOT NULL"  # noqa: S608
        (span,) = one_row(
            self.cursor,
            "SELECT coalesce(epoch_us(max(t.system_from)) - epoch_us(min(t.system_from)), 0)"  # noqa: S608
            f" FROM {_STATES} AS t",
        )
        own = ", ".join(f"t.{name}" for name in (*CARRIED, "system_from", "ended"))
        memory = "".join(
            f", {stored(kind, f't.{name}')} AS {name}" for name, kind in self.fold.memory
        )
        standing = (
            f"SELECT {own}{states}{memory} FROM {_STATES} AS t"  # noqa: S608 (our own text)
            " WHERE t.next_position IS NULL ORDER BY t.system_from, t.position"
        )
        return [partial(self._read, sql) for sql in (*_by_length(rows, span), standing)]

    def _read(self, sql: str) -> _Rows:
        reader = self.cursor.execute(sql).to_arrow_reader(GROUP_ROWS)
        return reader.schema, reader

    def _write(self, closed: _Rows, standing: _Rows | Callable[[], _Rows]) -> None:
        """Write closed rows and open ones."""
        self.closed += write_files(
            *closed, self.folder, "closed", fold=self.fold, level=self._level
        )
        schema, batches = standing() if callable(standing) else standing
        part = write_batches(
            _as_open(schema.empty_table(), 0).schema,
            _all_open(batches, self.slots),
            self.folder,
            "open",
            fold=self.fold,
            level=self._level,
            packed=False,
        )
        self.open.append(part)
        self.slots += part.rows

    def gone(self, before: State) -> Part | None:
        """Write the slots of all open rows that are open no more."""
        if before.gone is not None:
            old = read_sql(self.folder, (before.gone,))
            self.cursor.execute(f"INSERT INTO {_GONE} SELECT slot FROM {old}")  # noqa: S608
        slots = f"SELECT slot FROM {_GONE} ORDER BY slot"  # noqa: S608 (our own text)
        part = write_part(self.cursor, slots, self.folder, "gone")
        return part if part.rows else None

    def cube(self, name: str, part: Part) -> Part | None:
        """Write the counts of a column, with what the new rows changed of them."""
        return cube.grown(self.cursor, self.folder, part, self._cubes.index(name))


def _all_open(batches: Iterable[pa.RecordBatch], first: int) -> Iterator[pa.RecordBatch]:
    """Yield batches as `_as_open` returns them, their rows numbered from `first` on."""
    for batch in batches:
        yield _as_open(batch, first)
        first += batch.num_rows


def _as_open(rows: Any, first: int) -> Any:
    """Return rows, which open rows become, that end never and have numbers of their own."""
    never = pa.repeat(pa.scalar(NEVER), rows.num_rows)
    end = never.cast(rows.schema.field("system_from").type)
    numbers = pa.array(np.arange(first, first + rows.num_rows))
    for name, values in (("system_to", end), ("next_position", never), ("slot", numbers)):
        rows = rows.append_column(name, values)
    return rows


def _by_length(rows: str, span: int) -> list[str]:
    """Return SELECTs of closed rows, by the length of their intervals and then by begin.

    One long interval among short ones would have its row group read for every instant in it.
    Where intervals are of about one length, only those that began shortly before are.

    Parameters
    ----------
    rows
        SELECT that ends in a condition on ``t``.
    span
        Microseconds between the first begin and the last.
    """
    length = "epoch_us(t.system_to) - epoch_us(t.system_from)"
    bounds = [span // part for part in _LENGTHS]
    above = ["true", *(f"{length} > {bound}" for bound in bounds)]
    below = [*(f"{length} <= {bound}" for bound in bounds), "true"]
    return [
        f"{rows} AND {low} AND {high} ORDER BY t.system_from, t.position"
        for low, high in zip(above, below, strict=True)
    ]


def _merged(cursor: duckdb.DuckDBPyConnection, table: Table) -> State:
    """Make one file of many small ones, and leave out of the open ones what is gone."""
    state, folder = table.state, table.folder
    for level in range(9):
        small = tuple(part for part in state.closed if part.level == level)
        if len(small) >= _MERGED:
            known = [at for part in small for at in part.known or ()]
            rows = f"SELECT * FROM {read_sql(folder, small)} AS t WHERE true"  # noqa: S608
            span = max(known, default=0) - min(known, default=0)
            larger = write_files(
                *selected(cursor, _by_length(rows, span)),
                folder,
                "closed",
                fold=table.fold,
                level=min(level + 1, 8),
            )
            kept = tuple(part for part in state.closed if part not in small)
            state = replace(state, closed=(*kept, *larger))
    standing = sum(part.rows for part in state.open)
    gone = state.gone.rows if state.gone is not None else 0
    small = tuple(part for part in state.open if part.level < 9)
    many_gone = gone > max(standing // 8, _MANY_GONE)
    if len(small) >= _MERGED or many_gone:
        # Large files are written anew only when enough of their rows are gone.
        state = _without_gone(cursor, replace(table, state=state), small, rewrite_large=many_gone)
    return state


def _without_gone(
    cursor: duckdb.DuckDBPyConnection,
    table: Table,
    small: tuple[Part, ...],
    *,
    rewrite_large: bool,
) -> State:
    state, folder, fold = table.state, table.folder, table.fold

    def standing(parts: tuple[Part, ...]) -> str:
        return f"SELECT t.* FROM {table.rows((), parts)} AS t"  # noqa: S608 (our own text)

    large = tuple(part for part in state.open if part not in small)
    order = " ORDER BY t.system_from, t.stream"
    level = 9 if sum(part.rows for part in small) > _LARGE else 0
    made = [
        write_part(
            cursor, standing(parts) + order, folder, "open", fold=fold, level=level, packed=False
        )
        for parts in ((small,) if small else ())
    ]
    if not rewrite_large:
        gone = state.gone
        if gone is not None:
            left = (
                f"SELECT g.slot FROM {read_sql(folder, (gone,))} AS g"  # noqa: S608 (our own text)
                f" ANTI JOIN {read_sql(folder, small)} AS t ON t.slot = g.slot ORDER BY g.slot"
            )
            gone = write_part(cursor, left, folder, "gone")
        return replace(
            state, open=(*large, *made), gone=gone if gone is not None and gone.rows else None
        )
    anew = [
        write_part(
            cursor, standing((part,)) + order, folder, "open", fold=fold, level=9, packed=False
        )
        for part in large
    ]
    return replace(state, open=(*anew, *made), gone=None)
