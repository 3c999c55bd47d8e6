"""From rows to states: the one way, whatever the order and whichever rows.

::

    rows      what a fold folds, maybe only some of it, maybe behind carried rows
    turned    the same with `turn`, the place in the order of the fold
    sided     the same with the columns that the sides add
    states    after each row (`every_sql`), or after the last of each stream (`last_sql` on
              the valid clock, `newest_sql` on the system clock)

On the system clock rows are folded by position (`system_rows`); on the valid clock by
``occurred_on`` and position (`valid_rows`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import tee
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from esnb.query.names import quote
from esnb.timeline.fold import BOXED_NULL, CARRIED, Field, Fold, Side, column
from esnb.timeline.parts import stored

__all__ = [
    "every_sql",
    "last_sql",
    "newest_sql",
    "register",
    "said_sql",
    "settled",
    "sided",
    "system_rows",
    "valid_rows",
    "valid_sql",
]

_BATCH = 10_000
# DuckDB keeps no hold of a function beyond the cursor on which it was made.
_FUNCTIONS: dict[str, Any] = {}
_ORDERED, _ADDED = "_esnb_ordered", "_esnb_added"


def system_rows(
    fold: Fold, where: str = "true", carry: str | None = None, also: Sequence[str] = ()
) -> str:
    """Return the SELECT of the rows of `fold`, to be folded by position.

    Parameters
    ----------
    where
        SQL over ``e`` that chooses among the rows: by ``stream`` and, where `carry` stands
        for those before, by ``position``.
    carry
        Table of rows that stand for all rows before them in their streams: `CARRIED`,
        ``system_from``, ``ended``, ``f0``, ``f1``… (the state), and the memory of the
        sides by name.
    also
        Further columns of that table.

    Returns
    -------
    str
        The columns of `Fold.rows`, ``carried``, ``known`` (from when on the row counts, on
        its own), ``turn``, and of a carried row ``was_f0``…, ``was_<memory>`` and those.
    """
    if carry is None:
        return settled(
            fold,
            "SELECT e.*, false AS carried, e.recorded_on AS known, e.position AS turn\n"
            f"FROM ({fold.rows}) AS e WHERE {where}",
        )
    was = [*(f"f{i}" for i in range(len(fold.fields))), *(name for name, _ in fold.memory), *also]
    kept = "".join(f", c.{name} AS was_{name}" for name in was)
    own = ", ".join(f"c.{name}" for name in (*CARRIED, "ended"))
    return settled(
        fold,
        "SELECT e.*, false AS carried, e.recorded_on AS known, e.position AS turn\n"
        f"FROM ({fold.rows}) AS e WHERE {where}\n"
        "UNION ALL BY NAME\n"
        f"SELECT {own}, true AS carried, c.system_from AS known, c.position AS turn{kept}\n"
        f"FROM {carry} AS c",
    )


def valid_rows(fold: Fold, when: str, known: str, where: str = "true") -> str:
    """Return the SELECT of the rows that count at an instant of the valid clock.

    Parameters
    ----------
    when
        SQL of the instant.
    known
        SQL over ``e`` (``position``, ``system_from``): the row was known.
    where
        SQL over ``e`` that chooses among whole streams.

    Returns
    -------
    str
        The columns of `Fold.rows`, ``carried``, ``turn``, and ``next_on``: when the next
        known row of the stream occurred.  Rows up to the last end of their stream are left
        out: nothing of them is left.
    """
    ended = "max(e.turn) FILTER (e.ended) OVER (PARTITION BY e.stream)" if fold.ends else "NULL"
    turned = settled(
        fold,
        f"""SELECT e.*, false AS carried, row_number() OVER o AS turn,
            lead(e.occurred_on) OVER o AS next_on
        FROM (
            SELECT e.*,
                max(e.recorded_on) OVER (PARTITION BY e.stream ORDER BY e.position) AS system_from
            FROM ({fold.rows}) AS e WHERE {where}
        ) AS e WHERE {known}
        WINDOW o AS (PARTITION BY e.stream ORDER BY e.occurred_on, e.position)""",  # noqa: S608
    )
    return f"""
SELECT e.* EXCLUDE (last_end) FROM (
    SELECT e.*, {ended} AS last_end FROM (
        {turned}
    ) AS e WHERE e.occurred_on <= {when}
) AS e WHERE e.last_end IS NULL OR e.turn > e.last_end
""".strip()  # noqa: S608 (our own text)


def settled(fold: Fold, rows: str) -> str:
    """Return `rows`, which have ``turn``, with ``ended`` known where it stays as it was."""
    if not fold.pauses:
        return rows
    return (
        "SELECT e.* REPLACE (coalesce(last_value(e.ended IGNORE NULLS) OVER (PARTITION BY e.stream"
        " ORDER BY e.turn ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW), true) AS ended)\n"
        f"FROM ({rows}) AS e"
    )


def every_sql(fold: Fold, source: str, *, carry: bool = False) -> str:
    """Return the SELECT of the state after each row, and for how long it stood.

    Parameters
    ----------
    source
        Rows of `system_rows`, `sided` if the fold has sides: a table, or a SELECT in
        parentheses.
    carry
        Some of the rows are carried.

    Returns
    -------
    str
        `CARRIED`, ``system_from``, ``system_to``, ``next_position``, ``ended``, the fields
        as ``f0``, ``f1``…, then the memory of the sides; rows in no order.
    """
    carried = ", ".join(f"e.{name}" for name in CARRIED)
    memory = "".join(f", e.{name}" for name, _ in fold.memory)
    life, lives = _lives(fold)
    said = "".join(
        f",\n        {_said(fold, i, carry=carry)} AS said_{i}" for i in range(len(fold.fields))
    )
    window = "this_life" if fold.lives else "so_far"
    states = "".join(
        f",\n    {_state(fold, field, f's.said_{i}', window)} AS f{i}"
        for i, field in enumerate(fold.fields)
    )
    return f"""
WITH said AS (
    SELECT {carried}, e.ended, e.known, e.turn{life}{memory}{said}
    FROM {source} AS e
)
SELECT {", ".join(f"s.{name}" for name in CARRIED)},
    max(s.known) OVER so_far AS system_from,
    CASE WHEN lead(s.position) OVER so_far IS NOT NULL
        THEN max(s.known) OVER and_next END AS system_to,
    lead(s.position) OVER so_far AS next_position,
    s.ended{states}{"".join(f", s.{name}" for name, _ in fold.memory)}
FROM said AS s
WINDOW so_far AS (PARTITION BY s.stream ORDER BY s.turn
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
    and_next AS (PARTITION BY s.stream ORDER BY s.turn
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING){lives}
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def said_sql(
    fold: Fold,
    source: str,
    windowed: Container[int],
    also: Sequence[str] = (),
    *,
    carry: bool = False,
) -> str:
    """Return the SELECT of what each row says, in the order of the fold.

    Parameters
    ----------
    source, carry
        As in `every_sql`.
    windowed
        Numbers of the fields whose states SQL makes.
    also
        Further columns of the source.

    Returns
    -------
    str
        `CARRIED`, ``ended``, ``known``, those, the memory of the sides, and for each field its
        state ``f0``, or ``said_0``, with ``told_0`` where NULL may be said; values as they
        stand in files.
    """
    own = ", ".join(f"e.{name}" for name in (*CARRIED, "ended", "known", *also, "turn"))
    memory = "".join(f", {stored(kind, f'e.{name}')} AS {name}" for name, kind in fold.memory)
    said, shown = [], []
    for i, field in enumerate(fold.fields):
        said.append(f",\n        {_said(fold, i, carry=carry)} AS said_{i}")
        if i in windowed:
            state = _state(fold, field, f"s.said_{i}", "this_life" if fold.lives else "so_far")
            shown.append(f",\n    {stored(field.type, state)} AS f{i}")
        elif field.boxed:
            value = stored(field.type, f"struct_extract(s.said_{i}, 'v')")
            shown.append(f",\n    {value} AS said_{i}, s.said_{i} IS NOT NULL AS told_{i}")
        else:
            value = f"s.said_{i}" if field.kind == "sum" else stored(field.type, f"s.said_{i}")
            shown.append(f",\n    {value} AS said_{i}")
    life, lives = _lives(fold) if windowed else ("", "")
    names = ", ".join(f"s.{name}" for name in (*CARRIED, "ended", "known", *also))
    kept = "".join(f", s.{name}" for name, _ in fold.memory)
    return f"""
WITH said AS (
    SELECT {own}{life}{memory}{"".join(said)}
    FROM {source} AS e
)
SELECT {names}{kept}{"".join(shown)}
FROM said AS s
WINDOW so_far AS (PARTITION BY s.stream ORDER BY s.turn
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW){lives}
ORDER BY s.stream, s.turn
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def last_sql(fold: Fold, source: str) -> str:
    """Return the SELECT of the state after the last row of each stream, on the valid clock.

    Parameters
    ----------
    source
        Rows of `valid_rows` in parentheses.  Sides are run by functions of SQL, so that this
        can be the body of a macro: `register` them first.

    Returns
    -------
    str
        `CARRIED` without ``recorded_on``, ``valid_from``, ``valid_to``, and the fields
        under their names, by stream.
    """
    own = [name for name in CARRIED[1:] if name != "recorded_on"]
    for side in fold.sides:
        source = _by_function(side, source)
    said = "".join(f", {field.said} AS said_{i}" for i, field in enumerate(fold.fields))
    folded = "".join(
        f",\n    {field.aggregated(f's.said_{i}', 's.turn')} AS {column(field)}"
        for i, field in enumerate(fold.fields)
    )
    return f"""
WITH said AS (
    SELECT e.stream, {", ".join(f"e.{name}" for name in own)}, e.turn, e.next_on{said}
    FROM {source} AS e
)
SELECT s.stream, {", ".join(f"arg_max_null(s.{name}, s.turn) AS {name}" for name in own)},
    max(s.occurred_on) AS valid_from, arg_max_null(s.next_on, s.turn) AS valid_to{folded}
FROM said AS s GROUP BY s.stream
ORDER BY s.stream
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def newest_sql(fold: Fold, source: str) -> str:
    """Return the SELECT of the newest state of each stream, on the system clock.

    It groups where `every_sql` sorts: several times faster, when only the last row counts.

    Parameters
    ----------
    source
        Rows of `system_rows`, `sided` if the fold has sides: a table, or a SELECT in
        parentheses.

    Returns
    -------
    str
        ``stream``, ``revision``, ``position``, and the fields under their names, of the
        aggregates that are there; rows in no order.
    """
    if fold.ends:
        source = f"""(
    SELECT e.* EXCLUDE (last_end) FROM (
        SELECT e.*, max(e.turn) FILTER (e.ended) OVER (PARTITION BY e.stream) AS last_end
        FROM {source} AS e
    ) AS e WHERE e.last_end IS NULL OR e.turn > e.last_end
)"""  # noqa: S608 (our own text)
    said = "".join(f", {field.said} AS said_{i}" for i, field in enumerate(fold.fields))
    folded = "".join(
        f",\n    {field.aggregated(f's.said_{i}', 's.turn')} AS {column(field)}"
        for i, field in enumerate(fold.fields)
    )
    # The time is looked at although it is not shown: with it, the rows are checked.
    return f"""
WITH said AS (
    SELECT e.stream, e.revision, e.position, e.turn{said}
    FROM {source} AS e WHERE e.occurred_on IS NOT NULL
)
SELECT s.stream, max(s.revision) AS revision, max(s.position) AS position{folded}
FROM said AS s GROUP BY s.stream
""".strip()  # noqa: S608 (identifiers quoted, constants made by `text`)


def valid_sql(fold: Fold, when: str, known: str) -> str:
    """Return the SELECT of the states that were valid at an instant: both steps at once."""
    return last_sql(fold, f"({valid_rows(fold, when, known)})")


def sided(
    cursor: duckdb.DuckDBPyConnection, fold: Fold, source: str, *, carry: bool = False
) -> str:
    """Run the sides of `fold` over `source`, and return the source with what they add.

    It reads temporary tables of the cursor, which the next call replaces; without sides
    it is `source` itself and nothing is run.
    """
    if not fold.sides:
        return source
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE {_ORDERED} AS SELECT e.*, row_number() OVER () AS row"  # noqa: S608
        f" FROM (SELECT * FROM {source} ORDER BY stream, turn) AS e"
    )
    added: dict[str, Any] = {}
    for number, side in enumerate(fold.sides):
        before = {name for other in fold.sides[:number] for name, _ in other.adds}
        stored = [(name, kind) for name, kind in side.columns if name not in before]
        # A carried row has the columns of memory, others have them when there is any.
        was = "".join(
            f", o.was_{name}" if carry else f", CAST(NULL AS {kind}) AS was_{name}"
            for name, kind in side.adds
            if name in side.keeps
        )
        read = "".join(f", CAST(o.{name} AS {kind}) AS {name}" for name, kind in stored)
        rows = cursor.execute(
            f"SELECT o.stream, o.ended, o.carried{read}{was} FROM {_ORDERED} AS o ORDER BY o.row"  # noqa: S608
        ).to_arrow_table()
        for name in before & {name for name, _ in side.columns}:
            rows = rows.append_column(name, added[name])
        made = _run(side, rows.to_batches(_BATCH))
        added |= {name: made[name] for name, _ in side.adds}
    table = pa.table(added)
    numbers = pa.array(range(1, table.num_rows + 1), pa.int64())
    names = [(name, kind) for side in fold.sides for name, kind in side.adds]
    cursor.register("_esnb_made", table.append_column("row", numbers))
    try:
        typed = "".join(f", CAST(m.{name} AS {kind}) AS {name}" for name, kind in names)
        cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE {_ADDED} AS SELECT m.row{typed} FROM _esnb_made AS m"  # noqa: S608
        )
    finally:
        cursor.unregister("_esnb_made")
    added_names = "".join(f", a.{name}" for name, _ in names)
    return (
        f"(SELECT o.* EXCLUDE (row){added_names} FROM {_ORDERED} AS o"  # noqa: S608
        f" JOIN {_ADDED} AS a ON a.row = o.row)"
    )


def register(cursor: duckdb.DuckDBPyConnection, fold: Fold) -> None:
    """Make the sides of `fold` known to SQL, for `last_sql`.

    The functions belong to the whole DuckDB in memory and are made once.
    """
    for side in fold.sides:
        name = _function(side)
        known = cursor.execute(
            "SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [name]
        ).fetchone()
        if known is None:
            cursor.create_function(
                name,
                _FUNCTIONS.setdefault(name, _function_of(side)),
                [duckdb.sqltype(f"STRUCT({_struct(_read(side))})[]")],
                duckdb.sqltype(f"STRUCT({_struct(side.adds)})[]"),
                type=PythonUDFType.ARROW,
                null_handling=FunctionNullHandling.SPECIAL,
            )


def _run(side: Side, batches: Iterable[Any]) -> Any:
    """Return the table of what `side` adds, as many rows as there are in `batches`."""
    given, sizes = tee(batches)
    made = []
    for before, after in zip(sizes, side.run(given), strict=True):
        if after.num_rows != before.num_rows:
            raise AssertionError(
                f"{side.identity} gave {after.num_rows} rows for {before.num_rows}"
            )
        made.append(after)
    if made:
        return pa.Table.from_batches(made)
    return pa.table({name: pa.array([], pa.string()) for name, _ in side.adds})


def _lives(fold: Fold) -> tuple[str, str]:
    """Return SQL that numbers the lives of a stream, and the window over one of them."""
    if not fold.lives:
        return "", ""
    return (
        ", count(*) FILTER (e.ended) OVER (PARTITION BY e.stream ORDER BY e.turn"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS life",
        ",\n    this_life AS (PARTITION BY s.stream, s.life ORDER BY s.turn\n"
        "        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    )


def _said(fold: Fold, i: int, *, carry: bool) -> str:
    """Return SQL over ``e`` of what a row says of a field.

    A row that ends the aggregate says NULL of every field: where that is all it takes, the
    next one begins from nothing without telling lives apart.
    """
    field = fold.fields[i]
    said = field.said
    if carry:
        said = f"CASE WHEN e.carried THEN {field.carry(f'e.was_f{i}')} ELSE {said} END"
    if not fold.ends:
        return said
    nothing = BOXED_NULL if field.boxed and not fold.lives else "NULL"
    return f"CASE WHEN e.ended THEN {nothing} ELSE {said} END"


def _state(fold: Fold, field: Field, said: str, window: str) -> str:
    state = field.windowed(said, window)
    # A field without a default is NULL at an end already: nothing was said in this life.
    if fold.lives and field.default != "NULL":
        return f"CASE WHEN NOT s.ended THEN {state} END"
    return state


def _read(side: Side) -> list[tuple[str, str]]:
    own = [("stream", "VARCHAR"), ("ended", "BOOLEAN"), ("carried", "BOOLEAN")]
    was = [(f"was_{name}", kind) for name, kind in side.adds if name in side.keeps]
    return [*own, *side.columns, *was]


def _struct(columns: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{quote(name)} {kind}" for name, kind in columns)


def _by_function(side: Side, source: str) -> str:
    """Return rows with what `side` adds, run by the function of `register`."""
    was = {f"was_{name}" for name in side.keeps}
    row = ", ".join(
        f"'{name}': CAST({'NULL' if name in was else f'e.{name}'} AS {kind})"
        for name, kind in _read(side)
    )
    added = ", ".join(f"a.added.{name} AS {name}" for name, _ in side.adds)
    return f"""(
    WITH given AS (SELECT * FROM {source}), added AS (
        SELECT l.stream, unnest(l.turns) AS turn, unnest(l.added) AS added FROM (
            SELECT e.stream, list(e.turn ORDER BY e.turn) AS turns,
                {_function(side)}(list({{{row}}} ORDER BY e.turn)) AS added
            FROM given AS e GROUP BY e.stream
        ) AS l
    )
    SELECT g.*, {added} FROM given AS g JOIN added AS a ON a.stream = g.stream AND a.turn = g.turn
)"""  # noqa: S608 (our own text)


def _function(side: Side) -> str:
    parts = repr((side.identity, side.columns, side.adds, side.keeps))
    return f"_esnb_side_{hashlib.sha256(parts.encode()).hexdigest()[:16]}"


def _function_of(side: Side) -> Any:
    def function(lists: Any) -> Any:
        chunks = lists.chunks if isinstance(lists, pa.ChunkedArray) else [lists]
        made = [_lists(side, chunk) for chunk in chunks]
        return made[0] if len(made) == 1 else pa.chunked_array(made)

    return function


def _lists(side: Side, lists: Any) -> Any:
    rows = pa.RecordBatch.from_struct_array(lists.flatten())
    if rows.num_rows:
        done = _run(side, _batches(rows)).combine_chunks()
        made = pa.StructArray.from_arrays(
            [done[name].combine_chunks() for name, _ in side.adds],
            names=[name for name, _ in side.adds],
        )
    else:
        made = pa.array([], pa.struct([(name, pa.string()) for name, _ in side.adds]))
    offsets = lists.offsets
    return pa.ListArray.from_arrays(_from_zero(offsets), made)


def _from_zero(offsets: Any) -> Any:
    first = offsets[0].as_py() if len(offsets) else 0
    return offsets if not first else pa.array([o - first for o in offsets.to_pylist()], pa.int32())


def _batches(rows: Any) -> Iterator[Any]:
    for start in range(0, rows.num_rows, _BATCH):
        yield rows.slice(start, _BATCH)
