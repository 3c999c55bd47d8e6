"""Folds of other forms of payload, and events that change nothing, against the slow fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import jsontext
from esnb.errors import TimelineError
from esnb.timeline import Timeline
from tests.timeline import reference
from tests.timeline.reference import Event
from tests.timeline.standin import INSTANTS, MOMENTS, PAYLOADS, START, VALUES, MemoryLog
from tests.timeline.test_folds import as_shown, check_event, check_state, dicts, shown_text

asked = settings(max_examples=40)

State = dict[str, Any] | None


@dataclass
class Case:
    """A log, how it is asked, and how the slow fold reads it."""

    log: MemoryLog
    options: dict[str, Any]
    step: Callable[[State, Event, dict[str, Any]], State]
    noop: Any = None
    ends: tuple[str, ...] = ()
    table: dict[str, list[reference.Row]] = field(default_factory=dict)

    def line(self) -> Timeline:
        return Timeline(self.log, "order", **self.options, noop=self.noop, ends=self.ends)

    def fold(self, events: list[Event]) -> list[State]:
        """Return the state after each event, ``None`` where the aggregate is not there."""
        states: list[State] = []
        state: State = None
        for event in events:
            payload = reference.thawed(jsontext.parse_object(event.data))
            if not failed(payload, self.noop):
                state = None if event.event_type in self.ends else self.step(state, event, payload)
            states.append(state)
        return states


def failed(payload: dict[str, Any], noop: Any) -> bool:
    if noop is None:
        return False
    if isinstance(noop, dict):
        return all(
            key in payload and type(payload[key]) is type(value) and payload[key] == value
            for key, value in noop.items()
        )
    return any(payload.get(key) is not None for key in noop)


def patch(state: State, _: Event, payload: dict[str, Any]) -> State:
    result: State = reference.patched(state or {}, payload)
    return result


def snapshot(_: State, __: Event, payload: dict[str, Any]) -> State:
    return {key: value for key, value in payload.items() if value is not None}


def before_after(state: State, event: Event, payload: dict[str, Any]) -> State:
    before, after = payload.get("was~"), payload.get("now/")
    if isinstance(after, dict):
        return snapshot(state, event, after)
    return None if after is None and before is not None else state


def attributes(state: State, _: Event, payload: dict[str, Any]) -> State:
    state = dict(state or {})
    name = payload.get("field")
    if isinstance(name, str) and "new_value" in payload:
        if payload["new_value"] is None:
            state.pop(name, None)
        else:
            state[name] = payload["new_value"]
    return state


NOT_OBJECTS = st.sampled_from([None, True, 1, "x", [], [1, 2]])
BEFORE_AFTER = st.one_of(
    PAYLOADS.map(lambda after: {"was~": None, "now/": after}),
    st.fixed_dictionaries(
        {},
        optional={
            "was~": st.one_of(NOT_OBJECTS, PAYLOADS),
            "now/": st.one_of(NOT_OBJECTS, PAYLOADS, PAYLOADS),
            "0": st.just("not meant"),
        },
    ),
)
CHANGES = st.one_of(
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda key: st.fixed_dictionaries({"field": st.just(key), "new_value": VALUES[key]})
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "field": st.sampled_from(["count", "", None, 1, ["count"]]),
            "new_value": st.sampled_from([None, 1, {"a": 1}]),
        },
    ),
)
FORMS: dict[str, Any] = {
    "patch": (PAYLOADS, {}, patch),
    "snapshot": (PAYLOADS, {"fold": "snapshot"}, snapshot),
    "before/after": (
        BEFORE_AFTER,
        {"fold": "before/after", "before": "was~", "after": "now/"},
        before_after,
    ),
    "attributes": (
        CHANGES,
        {"fold": "attributes", "attribute": "field", "value": "new_value"},
        attributes,
    ),
}
MARKS = st.sampled_from([{}, {}, {}, {"err'or": None}, {"err'or": "x"}, {"err'or": False}])
NOOPS = st.sampled_from([None, ("err'or",), ("none", "err'or"), {"err'or": "x"}, {"err'or": False}])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    payloads, options, step = FORMS[draw(st.sampled_from(sorted(FORMS)))]
    log = MemoryLog(zone="Europe/Berlin")
    noop = draw(NOOPS)
    if noop is None and step in (patch, snapshot):
        noop = ("err'or",)  # what is left without it is in test_folds
    for _ in range(draw(st.integers(0, 9))):
        log.write(
            draw(st.sampled_from(["order-1", "order-2", "other-1"])),
            draw(st.sampled_from(["Changed", "Changed", "Gone"])),
            jsontext.canonical(draw(payloads) | draw(MARKS)),
            occurred_on=draw(INSTANTS),
            recorded_on=draw(INSTANTS),
        )
    case = Case(log, options, step, noop, draw(st.sampled_from([(), ("Gone",)])))
    case.table = rows(case)
    return case


def rows(case: Case) -> dict[str, list[reference.Row]]:
    """Return what `reference.rows` would, with the states of `case`."""
    table = reference.rows(case.log.written, "order", "snapshot", ())
    for stream, own in reference.streams_of(case.log.written, "order").items():
        for row, state in zip(table[stream], case.fold(own), strict=True):
            row.ended, row.state = state is None, state or {}
    return table


@asked
@given(cases(), MOMENTS)
def test_as_of(case: Case, when: datetime | int) -> None:
    line = case.line()
    expected = reference.as_of(case.table, when)
    found = dicts(line.as_of(when))
    assert sorted(row["stream"] for row in found) == sorted(expected)
    for row in found:
        wanted = expected[row["stream"]]
        check_event(row, wanted.event)
        check_state(line, row, wanted.state)


@asked
@given(cases())
def test_history(case: Case) -> None:
    line = case.line()
    found = dicts(line.history())
    assert len(found) == sum(map(len, case.table.values()))
    for stream, own in case.table.items():
        there = dicts(line.history(stream))
        for row, wanted in zip(there, own, strict=True):
            check_event(row, wanted.event)
            assert row["ended"] == wanted.ended
            check_state(line, row, wanted.state)


@asked
@given(cases(), st.integers(0, 9))
def test_states_go_on_as_the_log_grows(case: Case, first: int) -> None:
    later = case.log.written[first:]
    del case.log.written[first:]
    line = case.line()
    line.as_of(0).fetchall()
    for event in later:
        case.log.written.append(event)
        line.as_of(0).fetchall()
    for stream, own in case.table.items():
        for row, wanted in zip(dicts(line.history(stream)), own, strict=True):
            assert row["ended"] == wanted.ended
            check_state(line, row, wanted.state)


@asked
@given(cases(), INSTANTS, st.one_of(st.none(), MOMENTS))
def test_valid_at(case: Case, when: datetime, known: datetime | int | None) -> None:
    line = case.line()
    expected = {}
    for stream, own in case.table.items():
        arrived = own if known is None else reference.upto(own, known)
        ordered = sorted((row.event for row in arrived), key=lambda e: (e.occurred_on, e.position))
        past = [event for event in ordered if event.occurred_on <= when]
        if past and (state := case.fold(past)[-1]) is not None:
            expected[stream] = (past[-1], state)
    found = dicts(line.valid_at(when, known))
    assert sorted(row["stream"] for row in found) == sorted(expected)
    for row in found:
        event, state = expected[row["stream"]]
        check_event(row, event)
        check_state(line, row, state)


@asked
@given(cases(), st.lists(st.integers(-1, 10), min_size=2, max_size=2))
def test_diff(case: Case, pair: list[int]) -> None:
    a, b = sorted(pair)
    line = case.line()
    kinds = {name: (info.key, info.type) for name, info in line.fields.items()}
    found = set()
    for row in dicts(line.diff(a, b)):
        key, kind = kinds[row["field"]] if row["field"] is not None else (None, "VARCHAR")
        before, after = shown_text(row["before"], kind), shown_text(row["after"], kind)
        found.add((row["stream"], row["change"], key, before, after, row["position"]))
    by_key = dict(kinds.values())
    assert found == {
        (stream, change, key, as_shown(x, key, by_key), as_shown(y, key, by_key), cause)
        for stream, change, key, x, y, cause in reference.diff(case.table, a, b)
    }


@asked
@given(cases(), st.one_of(st.none(), MOMENTS))
def test_blame(case: Case, at: Any) -> None:
    line = case.line()
    kinds = {name: (info.key, info.type) for name, info in line.fields.items()}
    by_key = dict(kinds.values())
    for stream, own in case.table.items():
        found = {}
        for row in dicts(line.blame(stream, at)):
            key, kind = kinds[row["field"]]
            found[key] = (shown_text(row["value"], kind), row["position"])
        assert found == {
            key: (as_shown(text, key, by_key), cause)
            for key, (text, cause) in reference.blame(own, at).items()
        }


def written(*payloads: str, **options: Any) -> Timeline:
    log = MemoryLog(zone="UTC")
    for payload in payloads:
        log.write("order-1", "Changed", payload)
    return Timeline(log, "order", **options)


def states(line: Timeline) -> list[tuple[Any, ...]]:
    names = ", ".join(f'"{name}"' for name in line.fields)
    found: list[tuple[Any, ...]] = line.history().select(f"ended, {names}").fetchall()
    return found


def test_after_is_the_state_and_its_absence_the_end() -> None:
    line = written(
        '{"before": null, "after": {"a": 1, "deep": {"x": 12345678901234567.89}}, "op": "c"}',
        '{"before": {"a": 1}, "after": {"a": 2}}',
        '{"before": {"a": 2}}',
        "{}",
        '{"after": {"deep": {"y": 1}}}',
        '{"before": {}, "after": null}',
        fold="before/after",
    )
    assert {name: tuple(info) for name, info in line.fields.items()} == {
        "a": ("a", "BIGINT"),
        "deep": ("deep", "JSON"),
    }
    assert states(line) == [
        (False, 1, '{"x":12345678901234567.89}'),
        (False, 2, None),
        (True, None, None),
        (True, None, None),
        (False, None, '{"y":1}'),
        (True, None, None),
    ]
    assert line.as_of(5).fetchall() == line.valid_at(START + timedelta(days=1)).fetchall() == []


@pytest.mark.parametrize(
    ("values", "kind", "last"),
    [
        (["1", "null", "2"], "BIGINT", 2),
        (["1", "null"], "BIGINT", None),
        (["0.5", "12345678901234567.89"], "VARCHAR", "12345678901234567.89"),
        (["0.1", "1.50000000000000000000"], "DOUBLE", 1.5),
        (["1", "123456789012345678901234567890"], "VARCHAR", "123456789012345678901234567890"),
        (["true"], "BOOLEAN", True),
        (['"é\\u00e9"'], "VARCHAR", "éé"),
        (["[12345678901234567.89]"], "JSON", "[12345678901234567.89]"),
        (["[1, 2]"], "JSON", "[1,2]"),
        (['{"a": 1}', '{"b": 1e-400}'], "JSON", '{"b":1E-400}'),
        (["1", '"1"'], "JSON", '"1"'),
    ],
)
def test_values_of_attributes_lose_nothing(values: list[str], kind: str, last: Any) -> None:
    line = written(*(f'{{"name": "x", "value": {v}}}' for v in values), fold="attributes")
    assert line.fields["x"] == ("x", kind)
    assert states(line)[-1] == (False, last)
    (row,) = dicts(line.valid_at(START + timedelta(days=9)))
    assert row["x"] == last


def test_hostile_names_of_attributes_stay_apart() -> None:
    names = ["Amount", "amount", "stream", "", "it's", '"', "\x00", "␀", "a/b", "~", "é", "v", "e"]
    changes = [jsontext.canonical({"field": n, "value": i}) for i, n in enumerate(names)]
    line = written(*changes, fold="attributes")
    (row,) = dicts(line.as_of(len(names)))
    assert {info.key: row[name] for name, info in line.fields.items()} == {
        name: i for i, name in enumerate(names)
    }


def test_the_first_likely_pair_of_keys_is_taken() -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order", fold="attributes")
    assert line.fields == {}
    log.write("order-1", "Placed", '{"name": "Bolt"}')
    assert line.fields == {}
    log.write("order-1", "Changed", '{"name": "Bolt", "field": "size", "new_value": 1}')
    assert line.fields == {"size": ("size", "BIGINT")}
    log.write("order-1", "Changed", '{"attribute": "colour", "value": "red"}')
    assert line.fields == {"size": ("size", "BIGINT")}
    assert states(line) == [(False, None), (False, 1), (False, 1)]
    other = Timeline(log, "order", fold="attributes", attribute="attribute")
    assert list(other.fields) == ["colour"]


def test_fields_and_ignore_choose_among_attributes_and_keys_of_after() -> None:
    changes = [f'{{"field": "{name}", "value": 1}}' for name in "abc"]
    assert list(written(*changes, fold="attributes", ignore=["b"]).fields) == ["a", "c"]
    line = written(*changes, fold="attributes", fields={"c": "DECIMAL(18, 2)"})
    assert states(line)[-1] == (False, Decimal("1.00"))
    after = '{"after": {"a": 1, "b": 2, "c": 3}}'
    assert list(written(after, fold="before/after", fields=["c", "a"]).fields) == ["c", "a"]


def test_too_many_attributes_are_refused_with_advice() -> None:
    log = MemoryLog(zone="UTC")
    log.written = [
        Event(i, "order-1", "order", i, "Changed", START, START, None,
              f'{{"field": "k{i}", "value": 1}}')
        for i in range(1001)
    ]  # fmt: skip
    with pytest.raises(TimelineError, match=r"1,001 different keys.*fields="):
        Timeline(log, "order", fold="attributes").as_of(0)
    some = Timeline(log, "order", fold="attributes", fields=["k7"])
    assert states(some)[-1] == (False, 1)


def test_a_failed_event_changes_nothing_and_creates_nothing() -> None:
    log = MemoryLog(zone="UTC")
    for event_type, data in (
        ("Put", '{"errorCode": "Throttled", "size": "wrong"}'),
        ("Put", '{"errorCode": null, "size": 1}'),
        ("Delete", '{"errorCode": "Throttled"}'),
        ("Delete", "{}"),
        ("Put", '{"errorCode": "Throttled", "size": 5}'),
    ):
        log.write("order-1", event_type, data)
    line = Timeline(log, "order", noop="errorCode", ends=["Delete"])
    assert line.fields["size"] == ("size", "BIGINT")
    assert line.history().select("ended, size").fetchall() == [
        (True, None), (False, 1), (False, 1), (True, None), (True, None),
    ]  # fmt: skip
    assert [len(line.as_of(i).fetchall()) for i in range(5)] == [0, 1, 1, 0, 0]
    removed = [row[:6] for row in line.diff(1, 4).fetchall()]
    assert removed == [("order-1", "removed", "size", "1", None, 3)]


@pytest.mark.parametrize(
    "options",
    [
        {"noop": 1},
        {"noop": []},
        {"noop": {}},
        {"noop": [1]},
        {"noop": {"status": 1.5}},
        {"noop": {1: "x"}},
        {"before": "b"},
        {"fold": "attributes", "after": "a"},
        {"fold": "before/after", "value": "a"},
        {"fold": "before/after", "before": "a", "after": "a"},
        {"fold": "before/after", "before": 1},
        {"fold": "attribute"},
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(TimelineError):
        Timeline(MemoryLog(), "order", **options)


def test_the_query_for_a_before_that_was_not_the_state(tmp_path: Any) -> None:
    """As docs/timelines.md has it."""
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        for before, after in ((None, 1), (1, 2), (7, 3), (3, None), (None, 4)):
            data = {"before": before and {"n": before}, "after": after and {"n": after}}
            log.append("row-1", esnb.DomainEvent("Changed", data))
        found = log.sql("""
            SELECT stream, position, said, was FROM (
                SELECT *, lag(stands) OVER (PARTITION BY stream ORDER BY position) AS was FROM (
                    SELECT stream, position, nullif(data->'$.before', 'null'::JSON) AS said,
                        nullif(data->'$.after', 'null'::JSON) AS stands
                    FROM events WHERE category = 'row')
            ) WHERE said IS DISTINCT FROM was
        """)
        assert found.fetchall() == [("row-1", 2, '{"n":7}', '{"n":2}')]


@pytest.mark.parametrize(
    ("noop", "shown"),
    [
        ("err", "'err'"),
        (["err", "why"], "['err', 'why']"),
        ({"status": "failed"}, "{'status': 'failed'}"),
    ],
)
def test_it_says_what_it_is(noop: Any, shown: str) -> None:
    line = Timeline(MemoryLog(), "order", fold="before/after", noop=noop)
    assert repr(line) == f"Timeline('order', fold='before/after', noop={shown})"
