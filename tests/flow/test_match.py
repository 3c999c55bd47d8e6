"""Patterns in logs: conditions on payload, actor and state; what is said of wrong ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb.errors import FlowError
from esnb.event import DomainEvent
from esnb.eventlog import EventLog
from esnb.flow.grammar import parse
from tests.flow.slow_match import Case, Seen

START = datetime(2026, 1, 30, tzinfo=UTC)
TYPES = ("Placed", "Paid", 'It\'s "so"', "\U0001f6d2 gone")
HOUR = 3_600_000_000


@contextmanager
def log_of(events: list[dict[str, Any]]) -> Iterator[EventLog]:
    with (
        TemporaryDirectory() as folder,
        EventLog.create(Path(folder) / "log", zone="UTC", maintain=False) as log,
    ):
        for number, event in enumerate(events):
            given = {name: value for name, value in event.items() if name != "stream"}
            log.append(event["stream"], [DomainEvent(**given)])
            if number == 5:
                log.seal()
        yield log


def placed(stream: str, kind: str, hour: int = 0, **data: Any) -> dict[str, Any]:
    return {
        "stream": stream,
        "event_type": kind,
        "occurred_on": START + timedelta(hours=hour),
        "actor": data.pop("actor", None),
        "data": data,
    }


PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from([None, 0, 1, 2]),
        "text": st.sampled_from([None, "a", "it's"]),
        "deep": st.fixed_dictionaries({}, optional={"k": st.integers(0, 2)}),
    },
)
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "stream": st.sampled_from(["order-1", "order-2", "order-ü"]),
            "event_type": st.sampled_from(TYPES),
            "occurred_on": st.integers(0, 6).map(lambda n: START + timedelta(hours=n)),
            "actor": st.sampled_from([None, "ann", "bob"]),
            "tags": st.lists(
                st.sampled_from(["customer:1", "customer:2"]), max_size=2, unique=True
            ),
            "data": PAYLOADS,
        }
    ),
    min_size=1,
    max_size=12,
)
CONDITIONS = {
    "actor = 'ann'": lambda e, s: e["actor"] == "ann",
    "data.n >= 1": lambda e, s: (e["data"].get("n") or 0) >= 1,
    "data.n is null": lambda e, s: e["data"].get("n") is None,
    "data.text = 'it''s'": lambda e, s: e["data"].get("text") == "it's",
    "data.deep.k = 2 or actor = 'bob'": lambda e, s: (
        e["data"].get("deep", {}).get("k") == 2 or e["actor"] == "bob"
    ),
    "(data->>'n') = '2'": lambda e, s: e["data"].get("n") == 2,
    "state.n = 2": lambda e, s: s.get("n") == 2,
    "state.n = 1 and data.n is null": lambda e, s: s.get("n") == 1 and e["data"].get("n") is None,
    "event_type = 'Paid' and e.position % 2 = 0": lambda e, s: (
        e["event_type"] == "Paid" and e["position"] % 2 == 0
    ),
}
NAMES = [json.dumps(name, ensure_ascii=False) for name in TYPES]
ELEMENT = st.tuples(
    st.sampled_from([*NAMES, ".", f"!{NAMES[0]}", f"!({NAMES[1]}|{NAMES[2]})"]),
    st.sampled_from(["", *(f"[{condition}]" for condition in CONDITIONS)]),
).map("".join)
PATTERN = st.lists(
    st.one_of(
        ELEMENT,
        ELEMENT.map(lambda one: f"({one})*"),
        st.tuples(ELEMENT, ELEMENT).map(lambda two: f"({two[0]}|{two[1]})+"),
        st.sampled_from(["...", "(<2h)", "(>=1h)"]),
    ),
    min_size=1,
    max_size=4,
).map(" ".join)


def expected(
    events: list[dict[str, Any]], pattern: str, by: str | None, clock: str, within: int | None
) -> list[Any]:
    """Return case, match, element and position of each event, worked out slowly."""
    cases: dict[str, list[tuple[Any, Seen, int]]] = {}
    states: dict[str, dict[str, Any]] = {}
    for position, event in enumerate(events):
        state = states.setdefault(event["stream"], {})
        for key in ("n", "text"):
            if event["data"].get(key, 0) is None:
                state.pop(key, None)
            elif key in event["data"]:
                state[key] = event["data"][key]
        told = {**event, "position": position}
        holds = frozenset(text for text, holds in CONDITIONS.items() if holds(told, state))
        at = round((event["occurred_on"] - START) / timedelta(microseconds=1))
        seen = Seen(event["event_type"], at, holds)
        names = [event["stream"]] if by is None else event["tags"]
        order = at if clock == "occurred" else 0
        for name in names:
            cases.setdefault(name, []).append(((order, position), seen, position))
    found = []
    for name, case in sorted(cases.items()):
        case.sort(key=lambda one: one[0])
        slow = Case([seen for _, seen, _ in case], lambda text: int(text[0]) * HOUR, within)
        for number, (start, _, taken) in enumerate(slow.matches(parse(pattern)), start=1):
            for place, element in enumerate(taken, start=start):
                found.append((name, number, element, case[place][2]))
    return found


@settings(max_examples=60)
@given(
    EVENTS,
    PATTERN.filter(lambda text: any(sign in text.replace("...", "") for sign in '".!')),
    st.sampled_from([None, "customer:"]),
    st.sampled_from([None, 2]),
)
def test_matches_in_a_log_equal_the_slow_ones(
    events: list[dict[str, Any]], pattern: str, by: str | None, hours: int | None
) -> None:
    with log_of(events) as log:
        within = None if hours is None else timedelta(hours=hours)
        # Somewhere each key is said: one that nobody says is refused, see below.
        for kind in TYPES:
            log.append(
                "other-1", [DomainEvent(kind, {"n": 1, "text": "a", "deep": {"k": 1}}, actor="ann")]
            )
        log.append("order-3", [DomainEvent("Unseen", {"n": 1})])
        found = log.match(
            pattern, "order", by=by, streams=None if by else ["order-1", "order-2", "order-ü"],
            within=within, state="order",
        )  # fmt: skip
        rows = found.events().fetchall()
        ours = [
            (case, match, element, position) for case, match, element, _, _, position, _ in rows
        ]
        limit = None if hours is None else hours * HOUR
        assert ours == expected(events, pattern, by, "occurred", limit)
        for _, _, _, kind, at, position, event_id in rows:
            assert kind == events[position]["event_type"]
            assert at == events[position]["occurred_on"]
            assert log.events(event_id=event_id).fetchall()[0][0] == position
        assert found.count == len({row[:2] for row in rows})
        streams = found.streams().fetchall()
        assert [(case, n) for case, n, _, _ in streams] == sorted(
            (case, max(m for c, m, *_ in rows if c == case)) for case in {row[0] for row in rows}
        )
        assert found.cases == len(streams)
        assert found.flow().durations().project("case_id").fetchall() == [(s[0],) for s in streams]
        for case, match, first, last, duration, count, begin, end in found.matches().fetchall():
            own = [row for row in rows if row[:2] == (case, match)]
            assert (first, last, len(own)) == (own[0][4], own[-1][4], count)
            assert duration == last - first
            assert (begin, end) == (own[0][5], own[-1][5])


@pytest.fixture(scope="module")
def shop() -> Iterator[EventLog]:
    events = [
        placed("order-1", "OrderPlaced", 0, total="49.90", items=2, city={"name": "Wien"}),
        placed("order-1", "PaymentFailed", 1, why="limit", mixed=1, actor="ann"),
        placed("order-1", "PaymentFailed", 2, why=None, mixed="x"),
        placed("order-2", "OrderPlaced", 30, total="410.00", items=10, city={"name": "Bonn"}),
        placed("order-2", "OrderShipped", 100, actor="bob"),
        {
            **placed("item-1", "ItemSeen", 5),
            "data": '{"secret": 1, "fine": 12345678901234567.89, "part": 0.5}',
        },
    ]
    with log_of(events) as log:
        yield log


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("OrderPlaced[data.total::DECIMAL(18, 2) > 100]", 1),
        ("OrderPlaced[data.items > 2]", 1),
        ("OrderPlaced[data.items in (2, 10)]", 2),
        ("OrderPlaced[data.city.name = 'Wien']", 1),
        ('OrderPlaced[data."city"."name" like \'B%\']', 1),
        ("PaymentFailed[data.why is null]", 1),
        ("PaymentFailed[(data->>'why') = 'limit']", 1),
        ("PaymentFailed[actor = 'ann'] PaymentFailed", 1),
        (".[state.total = '49.90']", 3),
        ("OrderShipped[state.items = 10]", 1),
        ("!OrderPlaced[true] $", 2),
        ("OrderPlaced[list_contains([1, 2], data.items)]", 1),
        ("PaymentFailed (<=1h) PaymentFailed", 1),
        ("PaymentFailed (<1h) PaymentFailed", 0),
        ("OrderPlaced (>2d) .", 1),
    ],
)
def test_conditions(shop: EventLog, pattern: str, count: int) -> None:
    assert shop.match(pattern, "order", state="order").count == count


@pytest.mark.parametrize(
    ("pattern", "reason", "column"),
    [
        ("OrderPlacd", "no event type 'OrderPlacd' in this flow. Did you mean 'OrderPlaced'", 0),
        ("OrderPlaced !(OrderPlaced | shipped)", "Did you mean 'OrderShipped'", 28),
        ("OrderPlaced[data.total > 100]", "data.total is text here", 12),
        ("PaymentFailed[data.mixed >= 1]", "data.mixed is of several kinds here", 14),
        ("PaymentFailed[data.whi = 'x']", "no key in data called 'whi'", 14),
        ("OrderPlaced[data.city.nam = 'x']", "no key in data.city called 'nam'", 12),
        ("OrderPlaced[data.city.name = 'x' or data.city is null]", "cannot be asked for toget", 12),
        ("OrderPlaced[actr = 'x']", "the condition fails (Binder Error", 12),
        ("OrderPlaced[actor = ]", "DuckDB cannot parse", 12),
        ("OrderPlaced[data.total::INTEGER[] = 1]", "the condition fails", 12),
        ("OrderPlaced[(data.total || 'x')::INTEGER > 1]", "the condition fails (Conversion", 12),
        ("OrderPlaced[true) or (true]", "DuckDB cannot parse", 12),
        ("OrderPlaced[exists (from read_text('/etc/passwd'))]", "is not allowed here", 12),
        ("OrderPlaced[true; drop table events]", "DuckDB cannot parse", 12),
        ("OrderPlaced[state.total > 100]", "state.total is text here", 12),
        ("OrderPlaced[state.totl = 1]", "no field of the state called 'totl'", 12),
        ("OrderPlaced (<= soon) .", "is no length of time", 16),
    ],
)
def test_what_is_wrong_is_pointed_at(
    shop: EventLog, pattern: str, reason: str, column: int
) -> None:
    with pytest.raises(FlowError) as raised:
        shop.match(pattern, "order", state="order")
    assert reason in str(raised.value)
    assert str(raised.value).endswith(f"\n    {pattern}\n    {' ' * column}^")


def test_a_number_of_many_digits(shop: EventLog) -> None:
    assert shop.match("ItemSeen[data.part > 0.25]", "item").count == 1
    with pytest.raises(FlowError, match="has numbers of more digits"):
        shop.match("ItemSeen[data.fine::DECIMAL(20, 2) = 12345678901234567.89]", "item")
    exact = "ItemSeen[state.fine::DECIMAL(20, 2) = 12345678901234567.89]"
    assert shop.match(exact, "item", state="item").count == 1
    assert shop.match(exact.replace(".89", ".88"), "item", state="item").count == 0


def test_a_state_needs_a_timeline(shop: EventLog) -> None:
    with pytest.raises(FlowError, match="say which timeline"):
        shop.match("OrderPlaced[state.total = '1']", "order")
    what_if = shop.timeline("order").what_if(drop=[0])
    for wrong in (what_if, 7):
        with pytest.raises(FlowError, match="give a timeline of this log"):
            shop.match("OrderPlaced", "order", state=wrong)  # type: ignore[arg-type]


def test_types_and_keys_elsewhere_in_the_log_are_no_error(shop: EventLog) -> None:
    # A part of the log without a failure is no reason to refuse the question.
    assert shop.match("OrderShipped+", "order", streams=["order-1"]).count == 0
    assert shop.match("!OrderShipped+", "order", streams=["order-1"]).count == 1
    assert shop.match(".[data.why = 'limit']", "order", streams=["order-2"]).count == 0
    nothing = shop.match("Anything[data.x = 1] ... Else", "nothing")
    assert (nothing.count, nothing.cases, nothing.events().fetchall()) == (0, 0, [])
    assert nothing.streams().fetchall() == nothing.matches().fetchall() == []


def test_where_and_window_choose_the_events(shop: EventLog) -> None:
    assert shop.match("OrderPlaced OrderShipped", "order").count == 1
    part = shop.match("^ OrderShipped $", window=("2026-02-01T00:00:00Z", None))
    assert part.streams().fetchall()[0][:2] == ("order-2", 1)
    without = shop.match("OrderPlaced $", "order", where="event_type <> 'PaymentFailed'")
    assert [case for case, *_ in without.streams().fetchall()] == ["order-1"]


def test_within(shop: EventLog) -> None:
    longest = shop.match("OrderPlaced PaymentFailed+", "order")
    (row,) = longest.matches().fetchall()
    assert (row[4], row[5]) == (timedelta(hours=2), 3)
    # The longest takes too long: then a shorter one.
    (row,) = shop.match("OrderPlaced PaymentFailed+", "order", within="1h").matches().fetchall()
    assert (row[4], row[5]) == (timedelta(hours=1), 2)
    assert shop.match("OrderPlaced PaymentFailed+", "order", within="30 min").count == 0
    assert shop.match("OrderPlaced .*", "order", within=timedelta(days=100_000)).count == 2
    with pytest.raises(FlowError, match="no length of time"):
        shop.match("OrderPlaced", within="1 month")


def test_a_table_has_matches_too() -> None:
    rows = pd.DataFrame(
        {
            "case_id": ["b", "a", "a"],
            "what": ["X", "X", 'Y "\U0001f600"'],
            "time": pd.Timestamp(0, tz="UTC"),
        }
    )
    flow = esnb.flow(rows, case_id="case_id", event_type="what", time="time")
    found = flow.match("X 'Y \"\U0001f600\"'")
    at = datetime(1970, 1, 1, tzinfo=UTC)
    assert found.events().fetchall() == [
        ("a", 1, 1, "X", at, 1, None),
        ("a", 1, 2, 'Y "\U0001f600"', at, 2, None),
    ]
    with pytest.raises(FlowError, match="of a table, not of a log"):
        flow.match("X[actor = 'x']")
    with pytest.raises(FlowError, match="There are: 'X'"):
        flow.match("x")


def test_names_are_data(shop: EventLog) -> None:
    types = ["<script>alert(1)</script>" * 400, "\ud7ff\n\x00", "'\"", "A|B"]
    rows = pd.DataFrame({"case_id": "<b>", "what": types, "time": pd.Timestamp(0, tz="UTC")})
    flow = esnb.flow(rows, case_id="case_id", event_type="what", time="time")
    found = flow.match(f"'{types[0]}' \"\\ud7ff\\n\\u0000\" '\\'\"' \"A|B\"")
    assert found.count == 1
    assert [row[3] for row in found.events().fetchall()] == types
    assert "&lt;b&gt;" in found._repr_html_()
    assert "<script>" not in found._repr_html_()
    assert len(repr(found)) < 200
    assert "2 in 2 of 2 cases" in repr(shop.match("OrderPlaced", "order", within="2d"))
