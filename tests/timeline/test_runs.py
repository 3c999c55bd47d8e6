"""Runs of rows, merged by time, beside Python's own sort."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esnb.timeline import runs
from esnb.timeline.runs import Runs

SCHEMA = pa.schema(
    [
        ("system_from", pa.timestamp("us", "UTC")),
        ("position", pa.int64()),
        ("f0", pa.string()),
    ]
)
# Few moments, so that rows of one moment stand at the ends of batches and in several runs.
TIMES = st.lists(st.lists(st.integers(-3, 9), max_size=30), max_size=5)


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runs, "GROUP_ROWS", 4)
    return None


def batch(rows: list[tuple[int, int, str | None]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) if rows else [[], [], []]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=TIMES, size=st.integers(1, 7), data=st.data())
def test_merged_rows_are_those_of_all_runs_sorted(
    tmp_path: Path, times: list[list[int]], size: int, data: st.DataObject
) -> None:
    count = sum(map(len, times))
    positions = iter(data.draw(st.permutations(range(count))))
    given_rows = []
    with Runs(tmp_path) as merging:
        for known in times:
            rows = sorted((at, next(positions), None if at % 3 else f"zoë {at}") for at in known)
            given_rows += rows
            pieces = [rows[start : start + size] for start in range(0, len(rows), size)]
            merging.add(SCHEMA, map(batch, [*pieces, []]))
        made = list(merging.merged())
        if times:
            assert merging.schema == SCHEMA
    merged = pa.Table.from_batches(made, SCHEMA).cast(
        pa.schema([("at", pa.int64()), ("position", pa.int64()), ("f0", pa.string())]).set(
            0, pa.field("system_from", pa.int64())
        )
    )
    found = list(zip(*(column.to_pylist() for column in merged.columns), strict=True))
    known_order = [at for at, _, _ in found]
    assert known_order == sorted(known_order)
    assert sorted(found, key=lambda row: row[1]) == sorted(given_rows, key=lambda row: row[1])
    assert [one.num_rows for one in made[:-1]] == [4] * (len(made) - 1)
    assert not list(tmp_path.iterdir())


def test_rows_of_one_moment_are_by_position(tmp_path: Path) -> None:
    with Runs(tmp_path) as merging:
        merging.add(SCHEMA, [batch([(1, 5, "a"), (1, 9, "b")])])
        merging.add(SCHEMA, [batch([(1, 2, "c"), (1, 7, "d")])])
        (made,) = merging.merged()
    assert made.column("position").to_pylist() == [2, 5, 7, 9]


def test_files_go_when_it_fails(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield batch([(1, 1, "a")])
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError), Runs(tmp_path) as merging:
        merging.add(SCHEMA, broken())
    assert not list(tmp_path.iterdir())
