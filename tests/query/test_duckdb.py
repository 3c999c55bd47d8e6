"""What we rely on in the installed DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RANK = "row_number() over (partition by aid order by v)"
EVENTS = [(i // 3, i % 3) for i in range(9)]


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    opened = duckdb.connect()
    opened.execute("create table ev as select i // 3 as aid, i % 3 as v from range(9) t(i)")
    return opened


# DuckDB 2.0.0 compares the bare row_number() with the limit, not the expression on it.
@pytest.mark.parametrize(
    ("expression", "where", "value", "keep"),
    [
        (f"{RANK} - 1", "r < 2", lambda v: v, lambda r: r < 2),
        (f"{RANK} * 2", "r <= 4", lambda v: (v + 1) * 2, lambda r: r <= 4),
        (f"{RANK} + 10", "r <= 12", lambda v: v + 11, lambda r: r <= 12),
        (f"{RANK} - 1", "r <= 1", lambda v: v, lambda r: r <= 1),
        (f"{RANK} - 1", "r = 0", lambda v: v, lambda r: r == 0),
        (f"v - {RANK}", "r <= 0", lambda v: -1, lambda r: r <= 0),
        (RANK, "r <= 2", lambda v: v + 1, lambda r: r <= 2),
        (f"({RANK} - 1)::int", "r < 2", lambda v: v, lambda r: r < 2),
    ],
)
def test_a_limit_on_row_number_keeps_the_right_rows(
    connection: duckdb.DuckDBPyConnection,
    expression: str,
    where: str,
    value: Callable[[int], int],
    keep: Callable[[int], bool],
) -> None:
    found = connection.execute(
        f"with s as materialized (select aid, v, {expression} r from ev) "
        f"select aid, v, r from s where {where} order by 1, 2"
    ).fetchall()
    assert found == [(aid, v, value(v)) for aid, v in EVENTS if keep(value(v))]


def test_a_limit_on_row_number_survives_a_self_join(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = connection.execute(
        f"with s as (select aid, {RANK} - 1 step from ev), a as (select * from s where step < 2) "
        "select distinct x.step from a x join a y using (aid) order by 1"
    ).fetchall()
    assert found == [(0,), (1,)]


def test_a_relation_keeps_its_cursor_alive(connection: duckdb.DuckDBPyConnection) -> None:
    cursor = connection.cursor()
    cursor.register("held", pa.table({"x": [1, 2]}))
    cursor.execute("create temp view seen as select * from held")
    relation = cursor.sql("from seen")
    del cursor
    assert relation.fetchall() == [(1,), (2,)]


@pytest.fixture
def wiped(tmp_path: Path) -> Path:
    """Return a Parquet file whose pages are gone: what skips them by Bloom filter can read it.

    The names in its row groups overlap, so that the statistics skip none.
    """
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"name": [f"{i * 7919 % 100_000:06d}" for i in range(0, 40_000, 2)]}),
        path,
        row_group_size=2_000,
        bloom_filter_options={"name": {"ndv": 2_000, "fpp": 0.01}},
        use_dictionary=False,
    )
    content = bytearray(path.read_bytes())
    footer = pq.read_metadata(path)
    for group in range(footer.num_row_groups):
        column = footer.row_group(group).column(0)
        start, size = column.data_page_offset, column.total_compressed_size
        content[start : start + size] = bytes(size)
    path.write_bytes(content)
    return path


def test_bloom_filters_skip_by_expression_and_by_parameter(wiped: Path) -> None:
    relation = duckdb.read_parquet(str(wiped))

    def by_expression(value: str) -> list[tuple[str]]:
        name = duckdb.ColumnExpression("name") == duckdb.ConstantExpression(value)
        return relation.filter(name).fetchall()

    def by_parameter(value: str) -> list[tuple[str]]:
        return duckdb.execute(
            "select name from read_parquet(?) where name = ?", [str(wiped), value]
        ).fetchall()

    for look_up in (by_expression, by_parameter):
        assert look_up("050001x") == []
        with pytest.raises(duckdb.Error):
            look_up("015838")
