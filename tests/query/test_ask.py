"""``log.df``: what was known or true at a moment, exact numbers, and where an answer is from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import Aggregate, DomainEvent, Event, EventLog
from esnb.errors import InstantError, QueryError, TimelineError

START = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="Europe/Berlin") as opened:
        for number in range(9):
            opened.append(
                f"order-{number % 3}",
                DomainEvent(
                    "OrderChanged",
                    {"status": f"s{number}", "n": number},
                    occurred_on=day(9 - number),
                ),
            )
        opened.append("it'em ü-1", DomainEvent("Odd", {"a": 1}))
        yield opened


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=14
    ),
    st.integers(-1, 6),
    st.integers(-1, 6),
    st.booleans(),
)
def test_events_and_states_are_those_of_the_moment(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, int, int]],
    known: int,
    valid: int,
    by_position: bool,
) -> None:
    """Recorders' clocks that run backwards, and late events, against plain loops."""
    instant = pa.timestamp("us", "UTC")
    table = pa.table(
        {
            "stream": [f"order-{stream}" for stream, _, _ in rows],
            "event_type": ["Changed"] * len(rows),
            "data": [f'{{"n": {number}}}' for number in range(len(rows))],
            "recorded_on": pa.array([day(recorded) for _, recorded, _ in rows], instant),
            "occurred_on": pa.array([day(occurred) for _, _, occurred in rows], instant),
        }
    )
    seen: list[int] = []
    clocks: dict[int, int] = {}
    for position, (stream, recorded, _) in enumerate(rows):
        clocks[stream] = max(clocks.get(stream, -1), recorded)
        if (position if by_position else clocks[stream]) <= known:
            seen.append(position)
    moment = known if by_position else day(known)
    with esnb.create(tmp_path_factory.mktemp("log") / "log", maintain=False) as opened:
        opened.append_frame(table)
        ask = "select position from events order by position"
        assert opened.df(ask, as_of=moment)["position"].tolist() == seen
        true = [position for position in seen if rows[position][2] <= valid]
        found = opened.df(ask, valid_at=day(valid), known=moment)
        assert found["position"].tolist() == true
        orders = opened.timeline("order")
        states = "select stream, n from order_states order by stream"
        for answer, told in (
            (opened.df(states, as_of=moment), orders.as_of(moment)),
            (opened.df(states, valid_at=day(valid), known=moment),
             orders.valid_at(day(valid), as_of=moment)),
            (opened.df(states), orders.as_of(len(rows))),
        ):  # fmt: skip
            rows_told = told.project("stream, n").order("stream").fetchall()
            assert list(answer.itertuples(index=False, name=None)) == rows_told
        # As known then, states and events are of one mind.
        unlike = opened.df(
            "select count(*)"
            " from (select stream, max(revision) as revision from events group by 1) as e"
            " full join order_states as s using (stream, revision)"
            " where e.stream is null or s.stream is null",
            as_of=moment,
        )
        assert unlike.iloc[0, 0] == 0


def test_an_answer_knows_where_it_is_from(log: EventLog) -> None:
    text = "select $when as w, $price as p, $names as n, $nothing as x"
    params = {
        "when": START, "price": Decimal("1.10"), "names": ["a", "日本"], "nothing": None,
    }  # fmt: skip
    found = log.df(text, params, valid_at=day(5), known=log.event(next(log.read()).event_id))
    assert found.attrs == {
        "sql": text,
        "params": {
            "when": "2026-01-01T00:00:00.000000Z",
            "price": "1.10",
            "names": ["a", "日本"],
            "nothing": None,
        },
        "log": str(log.path),
        "log_id": log.log_id,
        "position": 10,
        "valid_at": "2026-01-06T00:00:00.000000Z",
        "known": 0,
    }
    json.dumps(found.attrs, allow_nan=False)
    found = log.df("select ?, $2", [float("nan"), date(2026, 1, 1)], as_of="2026-01-01")
    assert found.attrs["params"] == ["nan", "2026-01-01"]
    assert found.attrs["as_of"] == "2026-01-01"
    json.dumps(found.attrs, allow_nan=False)


def test_rows_beyond_the_limit_are_left_out_and_this_is_said(log: EventLog) -> None:
    with pytest.warns(UserWarning, match="the first 3 rows; there are more"):
        found = log.df("select position from events order by 1", limit=3)
    assert found["position"].tolist() == [0, 1, 2]
    assert found.attrs["row_limit"] == "the first 3 rows; there are more"
    for limit in (10, 11, None):
        found = log.df("select position from events", limit=limit)
        assert len(found) == 10
        assert "row_limit" not in found.attrs
    with pytest.warns(UserWarning, match="the first 100,000 rows"):
        assert len(log.df("from range(100_001)")) == 100_000
    assert len(log.df("from range(100_000)")) == 100_000
    for limit in (0, -1, True, "3"):
        with pytest.raises(QueryError, match="limit="):
            log.df("from events", limit=limit)  # type: ignore[arg-type]


BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("sql", "kind", "values"),
    [
        ("(9007199254740993), (null)", "Int64", [BIG, None]),
        ("(9007199254740993), (1)", "int64", [BIG, 1]),
        ("(9007199254740993::hugeint), (1)", "int64", [BIG, 1]),
        ("(9007199254740993::hugeint), (null)", "Int64", [BIG, None]),
        ("(170141183460469231731687303715884::hugeint), (null)", "object",
         [170141183460469231731687303715884, None]),
        ("(200::utinyint), (null)", "UInt8", [200, None]),
        ("(true), (null)", "boolean", [True, None]),
        ("(true), (false)", "bool", [True, False]),
        ("(12.50::decimal(18, 2)), (0.01)", "float64", [12.5, 0.01]),
        ("(1234567890123456.78::decimal(18, 2)), (0.01)", "object",
         [Decimal("1234567890123456.78"), Decimal("0.01")]),
        ("(null::decimal(18, 2)), (null)", "float64", [None, None]),
        ("(interval 90 minutes), (interval 2 days)", "timedelta64[us]",
         [timedelta(minutes=90), timedelta(days=2)]),
        ("(0.1::double), (1e300)", "float64", [0.1, 1e300]),
        ("('a'), ('日本')", "str", ["a", "日本"]),
    ],
)  # fmt: skip
def test_no_number_loses_a_digit(log: EventLog, sql: str, kind: str, values: list[Any]) -> None:
    found = log.df(f"select x from (values {sql}) as t(x)")["x"]
    assert str(found.dtype) == kind
    assert [None if pd.isna(value) else value for value in found] == values
    assert log.df(f"select x from (values {sql}) as t(x) where false").shape == (0, 1)


def test_names_that_stand_twice_and_none_at_all(log: EventLog) -> None:
    found = log.df("select 1 as a, 2 as a")
    assert found.shape == (1, 2)
    assert found.iloc[0].tolist() == [1, 2]


def test_times_are_shown_in_the_zone_of_the_log(log: EventLog) -> None:
    found = log.df("select max(occurred_on) as t from events where category = 'order'")["t"]
    assert str(found.dt.tz) == "Europe/Berlin"
    assert found[0] == day(9)


def test_categories_with_odd_names_have_their_states(log: EventLog) -> None:
    assert log.df("select a from it_em_ü_states")["a"].tolist() == [1]
    log.append("it-em", DomainEvent("E"))
    log.append("it_em-1", DomainEvent("E"))
    log.append("it em-1", DomainEvent("E"))
    with pytest.raises(TimelineError, match="it_em_states would stand for the categories"):
        log.df("from it_em_states")
    assert len(log.df("from it_states")) == 1


def test_states_follow_what_the_timeline_was_made_with(log: EventLog) -> None:
    log.timeline("order", fields=["n"])
    assert "status" not in log.df("from order_states").columns
    log.append("order-9", DomainEvent("OrderChanged", {"n": 99}))
    assert log.df("select max(n) from order_states").iloc[0, 0] == 99


class OrderChanged(Event):
    status: str = ""
    n: int = 0


class Order(Aggregate):
    total: int = 0

    def when_changed(self, e: OrderChanged) -> None:
        self.total += e.n


class ByStatus(Aggregate, by="status", category="by status"):
    changes: int = 0

    def when_changed(self, e: OrderChanged) -> None:
        self.changes += 1


def test_aggregate_classes_have_their_states(log: EventLog) -> None:
    log.register(Order, ByStatus)
    totals = "select stream, total from order_states order by 1"
    assert log.df(totals)["total"].tolist() == [0 + 3 + 6, 1 + 4 + 7, 2 + 5 + 8]
    assert log.df(totals, as_of=4)["total"].tolist() == [3, 5, 2]
    # The first of each stream in the log is the last that occurred.
    assert log.df(totals, valid_at=day(3))["total"].tolist() == [6, 7, 8]
    found = log.df("select stream, changes from by_status_states where stream = 'status:s1'")
    assert found.values.tolist() == [["status:s1", 1]]
    assert len(log.df("from by_status_states", as_of=2)) == 3


def test_moments_that_cannot_be(log: EventLog) -> None:
    for options, error, reason in (
        ({"as_of": 1, "valid_at": day(1)}, QueryError, "two clocks"),
        ({"as_of": 1, "known": 1}, QueryError, "two clocks|goes with valid_at"),
        ({"known": 1}, QueryError, "goes with valid_at"),
        ({"as_of": "yesterday"}, InstantError, "ISO 8601"),
        ({"valid_at": 99}, QueryError, "no event at position 99"),
        ({"as_of": True}, InstantError, "say a time or a position"),
    ):
        with pytest.raises(error, match=reason):
            log.df("from events", **options)  # type: ignore[arg-type]
    assert len(log.df("from events", valid_at=0)) == 9


def test_macros_have_moments_of_their_own(log: EventLog) -> None:
    assert len(log.df("from order_as_of('2100-01-01')")) == 3
    with pytest.raises(QueryError, match=r"order_as_of says its own moment.*order_states"):
        log.df("from order_as_of('2100-01-01')", as_of=3)


@pytest.mark.parametrize(
    ("sql", "line", "under"),
    [
        ("selec 1", "LINE 1: selec 1", "s"),
        ("select 1,\n  'ü日本', fro from from events", "  'ü日本', fro from from events", "f"),
        ("select 1,\n  nope from events", "LINE 2:   nope from events", "n"),
        ("select data::int\nfrom events", "LINE 1: select data::int", ":"),
    ],
)
def test_errors_point_at_the_place(log: EventLog, sql: str, line: str, under: str) -> None:
    with pytest.raises(QueryError) as caught:
        log.df(sql)
    said = str(caught.value).split("\n")
    [number] = [n for n, text in enumerate(said) if text.strip() == "^"]
    assert line in said[number - 1]
    assert said[number - 1][said[number].index("^")] == under
    assert str(log.path) not in str(caught.value)


def test_what_the_gate_refuses_is_refused_here_too(log: EventLog) -> None:
    for text in (
        "drop view events", "from read_csv('/etc/passwd')", "select 1; select 2",
        "select getenv('HOME')", "copy events to 'x'", "from '/etc/passwd'", "",
    ):  # fmt: skip
        for options in ({}, {"as_of": 3}):
            with pytest.raises(QueryError):
                log.df(text, **options)  # type: ignore[arg-type]
    assert len(log.df("from events")) == 10


def test_a_query_that_takes_too_long_is_stopped(log: EventLog) -> None:
    endless = "select count(*) from range(10_000_000) a, range(10_000_000) b where random() < 0"
    with pytest.raises(QueryError, match=r"longer than 0.1 s"):
        log.df(endless, timeout=0.1)
    assert len(log.df("from events", timeout=60)) == 10
    with pytest.raises(QueryError, match="seconds above 0"):
        log.df("from events", timeout=0)
