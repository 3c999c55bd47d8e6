"""How many aggregates there were of each kind, hour by hour: signed changes, kept in a file.

A change at an instant counts for the first whole hour (UTC) at or after it.  So on whole
hours the sum of the changes up to then is exact.  `stood` counts the states that began in
the hour and had some length; a kind for which that adds up to nothing never stood.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from esnb.query.names import quote
from esnb.timeline.fold import Fold
from esnb.timeline.parts import read_sql, restored, stored, write_part
from esnb.timeline.state import Part
from esnb.timeline.table import Table

__all__ = ["changes_table", "cube_sql", "grown", "made", "note_changes"]

# A cube of more rows would be no faster than the states themselves.
_MAX_ROWS = 1_000_000
_HOUR = 3_600_000_000


def cube_sql(folder: Path, part: Part, kind: str) -> str:
    """Return SQL of a table ``hour`` (since 1970), ``kind``, ``delta``, ``stood``."""
    value = "CAST(c.kind AS JSON)" if kind.upper() == "JSON" else restored(kind, "c.kind")
    rows = read_sql(folder, (part,))
    return f"(SELECT c.hour, {value} AS kind, c.delta, c.stood FROM {rows} AS c)"  # noqa: S608


def made(cursor: duckdb.DuckDBPyConnection, table: Table, name: str) -> Part | None:
    """Write the cube of a field (or ``event_type``, ``actor``) of all rows."""
    value = _value(table.fold, name, f"t.{quote(name)}")
    rows = (
        f"SELECT {value} AS kind, t.system_from, t.system_to,"  # noqa: S608 (identifiers quoted)
        f" t.ended, true AS new FROM {table.source} AS t"
    )
    return _written(cursor, _changes(rows), table.folder)


def changes_table(number: int) -> str:
    """Return the name of the temporary table of `note_changes`."""
    return f"_esnb_changes_{number}"


def note_changes(
    cursor: duckdb.DuckDBPyConnection, fold: Fold, name: str, number: int, states: str, since: int
) -> None:
    """Remember on the cursor what a table of states changes of the cube of a column.

    Rows before the position `since` are open in the cube already.
    """
    names = [field.name for field in fold.fields]
    value = f"t.f{names.index(name)}" if name in names else f"t.{name}"
    rows = (
        f"SELECT {_value(fold, name, value)} AS kind, t.system_from, t.system_to, t.ended,"  # noqa: S608
        f" t.position >= {since} AS new FROM {states} AS t"
    )
    table = changes_table(number)
    changes = _changes(rows)
    cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table} AS {changes} LIMIT 0")
    cursor.execute(f"INSERT INTO {table} {changes}")


def grown(cursor: duckdb.DuckDBPyConnection, folder: Path, part: Part, number: int) -> Part | None:
    """Write a cube with the changes that were noted."""
    both = (
        f"SELECT * FROM {read_sql(folder, (part,))}"  # noqa: S608 (our own text)
        f" UNION ALL SELECT * FROM {changes_table(number)}"
    )
    summed = (
        "SELECT b.hour, b.kind, sum(b.delta)::BIGINT AS delta, sum(b.stood)::BIGINT AS stood"  # noqa: S608
        f" FROM ({both}) AS b GROUP BY b.hour, b.kind HAVING sum(b.delta) <> 0 OR sum(b.stood) <> 0"
    )
    return _written(cursor, summed, folder)


def _written(cursor: duckdb.DuckDBPyConnection, changes: str, folder: Path) -> Part | None:
    part = write_part(
        cursor,
        f"SELECT * FROM ({changes}) AS c ORDER BY c.hour LIMIT {_MAX_ROWS + 1}",  # noqa: S608
        folder,
        "cube",
    )
    return part if part.rows <= _MAX_ROWS else None


def _value(fold: Fold, name: str, value: str) -> str:
    for field in fold.fields:
        if field.name == name:
            return stored(field.type, value)
    return value


def _changes(rows: str) -> str:
    """Return the SELECT of the changes that rows ``kind, system_from, system_to, ended, new`` make.

    A new row begins, and ends if it was replaced.  One that was open in the cube only ends; if
    it turned out to have no length, it never stood.
    """
    return f"""
SELECT c.hour, c.kind, sum(c.delta)::BIGINT AS delta, sum(c.stood)::BIGINT AS stood FROM (
    SELECT {_hour("t.system_from")} AS hour, t.kind, 1 AS delta, 1 AS stood
    FROM ({rows}) AS t
    WHERE NOT t.ended AND t.new AND (t.system_to IS NULL OR t.system_to > t.system_from)
    UNION ALL
    SELECT {_hour("t.system_to")}, t.kind, -1,
        CASE WHEN t.system_to > t.system_from THEN 0 ELSE -1 END
    FROM ({rows}) AS t
    WHERE NOT t.ended AND t.system_to IS NOT NULL AND (NOT t.new OR t.system_to > t.system_from)
) AS c GROUP BY c.hour, c.kind
""".strip()  # noqa: S608 (our own text)


def _hour(at: str) -> str:
    # Division is towards zero, which is up for what lies before 1970.
    return (
        f"CASE WHEN epoch_us({at}) > 0 THEN (epoch_us({at}) + {_HOUR - 1}) // {_HOUR}"
        f" ELSE epoch_us({at}) // {_HOUR} END"
    )
