"""Runs of rows, merged into groups of rows by time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, pairwise
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
def test_groups_have_the_rows_of_all_runs_one_after_the_other(
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
    found = [
        [
            (int(at), position, text)
            for at, position, text in zip(
                one.column("system_from").cast(pa.int64()).to_pylist(),
                one.column("position").to_pylist(),
                one.column("f0").to_pylist(),
                strict=True,
            )
        ]
        for one in made
    ]
    assert sorted(chain.from_iterable(found)) == sorted(given_rows)
    # Each group lies after the one before, and has as many rows as it should, or more where
    # these are of one moment.
    for group, after in pairwise(found):
        assert max(group)[0] <= min(after)[0]
        assert len(group) >= 4
        assert sum(at < max(group)[0] for at, _, _ in group) < 4
    assert not list(tmp_path.iterdir())


def test_files_go_when_it_fails(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield batch([(1, 1, "a")])
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError), Runs(tmp_path) as merging:
        merging.add(SCHEMA, broken())
    assert not list(tmp_path.iterdir())
