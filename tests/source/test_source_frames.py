"""Frames and Parquet: four libraries, one result; digits, keys and bad rows."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import esnb
from esnb.errors import SourceError
from esnb.log import Log
from esnb.source import constant, import_events

ROLES: dict[str, Any] = {
    "category": "order",
    "stream": "id",
    "event_type": "kind",
    "occurred_on": "at",
}
WHEN = datetime(2026, 3, 1, 10, tzinfo=UTC)


def sample() -> pa.Table:
    return pa.table(
        {
            "id": pa.array([1, 2, 1], pa.int64()),
            "kind": ["Placed", "Placed", "Paid"],
            "at": pa.array([WHEN, WHEN, WHEN], pa.timestamp("us", "UTC")),
            "big": pa.array([2**63 - 1, None, -(2**53) - 1], pa.int64()),
            "part": [0.1, 1e20, None],
            "note": ['a "b"\n', "é\x00", None],
            "ok": [True, False, None],
        }
    )


def rows(log: Log) -> list[tuple[Any, ...]]:
    return [(e.event_id, e.stream, e.event_type, e.occurred_on, e.data_text) for e in log.read()]


def imported(folder: Path, frame: Any, **roles: Any) -> list[tuple[Any, ...]]:
    with Log.create(folder) as log:
        result = import_events(frame, log, **(ROLES | roles))
        assert result.read == result.kept + result.rejected + result.duplicates
        return rows(log)


def test_four_libraries_and_parquet_give_the_same_events(tmp_path: Path) -> None:
    table = sample()
    pq.write_table(table, tmp_path / "in.parquet")
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    with duckdb.connect() as connection:
        frames = {
            "arrow": table,
            "reader": table.to_reader(max_chunksize=1),
            "parquet": tmp_path / "in.parquet",
            "polars": pl.from_arrow(table),
            "lazy": pl.DataFrame(table).lazy(),
            "pandas": frame,
            "duckdb": connection.from_arrow(table),
        }
        found = {name: imported(tmp_path / name, frame) for name, frame in frames.items()}
    first = found["arrow"]
    assert [row[4] for row in first] == [
        '{"big":9223372036854775807,"part":0.1,"note":"a \\"b\\"\\n","ok":true}',
        '{"big":null,"part":1e+20,"note":"é\\u0000","ok":false}',
        '{"big":-9007199254740993,"part":null,"note":null,"ok":null}',
    ]
    assert [row[1] for row in first] == ["order-1", "order-2", "order-1"]
    for name, other in found.items():
        assert other == first, name


def test_every_type_keeps_its_digits(log: Log) -> None:
    table = pa.table(
        {
            "id": [1],
            "kind": ["A"],
            "at": pa.array([WHEN], pa.timestamp("ms", "Europe/Berlin")),
            "money": pa.array([Decimal("100.10")], pa.decimal128(20, 2)),
            "wide": pa.array([Decimal("1" * 40 + ".5")], pa.decimal256(60, 1)),
            "unsigned": pa.array([2**64 - 1], pa.uint64()),
            "day": [date(2026, 3, 1)],
            "nano": pa.array([1_772_359_200_000_000_001], pa.timestamp("ns", "UTC")),
            "naive": pa.array([datetime(2026, 3, 1)], pa.timestamp("us")),
            "raw": [b"\x00\xff"],
            "category": pa.array(["x"]).dictionary_encode(),
            "list": [[1.5, None]],
            "struct": [{"b": "ü", "a": [{"c": Decimal("1.0")}]}],
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "none": pa.nulls(1),
            "small": pa.array([0.1], pa.float32()),
        }
    )
    import_events(table, log, **ROLES)
    assert next(log.read()).data_text == (
        '{"money":100.10,"wide":' + "1" * 40 + '.5,"unsigned":18446744073709551615,'
        '"day":"2026-03-01","nano":"2026-03-01T10:00:00.000000001Z",'
        '"naive":"2026-03-01T00:00:00.000000","raw":"AP8=","category":"x","list":[1.5,null],'
        '"struct":{"b":"ü","a":[{"c":1.0}]},"map":{"k":1},"none":null,"small":0.1}'
    )


def test_pandas_objects(log: Log) -> None:
    frame = pd.DataFrame(
        {
            "id": [1.0, math.nan, 3.0],
            "kind": ["A", "B", "C"],
            "at": pd.to_datetime(["2026-03-01", "2026-03-01", None], utc=True),
            "payload": [{"b": 1}, {"a": [2]}, None],
            "mixed": [1, "x", 2.5],
        }
    )
    result = import_events(frame, log, **ROLES)
    # pandas made floats of the ids because one is missing; they stay whole.
    assert [event.stream for event in log.read()] == ["order-1"]
    assert next(log.read()).data_text == '{"payload":{"b":1},"mixed":1}'
    assert [(r["line"], r["field"]) for r in result.ledger.to_pylist()] == [
        (2, "stream"),
        (3, "occurred_on"),
    ]
    result = import_events(frame.iloc[:1], log, **ROLES, data="payload")
    assert [event.data_text for event in log.read()][1] == '{"b":1}'


def test_bad_values_are_refused_by_row(log: Log) -> None:
    far = 253_402_300_800_000_000
    number = 1_772_359_200_000_000
    table = pa.table(
        {
            "id": ["a", "b", "c", "", None, "f", "g"],
            "kind": ["A"] * 7,
            "at": pa.array([number, far, number, number, number, number, None], pa.int64()).cast(
                pa.timestamp("us", "UTC")
            ),
            "x": [1.0, 1.0, math.nan, 1.0, 1.0, math.inf, 1.0],
        }
    )
    result = import_events(table, log, **ROLES)
    assert [(r["line"], r["field"]) for r in result.ledger.to_pylist()] == [
        (2, "occurred_on"),
        (3, "data"),
        (4, "stream"),
        (5, "stream"),
        (6, "data"),
        (7, "occurred_on"),
    ]
    assert (result.read, result.kept, result.rejected) == (7, 1, 6)


def test_nanoseconds_are_not_cut(log: Log) -> None:
    table = sample().set_column(
        2, "at", pa.array([10**18, 10**18 + 1, None], pa.timestamp("ns", "UTC"))
    )
    result = import_events(table, log, **ROLES)
    assert [(r["line"], r["reason"][:10]) for r in result.ledger.to_pylist()] == [
        (2, "is finer t"),
        (3, "is missing"),
    ]


def test_a_naive_column_needs_a_zone(tmp_path: Path) -> None:
    naive = [datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 1)]
    table = sample().set_column(2, "at", pa.array(naive, pa.timestamp("us")))
    with Log.create(tmp_path / "log") as log:
        with pytest.raises(SourceError, match="Declare"):
            import_events(table, log, **ROLES)
        result = import_events(table, log, zone="Europe/Berlin", **ROLES)
        assert [event.occurred_on.isoformat() for event in log.read()] == [
            "2026-02-28T23:00:00+00:00",
            "2026-10-25T00:30:00+00:00",
        ]
        assert "skipped" in result.ledger["reason"][0].as_py()


def test_whole_numbers_need_a_meaning(log: Log) -> None:
    table = sample().set_column(2, "at", pa.array([1, 2, 3]))
    with pytest.raises(SourceError, match="epoch_ms"):
        import_events(table, log, **ROLES)
    assert import_events(table, log, time_format="epoch_s", **ROLES).kept == 3


def test_names_that_differ_in_case_or_hold_quotes(log: Log) -> None:
    table = sample().rename_columns(["id", "kind", "at", "ID", 'q"; drop table x --', "At", "A'"])
    import_events(table, log, **ROLES)
    assert list(json.loads(next(log.read()).data_text)) == ["ID", 'q"; drop table x --', "At", "A'"]


def test_a_map_with_a_key_twice_is_refused(log: Log) -> None:
    entries = pa.array([[("k", 1), ("k", 2)], [], []], pa.map_(pa.string(), pa.int64()))
    result = import_events(sample().append_column("map", entries), log, **ROLES)
    assert result.rejected == 1


def test_esnb_s_own_table_comes_back_as_it_was(tmp_path: Path) -> None:
    with Log.create(tmp_path / "a") as log:
        import_events(sample(), log, actor=constant("ann"), tags=["kind"], **ROLES)
        before = list(log.read())
        log.seal()
        table = pa.concat_tables(
            [pq.read_table(path) for path in (tmp_path / "a").rglob("*.parquet")]
        ).sort_by("position")
        assert import_events(table, log).duplicates == 3
    with Log.create(tmp_path / "b") as log:
        import_events(table, log)
        assert list(log.read()) == before


def test_parquet_bombs(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esnb.source.parquet._FREE_BYTES", 64 << 20)
    count = 200_000
    table = pa.table(
        {
            "id": pa.DictionaryArray.from_arrays(
                pa.array([0] * count, pa.int32()), pa.array(["x" * 100_000])
            ),
            "kind": ["A"] * count,
            "at": pa.array([WHEN] * count, pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(SourceError, match="bomb"):
        import_events(tmp_path / "bomb.parquet", log, **ROLES)


def test_what_is_no_frame(log: Log) -> None:
    for thing in (1, None, b"bytes", {"a": [1]}):
        with pytest.raises(SourceError, match="path"):
            import_events(thing, log, **ROLES)


def test_lists_that_pandas_holds_as_arrays_come_back(tmp_path: Path) -> None:
    """The events of a log, as a frame, make the same events again."""
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        tagged = esnb.DomainEvent("A", {"n": 1}, tags=("x:1", "y:2"))
        log.append("order-1", [tagged, esnb.DomainEvent("B")])
        again = esnb.read(log.events().to_arrow_table().to_pandas())
        assert [(e.event_id, e.tags, e.data) for e in again.read()] == [
            (e.event_id, e.tags, e.data) for e in log.read()
        ]
    nested = np.empty(2, object)
    nested[:] = [np.array([1, 2]), np.array([])]
    mixed = pd.DataFrame(
        {
            "stream": ["a-1", "a-1", "a-1"],
            "event_type": "E",
            "time": pd.Timestamp("2026-01-01", tz="UTC"),
            "x": [nested, pd.NA, {"k": np.arange(2)}],
        }
    )
    kept = esnb.read(mixed)
    assert kept.df("select data from events order by revision")["data"].tolist() == [
        '{"x":[[1,2],[]]}', '{"x":null}', '{"x":{"k":[0,1]}}'
    ]  # fmt: skip
