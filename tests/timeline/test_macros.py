"""Timelines in SQL: the macros of a category, and which of them a text wants."""

from __future__ import annotations

from datetime import timedelta

import duckdb
import pytest

from esnb.errors import TimelineError
from esnb.timeline import Timeline, macros
from tests.timeline.standin import START, MemoryLog


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog(zone="Europe/Berlin")
    log.write("order-1", "Placed", '{"status": "new", "deep": {"a": 1}, "ts": 1, "a": 1, "b": 1}')
    log.write("order-1", "Paid", '{"status": "paid", "deep": {"b": 12345678901234567.89}}')
    log.write("order-2", "Placed", '{"status": "new", "known": true}')
    return log


def test_macros_answer_as_the_timeline_does(log: MemoryLog) -> None:
    line = Timeline(log, "order")
    cursor = log.fresh(log.snapshot())
    assert macros.register(cursor, line) == macros.macro_names("order")
    at = (START + timedelta(hours=1)).isoformat()
    first, later = START.isoformat(), (START + timedelta(days=1)).isoformat()

    def asked(sql: str) -> list[tuple[object, ...]]:
        return cursor.sql(sql).fetchall()

    assert asked(f"FROM order_as_of('{at}')") == line.as_of(at).fetchall()
    assert asked(f"FROM order_as_of(TIMESTAMPTZ '{at}')") == line.as_of(at).fetchall()
    assert asked("FROM order_as_of('2026-03-29 00:30')") == line.as_of(at).fetchall()
    assert asked(f"FROM order_valid_at('{later}')") == line.valid_at(later).fetchall()
    assert asked(f"FROM order_valid_at('{later}', '{first}')") == (
        line.valid_at(later, first).fetchall()
    )
    assert asked("FROM order_history()") == line.history().fetchall()
    assert asked(f"FROM order_diff('{first}', '{later}')") == line.diff(first, later).fetchall()
    assert macros.register(cursor, line)  # again, in a cell that runs twice
    with pytest.raises(duckdb.Error, match="swap"):
        asked(f"FROM order_diff('{later}', '{first}')")


def test_a_text_wants_the_macros_that_it_names() -> None:
    text = "SELECT * FROM Order_As_Of('2026') JOIN \"a_b_history\"() USING (stream) -- c_diff"
    assert macros.wanted(text, ["order", "a b", "order_as", "d"]) == {
        "order": ("order_as_of",),
        "a b": ("a_b_history",),
    }
    assert macros.wanted("SELECT 1", ["order"]) == {}
    with pytest.raises(TimelineError, match=r"'a b' and 'a_b'|'a_b' and 'a b'"):
        macros.wanted(text, ["a_b", "a b"])
    assert macros.wanted("FROM x_diff(1, 2)", ["a_b", "a b", "x"]) == {"x": ("x_diff",)}


@pytest.mark.parametrize("category", ["1st", "it's", "ünï", 'q"', "select", "a b\x00c"])
def test_any_category_has_names_that_work(category: str) -> None:
    log = MemoryLog(zone="UTC")
    log.write(f"{category}-1", "Placed", '{"n": 1}')
    cursor = log.fresh(log.snapshot())
    names = macros.register(cursor, Timeline(log, category))
    assert cursor.sql(f"SELECT n FROM {names[2]}()").fetchall() == [(1,)]
    assert macros.wanted(f"FROM {names[2]}()", [category]) == {category: (names[2],)}
