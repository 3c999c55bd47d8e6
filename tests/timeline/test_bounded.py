"""A user says how much memory questions may take, and long folds keep to it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import esnb
from esnb import QueryError


def test_the_limit_is_that_of_the_session(tmp_path: Path) -> None:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        log.append("order-1", esnb.DomainEvent("Placed", {"total": 1}))
    with esnb.open(tmp_path / "log", maintain=False, memory_limit="123MiB") as log:
        found = log.session.fresh().execute("SELECT current_setting('memory_limit')").fetchone()
        assert found == ("123.0 MiB",)
    with (
        esnb.open(tmp_path / "log", maintain=False, memory_limit="lots") as log,
        pytest.raises(QueryError, match="refuses a setting"),
    ):
        log.timeline("order").as_of(0)


def test_a_timeline_larger_than_the_limit_is_built(tmp_path: Path) -> None:
    count = 120_000
    events = duckdb.sql(
        f"""SELECT 'order-' || i % 7001 AS stream, 'Changed' AS event_type,
            '{{"n":' || i || ',"text":"' || repeat(md5(i::VARCHAR), 8) || '"}}' AS data
        FROM range({count}) AS t(i)"""
    )
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        log.append_frame(events.to_arrow_table())
    with esnb.open(tmp_path / "log", maintain=False, memory_limit="90MB") as log:
        line = log.timeline("order")
        found = line.as_of(count - 1).aggregate("count(*), sum(n), min(n)").fetchone()
    assert found == (7001, sum(range(count - 7001, count)), count - 7001)
