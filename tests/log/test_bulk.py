"""Bulk append: frames of every kind, all or nothing, idempotent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from esnb.errors import DuplicateEventError, EventError, InputError
from esnb.event import DomainEvent
from esnb.log import Log


def frame(rows: int = 10, **columns: Any) -> pa.Table:
    base: dict[str, Any] = {
        "stream": [f"order-{i % 3}" for i in range(rows)],
        "event_type": ["Happened"] * rows,
        "data": [f'{{"number":{i}}}' for i in range(rows)],
        "event_id": [f"id-{i}" for i in range(rows)],
        "occurred_on": pa.array(
            [i * 86_400_000_000 for i in range(rows)], pa.timestamp("us", "UTC")
        ),
    }
    return pa.table({k: v for k, v in (base | columns).items() if v is not None})


def test_positions_follow_rows_and_revisions_continue(log: Log) -> None:
    log.append("order-0", DomainEvent("First"))
    done = log.append_frame(frame())
    assert (done.first, done.appended, done.duplicates) == (1, 10, 0)
    events = list(log.read())
    assert [e.position for e in events] == list(range(11))
    assert [e.data["number"] for e in events[1:]] == list(range(10))
    assert [e.revision for e in log.read_stream("order-0")] == [0, 1, 2, 3, 4]
    assert events[1].recorded_on == events[1].occurred_on
    log.append("order-0", DomainEvent("Last"), expected_revision=4)
    assert log.verify().ok


@pytest.mark.parametrize("kind", ["table", "reader", "batches", "pandas", "polars", "duckdb"])
def test_any_frame(log: Log, kind: str) -> None:
    table = frame()
    given: Any = {
        "table": lambda: table,
        "reader": lambda: table.to_reader(3),
        "batches": lambda: table.to_batches(4),
        "pandas": lambda: pd.DataFrame(table.to_pydict()),
        "polars": lambda: pl.from_arrow(table),
        "duckdb": lambda: duckdb.from_arrow(table),
    }[kind]()
    assert log.append_frame(given).appended == 10
    assert [e.data["number"] for e in log.read()] == list(range(10))


def test_twice_adds_nothing(log: Log) -> None:
    log.append_frame(frame())
    assert log.append_frame(frame()) == type(log.append_frame(frame()))(None, 0, 10)
    mixed = log.append_frame(frame(15))
    assert (mixed.appended, mixed.duplicates) == (5, 10)
    twins = pa.concat_tables(
        [frame(3, event_id=["x", "y", "z"]), frame(3, event_id=["x", "y", "z"])]
    )
    assert log.append_frame(twins).duplicates == 3
    (first,) = [e for e in log.read() if e.event_id == "id-0"]
    assert log.append(
        "order-0",
        DomainEvent("Happened", '{"number": 0}', event_id="id-0", occurred_on=first.occurred_on),
    ) == (first,)
    assert log.known_ids(pa.array(["id-1", "nope", "x"])).to_pylist() == [True, False, True]
    assert log.verify().ok


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"stream": None}, "stream: there is no such column"),
        ({"extra": [1] * 10}, "extra: is no column of an event"),
        ({"stream": ["a-1"] * 4 + [""] + ["a-1"] * 5}, "row 4: stream: is empty"),
        ({"stream": ["a-1"] * 4 + [None] + ["a-1"] * 5}, "row 4: stream: is missing"),
        ({"stream": ["a-1"] * 9 + ["-x"]}, "row 9: stream: has no category"),
        ({"event_type": ["x" * 257] + ["x"] * 9}, "row 0: event_type: has 257 bytes"),
        ({"event_id": ["a\x00", *list("abcdefghi")]}, "row 0: event_id: holds a NUL"),
        ({"data": ["{}"] * 7 + ['{"a":1,"a":2}'] + ["{}"] * 2}, "row 7: data: .*twice"),
        ({"data": ["{}"] * 9 + ['{"a":NaN}']}, "row 9: data: NaN"),
        ({"data": ["{}"] * 9 + ["[1]"]}, "row 9: data: must be a JSON object"),
        ({"data": ["{}"] * 9 + ['{"a":' * 10_000 + "1" + "}" * 10_000]}, "row 9: data: .*levels"),
        ({"occurred_on": ["2026-01-01T00:00:00Z"] * 9 + ["soon"]}, "row 9: occurred_on"),
        (
            {"occurred_on": pa.array([2**62] * 10, pa.timestamp("us", "UTC"))},
            "row 0: occurred_on: lies outside the years",
        ),
        (
            {"occurred_on": pa.array([1] * 10, pa.timestamp("ns", "UTC"))},
            "occurred_on: is finer than a microsecond",
        ),
        ({"occurred_on": list(range(10))}, "occurred_on: must be a timestamp"),
        ({"schema_version": [0] * 10}, "row 0: schema_version"),
        ({"tags": [["a", None]] * 10}, "tags: hold a null"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(
    log: Log, columns: dict[str, Any], message: str
) -> None:
    log.append("a-1", DomainEvent("First"))
    with pytest.raises(EventError, match=message):
        log.append_frame(frame(**columns))
    assert log.next_position == 1
    assert not list(log.path.rglob("*.parquet"))
    assert log.append_frame(frame()).appended == 10


def test_other_content_under_a_known_id(log: Log) -> None:
    log.append_frame(frame())
    with pytest.raises(DuplicateEventError, match=r"'id-0'.*data"):
        log.append_frame(frame(data=['{"other":1}'] * 10))
    with pytest.raises(DuplicateEventError, match="'same'"):
        log.append_frame(frame(event_id=["same"] * 10))
    assert log.next_position == 10


def test_naive_times_need_the_declared_zone(tmp_path: Path) -> None:
    naive = frame(occurred_on=pa.array([0] * 10, pa.timestamp("us")))
    with Log.create(tmp_path / "a") as log, pytest.raises(EventError, match="no time zone"):
        log.append_frame(naive)
    with Log.create(tmp_path / "b", zone="Europe/Berlin") as log:
        log.append_frame(naive)
        assert next(log.read()).occurred_on.isoformat() == "1969-12-31T23:00:00+00:00"


def test_an_interrupt_leaves_nothing(log: Log) -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield from frame(600_000).to_batches()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        log.append_frame(source())
    assert log.next_position == 0
    assert not list(log.path.rglob("*.parquet"))
    assert log.append_frame(frame()).appended == 10


def test_what_is_no_frame(log: Log) -> None:
    for nonsense in (7, "events.csv", {"stream": []}):
        with pytest.raises(InputError, match="not a frame"):
            log.append_frame(nonsense)
    assert log.append_frame(frame(0)).appended == 0


def test_months_become_folders_and_sparse_ones_share(log: Log) -> None:
    minutes = pa.array([i * 60_000_000 for i in range(100_000)], pa.timestamp("us", "UTC"))
    log.append_frame(frame(100_000, occurred_on=minutes))
    log.append_frame(
        frame(
            3,
            event_id=list("abc"),
            occurred_on=[f"{year}-02-03T00:00:00Z" for year in (1990, 2000, 2001)],
        )
    )
    folders = sorted(path.name for path in (log.path / "events").iterdir())
    months = ["1970-01", "1970-02", "1970-03", "1990-02"]
    assert folders == [f"recorded_month={month}" for month in months]
    assert log.compact() == 0
    assert log.verify().ok


def test_extreme_years(log: Log) -> None:
    times = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
    log.append_frame(frame(2, occurred_on=times))
    found = [e.occurred_on.isoformat() for e in log.read()]
    assert found == ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"]
