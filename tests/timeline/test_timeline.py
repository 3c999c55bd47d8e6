"""Timelines by example: names and types of fields, moments, growth, errors, how it shows itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from esnb.errors import InstantError, TimelineError
from esnb.event import RecordedEvent
from esnb.timeline import Timeline
from tests.timeline.standin import START, MemoryLog


def written(*payloads: str, stream: str = "order-1", **options: Any) -> Timeline:
    """Return the timeline of one stream with these payloads."""
    log = MemoryLog(zone="UTC")
    for payload in payloads:
        log.write(stream, "Changed", payload)
    return Timeline(log, "order", **options)


def final(line: Timeline) -> dict[str, Any]:
    relation = line.as_of(10**6)
    (row,) = relation.fetchall()
    return {name: value for name, value in zip(relation.columns, row, strict=True)}  # noqa: C416


def column(relation: Any, name: str) -> list[Any]:
    return [value for (value,) in relation.select(f'"{name}"').fetchall()]


@pytest.mark.parametrize(
    ("values", "kind", "last"),
    [
        (["true", "null", "false"], "BOOLEAN", False),
        (["1", "-9223372036854775808", "9223372036854775807"], "BIGINT", 2**63 - 1),
        (["1", "9223372036854775808"], "VARCHAR", "9223372036854775808"),
        (["1", "123456789012345678901234567890"], "VARCHAR", "123456789012345678901234567890"),
        (["1", "1.10"], "DOUBLE", 1.1),
        (["0.1", "1e3", "1.50000000000000000000"], "DOUBLE", 1.5),
        (["9007199254740993", "0.5"], "VARCHAR", "0.5"),
        (["0.5", "12345678901234567.89"], "VARCHAR", "12345678901234567.89"),
        (["0.5", "1e-400"], "VARCHAR", "1E-400"),
        (['"2026"', "null", '"é\\u00e9"'], "VARCHAR", "éé"),
        (["null", "null"], "VARCHAR", None),
        (['"1"', "1"], "JSON", "1"),
        (["1", '"1"'], "JSON", '"1"'),
        (['"a"', "12345678901234567.89"], "JSON", "12345678901234567.89"),
        (["true", "1"], "JSON", "1"),
        (["[]", '[1, {"b": null}]'], "JSON", '[1,{"b":null}]'),
        (["[12345678901234567.89]"], "JSON", "[12345678901234567.89]"),
        (["[1e-400]"], "JSON", "[1E-400]"),
        (['{"a": {"b": 1}}', '{"a": {"c": 12345678901234567.89, "b": null}}'], "JSON",
         '{"a":{"c":12345678901234567.89}}'),
        (['{"a": 1}', "null"], "JSON", None),
    ],
)  # fmt: skip
def test_types_follow_the_values_and_lose_nothing(values: list[str], kind: str, last: Any) -> None:
    line = written(*(f'{{"x": {value}}}' for value in values))
    assert line.fields["x"] == ("x", kind)
    assert final(line)["x"] == last
    valid = line.valid_at(START + timedelta(days=9))
    assert column(valid, "x") == [last]


def test_hostile_keys_stay_apart_and_are_all_there() -> None:
    keys = [
        "Amount", "amount", "AMOUNT", "amount_2", "stream", "Position", "valid_to", "a.b", "a", "*",
        "$", "$.a", "", "~", "/", "~1", '"', "'", "\\\\", "é", "É", "ß", "ss", "🜁", "\\u0000", "␀",
        "0", "#", "[0]", "ended", " ", "ts", "known", "b", "row", "field", "{}", "{x}", "%s", "?",
    ]  # fmt: skip
    payload = ", ".join(
        f'"{key if key.startswith(chr(92)) else key.replace(chr(34), chr(92) + chr(34))}": {i}'
        for i, key in enumerate(keys)
    )
    line = written(f"{{{payload}}}")
    row = final(line)
    fields = line.fields
    assert [row[name] for name in fields] == list(range(len(keys)))
    assert list(fields)[:4] == ["Amount", "amount_2", "AMOUNT_3", "amount_2_2"]
    assert {"stream_2", "Position_2", "valid_to_2", "empty_key", "ended_2"} <= set(fields)
    assert fields["AMOUNT_3"] == ("AMOUNT", "BIGINT")
    assert len({name.casefold() for name in row}) == len(row)
    assert len(line.diff(-1, 0).fetchall()) == len(line.blame("order-1").fetchall()) == len(keys)
    assert [r[-len(keys) :] for r in line.valid_at(START).fetchall()] == [tuple(range(len(keys)))]
    for name in ("é", "amount_2", "{}", "empty_key"):
        assert line.counts(name).fetchall()


def test_an_escaped_key_is_the_key() -> None:
    line = written('{"a": 1, "o": {"k": 1}}', '{"\\u0061": 2, "\\u006f": {"\\u006b": null}}')
    assert set(line.fields) == {"a", "o"}
    assert (final(line)["a"], final(line)["o"]) == (2, "{}")


def test_names_stay_when_the_log_grows() -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order")
    log.write("order-1", "Changed", '{"b": 1}')
    assert list(line.fields) == ["b"]
    log.write("order-1", "Changed", '{"a": 1, "B": "x", "b": 1.5}')
    assert {name: field.type for name, field in line.fields.items()} == {
        "b": "DOUBLE",
        "a": "BIGINT",
        "B_2": "VARCHAR",
    }


def test_the_next_question_sees_new_events_and_old_answers_stay() -> None:
    log = MemoryLog(zone="UTC")
    log.write("order-1", "Placed", '{"n": 1}')
    line = Timeline(log, "order")
    before = line.history()
    first = line.built()
    assert line.built() == first
    log.write("order-2", "Placed", '{"n": 2}')
    assert len(line.history().fetchall()) == 2
    assert len(before.fetchall()) == 1
    assert line.built() != first


def test_a_type_may_be_declared() -> None:
    line = written(
        '{"price": 12345678901234567.89, "on": "2026-03-01", "l": [1], "x": "1", "s": {"a": 1}}',
        '{"price": 1, "x": 2.50}',
        fields={
            "price": "DECIMAL(38, 2)", "on": "DATE", "l": "INTEGER[]", "x": "VARCHAR", "s": "JSON",
            "later": "BIGINT",
        },
    )  # fmt: skip
    history = line.history()
    assert column(history, "price") == [Decimal("12345678901234567.89"), Decimal(1)]
    assert column(history, "l") == [[1], [1]]
    assert column(history, "x") == ["1", "2.5"]
    assert column(history, "later") == [None, None]
    assert line.valid_at(START + timedelta(days=1)).fetchall()[0][-6:] == history.fetchall()[1][-6:]


def test_a_value_that_does_not_fit_a_declared_type_is_an_error() -> None:
    told = (
        r"'x' is declared BIGINT and is \"it's\" in the event at position 1 of 'order-1'.*not fit"
    )
    line = written('{"x": 1, "y": "-"}', '{"x": "it\'s"}', fields={"y": "VARCHAR", "x": "BIGINT"})
    with pytest.raises(TimelineError, match=told):
        line.as_of(0)
    with pytest.raises(TimelineError, match=told):
        line.valid_at(START)


def test_what_an_ending_event_says_is_not_folded() -> None:
    log = MemoryLog(zone="UTC")
    log.write("order-1", "Placed", '{"x": 1}')
    log.write("order-1", "Gone{}", '{"x": "why", "y": 2}')
    line = Timeline(log, "order", ends=["Gone{}"], fields={"x": "BIGINT"})
    assert column(line.history(), "x") == [1, None]
    assert line.as_of(1).fetchall() == line.valid_at(START + timedelta(days=1)).fetchall() == []
    assert list(Timeline(log, "order", ends="Gone{}").fields) == ["x"]
    removed = Timeline(log, "order", ends="Gone{}").diff(0, 1).fetchall()
    assert [row[:6] for row in removed] == [("order-1", "removed", "x", "1", None, 1)]


def test_a_new_life_begins_from_nothing() -> None:
    log = MemoryLog(zone="UTC")
    for event_type, data in (
        ("Placed", '{"deep": {"a": 1}, "flat": 1, "gone": 1}'),
        ("Changed", '{"gone": null}'),
        ("Gone", "{}"),
        ("Gone", "{}"),
        ("Placed", '{"deep": {"b": 2}}'),
    ):
        log.write("order-1", event_type, data)
    line = Timeline(log, "order", ends=["Gone"])
    assert column(line.history(), "deep") == ['{"a":1}', '{"a":1}', None, None, '{"b":2}']
    assert column(line.history(), "flat") == [1, 1, None, None, None]
    assert column(line.valid_at(START + timedelta(days=1)), "deep") == ['{"b":2}']
    assert [row[:6] for row in line.diff(0, 3).fetchall()] == [
        ("order-1", "removed", "deep", '{"a":1}', None, 2),
        ("order-1", "removed", "flat", "1", None, 2),
        ("order-1", "removed", "gone", "1", None, 2),
    ]
    assert [row[:6] for row in line.diff(0, 4).fetchall()] == [
        ("order-1", "changed", "deep", '{"a":1}', '{"b":2}', 4),
        ("order-1", "changed", "flat", "1", None, 2),
        ("order-1", "changed", "gone", "1", None, 1),
    ]
    assert [row[:3] for row in line.blame("order-1").fetchall()] == [("deep", '{"b":2}', 4)]
    assert [row[:3] for row in line.blame("order-1", 1).fetchall()] == [
        ("deep", '{"a":1}', 0),
        ("flat", "1", 0),
        ("gone", None, 1),
    ]


def test_a_value_counts_only_if_it_stood_for_a_while() -> None:
    log = MemoryLog(zone="UTC")
    for value in ("new", "paid"):
        log.write("order-1", "Changed", f'{{"status": "{value}"}}', recorded_on=START)
    assert {row[1] for row in Timeline(log, "order").counts("status").fetchall()} == {"paid"}


def test_fields_and_ignore_choose() -> None:
    payload = '{"a": 1, "b": 2, "c": 3}'
    assert list(written(payload, fields=["c", "a"]).fields) == ["c", "a"]
    assert list(written(payload, ignore=["b"]).fields) == ["a", "c"]
    for options in ({"fields": ["aa"]}, {"ignore": ["aa"]}):
        with pytest.raises(TimelineError, match=r"no field 'aa' here. Did you mean 'a'"):
            _ = written(payload, **options).fields


@pytest.mark.parametrize(
    "options",
    [
        {"fold": "sum"},
        {"ends": [1]},
        {"fields": {"a": "INTEGER; DROP TABLE events"}},
        {"fields": {"a": "ENUM('x')"}},
        {"fields": {"a": ""}},
        {"ignore": [None]},
    ],
)
def test_wrong_arguments_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(TimelineError):
        Timeline(MemoryLog(), "order", **options)


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(TimelineError, match="NOSUCH"):
        written('{"a": 1}', fields={"a": "NOSUCH"}).as_of(0)


def test_too_many_keys_are_refused_with_advice() -> None:
    line = written("{" + ", ".join(f'"k{i}": 1' for i in range(1001)) + "}")
    with pytest.raises(TimelineError, match=r"1,001 different keys.*fields="):
        line.as_of(0)
    some = Timeline(line._source, "order", fields=["k7"])
    assert final(some)["k7"] == 1


def test_moments_come_in_many_forms() -> None:
    log = MemoryLog(zone="Europe/Berlin")
    for i in range(3):
        log.write("order-1", "Changed", f'{{"n": {i}}}')
    line = Timeline(log, "order")
    at = START + timedelta(hours=1)
    event = log.written[1]
    recorded = RecordedEvent(
        position=1, stream=event.stream, revision=1, recorded_on=event.recorded_on, event_id="e",
        event_type="Changed", schema_version=1, occurred_on=event.occurred_on, actor=None,
        correlation_id=None, causation_id=None, tags=(), data_text="{}", metadata_text="{}",
    )  # fmt: skip
    berlin = at.astimezone(ZoneInfo("Europe/Berlin"))
    for when in (1, at, recorded, at.isoformat(), pd.Timestamp(at), berlin, "2026-03-29 00:30"):
        assert column(line.as_of(when), "n") == [1], when
        assert column(line.valid_at(when), "n") == [1], when
    assert column(line.valid_at(2, as_of=0), "n") == [0]
    with pytest.raises(TimelineError, match="no event at position 9"):
        line.valid_at(9)


def test_a_naive_time_needs_a_declared_zone() -> None:
    line = written('{"n": 1}')
    naive = Timeline(MemoryLog(zone=None), "order")
    assert line.as_of("2026-03-30").fetchall()
    for ask in (naive.as_of, naive.valid_at, lambda at: naive.diff(at, at)):
        with pytest.raises(InstantError):
            ask("2026-03-30")
    for nonsense in (True, None, 1.5, "yesterday"):
        with pytest.raises(InstantError):
            line.as_of(nonsense)


def test_a_state_replaced_at_its_instant_is_there_by_position_only() -> None:
    log = MemoryLog(zone="UTC")
    for n in range(3):
        log.write("order-1", "Changed", f'{{"n": {n}}}', recorded_on=START)
    line = Timeline(log, "order")
    assert column(line.as_of(START), "n") == [2]
    assert [column(line.as_of(position), "n") for position in range(3)] == [[0], [1], [2]]
    assert column(line.history(), "system_to") == [START, START, None]


def test_diff_refuses_a_pair_that_has_no_between() -> None:
    line = written('{"n": 1}')
    with pytest.raises(TimelineError, match="swap"):
        line.diff(1, 0)
    with pytest.raises(TimelineError, match="swap"):
        line.diff("2026-03-30", "2026-03-29")
    with pytest.raises(TimelineError, match="same way"):
        line.diff(0, "2026-03-29")


def test_a_stream_without_fields_comes_and_goes_visibly() -> None:
    log = MemoryLog(zone="UTC")
    log.write("order-1", "Placed")
    log.write("order-1", "Gone")
    line = Timeline(log, "order", ends=["Gone"])
    assert [row[:6] for row in line.diff(-1, 0).fetchall()] == [
        ("order-1", "added", None, None, None, 0)
    ]
    assert [row[:6] for row in line.diff(0, 1).fetchall()] == [
        ("order-1", "removed", None, None, None, 1)
    ]
    assert line.diff(-1, 1).fetchall() == []
    assert line.blame("order-1", 0).fetchall() == []


def test_a_category_without_events_answers() -> None:
    line = Timeline(MemoryLog(zone="UTC"), "order", fields={"status": "VARCHAR"})
    for relation in (
        line.as_of(0),
        line.valid_at(START),
        line.history(),
        line.diff(0, 9),
        line.counts("status"),
        line.counts("status", start=START, end=START + timedelta(days=1)),
    ):
        assert relation.fetchall() == []
    with pytest.raises(TimelineError, match=r"no stream 'order-1' here. There are none yet"):
        line.blame("order-1")
    assert "0 events" in line._repr_html_()
    nothing = Timeline(MemoryLog(zone="UTC"), "order", fields=["a"], ignore=["b"])
    assert nothing.as_of(0).fetchall() == [] == nothing.history().fetchall()
    assert nothing.fields == {}


def test_unknown_streams_and_fields_name_near_ones() -> None:
    line = written('{"status": "new"}', stream="order-17")
    with pytest.raises(TimelineError, match=r"no stream 'order-71' here. Did you mean 'order-17'"):
        line.history("order-71")
    with pytest.raises(TimelineError, match=r"no field 'state' here. Did you mean 'status'"):
        line.counts("state")
    for odd in (17, "\ud800"):
        with pytest.raises(TimelineError):
            line.blame(odd)  # type: ignore[arg-type]


def test_days_are_days_of_the_zone() -> None:
    log = MemoryLog(zone="Europe/Berlin")
    for number, day in enumerate((28, 30), 1):
        when = datetime(2026, 3, day, 12, tzinfo=UTC)
        log.write(f"order-{number}", "Placed", '{"time": "x"}', recorded_on=when)
    relation = Timeline(log, "order").counts("time")
    assert relation.columns == ["time", "time_2", "count"]
    assert [(at.astimezone(UTC), n) for at, _, n in relation.fetchall()] == [
        (datetime(2026, 3, 27, 23, tzinfo=UTC), 0),
        (datetime(2026, 3, 28, 23, tzinfo=UTC), 1),
        (datetime(2026, 3, 29, 22, tzinfo=UTC), 1),
        (datetime(2026, 3, 30, 22, tzinfo=UTC), 2),
    ]
    line = Timeline(log, "order")
    ends = line.counts("event_type", timedelta(hours=12), start="2026-03-29", end="2026-03-30")
    assert [n for _, _, n in ends.fetchall()] == [1, 1]  # the day has 23 hours
    months = line.counts("actor", "1 month", start="2026-01-31", end="2026-04-30")
    assert [at.astimezone(ZoneInfo("Europe/Berlin")).day for at, _, _ in months.fetchall()] == [
        31, 28, 31, 30,
    ]  # fmt: skip


def test_counts_refuses_ticks_that_make_no_sense() -> None:
    line = written('{"a": 1}', '{"a": 2}')
    for every in ("soon", "0 days", "-1 day", timedelta(0), "1 month -1 day"):
        with pytest.raises(TimelineError, match="every="):
            line.counts("a", every)
    with pytest.raises(TimelineError, match="100,000 ticks"):
        line.counts("a", "1 microsecond")
    with pytest.raises(TimelineError, match="start lies after end"):
        line.counts("a", start="2026-03-30", end="2026-03-29")


def test_it_shows_itself_without_running_what_it_shows() -> None:
    line = written('{"<script>": "x"}', stream="order-1", ends=["<Gone>"])
    assert repr(line) == "Timeline('order', fold='patch', ends=('<Gone>',))"
    page = line._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert re.search("1 events, 1 streams, 1 there now", page)
    assert "FROM events AS e" in line.sql
    assert line.category == "order"
