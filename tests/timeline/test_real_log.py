"""Timelines of a log on disk: sealed segments and tail, a locked session, growth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from esnb.errors import LogError
from esnb.event import DomainEvent
from esnb.eventlog import EventLog
from tests.timeline import reference

START = datetime(2026, 3, 1, tzinfo=UTC)


def placed(number: int, **data: object) -> DomainEvent:
    return DomainEvent(
        "OrderPlaced" if number % 7 else "OrderDeleted",
        {"status": f"s{number % 3}", "nested": {f"k{number % 5}": number}, **data},
        occurred_on=START + timedelta(hours=number * 37 % 400),
    )


def test_a_log_on_disk_answers_as_the_slow_fold(tmp_path: Path) -> None:
    with EventLog.create(tmp_path / "log", zone="Europe/Berlin") as log:
        for number in range(60):
            log.append(f"order-{number % 4}", [placed(number)])
            if number == 40:
                log.seal()
        line = log.timeline("order", ends=["OrderDeleted"])
        events = [
            reference.Event(
                event.position, event.stream, event.category, event.revision, event.event_type,
                event.occurred_on, event.recorded_on, event.actor, event.data_text,
            )
            for event in log.read()
        ]  # fmt: skip
        rows = reference.rows(events, "order", "patch", ("OrderDeleted",))
        for position in (0, 17, 42, 59):
            expected = reference.as_of(rows, position)
            found = line.as_of(position).select("stream, status, nested").fetchall()
            assert {
                stream: (row.state.get("status"), reference.text_of(row.state.get("nested")))
                for stream, row in expected.items()
            } == {stream: (status, nested or "null") for stream, status, nested in found}
        when = START + timedelta(hours=200)
        valid = reference.valid_at(events, "order", "patch", ("OrderDeleted",), when, None)
        assert {
            stream: reference.text_of(state.get("nested"))
            for stream, (_, _, state) in valid.items()
        } == dict(line.valid_at(when).select("stream, nested").fetchall())
        now = log.sql("SELECT stream, nested FROM order_as_of('2999-01-01') ORDER BY ALL")
        assert now.fetchall() == line.as_of(59).select("stream, nested").order("ALL").fetchall()
        asked = log.sql("SELECT count(*) FROM order_valid_at('2999-01-01', '2999-01-01')")
        assert (
            asked.fetchall() == log.sql("SELECT count(*) FROM order_as_of('2999-01-01')").fetchall()
        )

        old = line.as_of(59)
        for number in range(60, 70):
            log.append(f"order-{number % 4}", [placed(number)])
            assert line.history(f"order-{number % 4}").count("*").fetchall()
        log.compact()
        assert len(line.history().fetchall()) == 70
        assert len(old.fetchall()) == len(reference.as_of(rows, 59))
    with pytest.raises(LogError):
        log.timeline("order").as_of(0)


def test_bulk_and_nothing(tmp_path: Path) -> None:
    with EventLog.create(tmp_path / "log") as log:
        line = log.timeline("order")
        assert line.as_of(0).fetchall() == []
        log.append_frame(
            pa.table(
                {
                    "stream": [f"order-{i % 500}" for i in range(5_000)],
                    "event_type": ["Changed"] * 5_000,
                    "data": [f'{{"n": {i}}}' for i in range(5_000)],
                }
            )
        )
        assert line.as_of(4_999).aggregate("count(*), min(n), max(n)").fetchall() == [
            (500, 4_500, 4_999)
        ]
        assert line.diff(4_998, 4_999).fetchone()[:5] == (
            "order-499", "changed", "n", "4499", "4999",
        )  # fmt: skip
        assert len(line.history("order-1").fetchall()) == 10


def test_readers_of_timelines_do_not_cut_each_other_off(tmp_path: Path) -> None:
    """Every relation has a cursor of its own: all of them can be read side by side."""
    count = 30_000
    with EventLog.create(tmp_path / "log") as log:
        log.append_frame(
            pa.table(
                {
                    "stream": [f"order-{number % 10_000}" for number in range(count)],
                    "event_type": ["T"] * count,
                    "data": [f'{{"n":{number}}}' for number in range(count)],
                }
            )
        )
        line = log.timeline("order")
        questions = (
            line.history,
            lambda: line.as_of(count),
            lambda: line.valid_at("2999-01-01T00:00:00Z"),
            lambda: line.diff(count // 2, count),
            lambda: log.sql("FROM order_history()"),
            lambda: log.sql("SELECT * FROM order_as_of('2999-01-01') JOIN events USING (stream)"),
        )
        wanted = [len(ask().fetchall()) for ask in questions]
        assert wanted[:2] == [count, 10_000]
        readers = [ask().to_arrow_reader(1000) for ask in questions]
        found = [reader.read_next_batch().num_rows for reader in readers]
        for number, reader in enumerate(readers):
            line.as_of(5).fetchall()
            found[number] += sum(batch.num_rows for batch in reader)
        assert found == wanted


def test_stores_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest one goes when there is too much; what is asked anew is there again."""
    with EventLog.create(tmp_path / "log") as log:
        for number in range(4):
            log.append("order-1", [placed(number)])
        first, second = log.timeline("order"), log.timeline("order", fold="snapshot")
        folder = log.path / "derived" / "timelines"
        assert len(first.history().fetchall()) == 4
        (kept,) = set(folder.iterdir()) - {folder / "notes"}
        monkeypatch.setattr("esnb.timeline.store._MAX_KEPT", 1)
        assert len(second.history().fetchall()) == 4
        (other,) = set(folder.iterdir()) - {folder / "notes"}
        assert other != kept
        assert len(first.history().fetchall()) == 4
