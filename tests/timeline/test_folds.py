"""Every question against the slow fold: ties, late events, nulls, re-creation, hostile names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb import jsontext
from esnb.timeline import Timeline
from tests.timeline import reference
from tests.timeline.standin import INSTANTS, MOMENTS, MemoryLog, logs

BERLIN = ZoneInfo("Europe/Berlin")
MODES = st.sampled_from(["patch", "snapshot"])
ENDS = st.sampled_from([(), ("Gone",)])
asked = settings(max_examples=60)


def dicts(relation: Any) -> list[dict[str, Any]]:
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def value_text(value: Any, kind: str) -> str:
    """Return a value of a column as the JSON text that the slow fold compares."""
    if value is None:
        return "null"
    if kind == "JSON":
        return jsontext.canonical(jsontext.parse(value))
    return jsontext.canonical(value)


def shown_text(text: str | None, kind: str) -> str:
    """Return a value that `diff` or `blame` shows as text likewise."""
    if text is None:
        return "null"
    if kind == "VARCHAR":
        return jsontext.canonical(text)
    return jsontext.canonical(jsontext.parse(text))


def wanted_text(value: Any, kind: str) -> str:
    """Return a value of the slow fold as the column of that type has it."""
    if kind == "VARCHAR" and value is not None and not isinstance(value, str):
        return jsontext.canonical(jsontext.canonical(value))
    return jsontext.canonical(value)


def check_state(line: Timeline, row: dict[str, Any], state: dict[str, Any]) -> None:
    fields = line.fields
    assert set(state) <= {field.key for field in fields.values()}
    for name, (key, kind) in fields.items():
        assert value_text(row[name], kind) == wanted_text(state.get(key), kind), (name, key, kind)


def table_of(log: MemoryLog, mode: str, ends: tuple[str, ...]) -> dict[str, list[reference.Row]]:
    return reference.rows(log.written, "order", mode, ends)


def check_event(row: dict[str, Any], event: reference.Event) -> None:
    for name in ("position", "event_id", "event_type", "actor", "occurred_on", "revision"):
        if name in row:
            assert row[name] == getattr(event, name)


@asked
@given(logs(), MODES, ENDS, MOMENTS)
def test_as_of_is_the_fold_of_the_events_up_to_then(
    log: MemoryLog, mode: Any, ends: tuple[str, ...], when: datetime | int
) -> None:
    line = Timeline(log, "order", fold=mode, ends=ends)
    expected = reference.as_of(table_of(log, mode, ends), when)
    found = dicts(line.as_of(when))
    assert sorted(row["stream"] for row in found) == sorted(expected)
    for row in found:
        wanted = expected[row["stream"]]
        check_event(row, wanted.event)
        assert (row["system_from"], row["system_to"]) == (wanted.system_from, wanted.system_to)
        check_state(line, row, wanted.state)


@asked
@given(logs(), MODES, ENDS)
def test_history_has_every_state(log: MemoryLog, mode: Any, ends: tuple[str, ...]) -> None:
    line = Timeline(log, "order", fold=mode, ends=ends)
    expected = table_of(log, mode, ends)
    found = dicts(line.history())
    assert len(found) == sum(map(len, expected.values()))
    for stream, own in expected.items():
        rows = dicts(line.history(stream))
        assert rows == [row for row in found if row["stream"] == stream]
        for row, wanted in zip(rows, own, strict=True):
            check_event(row, wanted.event)
            assert row["ended"] == wanted.ended
            assert row["next_position"] == wanted.next_position
            assert (row["system_from"], row["system_to"]) == (wanted.system_from, wanted.system_to)
            check_state(line, row, wanted.state)


@asked
@given(logs(), MODES, ENDS, INSTANTS, st.one_of(st.none(), MOMENTS))
def test_valid_at_folds_by_the_other_clock(
    log: MemoryLog,
    mode: Any,
    ends: tuple[str, ...],
    when: datetime,
    known: datetime | int | None,
) -> None:
    line = Timeline(log, "order", fold=mode, ends=ends)
    expected = reference.valid_at(log.written, "order", mode, ends, when, known)
    found = dicts(line.valid_at(when, known))
    assert sorted(row["stream"] for row in found) == sorted(expected)
    for row in found:
        event, until, state = expected[row["stream"]]
        check_event(row, event)
        assert (row["valid_from"], row["valid_to"]) == (event.occurred_on, until)
        check_state(line, row, state)


@asked
@given(logs(), MODES, ENDS, st.sampled_from(["recorded", "occurred"]))
def test_replay_goes_event_by_event_on_either_clock(
    log: MemoryLog, mode: Any, ends: tuple[str, ...], clock: Any
) -> None:
    line = Timeline(log, "order", fold=mode, ends=ends)
    names = ("system_from", "system_to") if clock == "recorded" else ("valid_from", "valid_to")
    for stream, own in table_of(log, mode, ends).items():
        events = [row.event for row in own]
        if clock == "occurred":
            events.sort(key=lambda event: (event.occurred_on, event.position))
        states = reference.fold(events, mode, ends)
        since = (
            [row.system_from for row in own]
            if clock == "recorded"
            else [event.occurred_on for event in events]
        )
        rows = dicts(line.replay(stream, clock))
        assert len(rows) == len(events)
        for row, event, state, start, end in zip(
            rows, events, states, since, [*since[1:], None], strict=True
        ):
            check_event(row, event)
            assert (row[names[0]], row[names[1]]) == (start, end)
            assert row["recorded_on"] == event.recorded_on
            assert row["ended"] == (state is None)
            payload = "data_2" if "data" in line.fields else "data"
            assert row[payload] == event.data
            check_state(line, row, state or {})


@asked
@given(
    logs(),
    MODES,
    ENDS,
    st.one_of(
        st.lists(INSTANTS, min_size=2, max_size=2),
        st.lists(st.integers(-1, 12), min_size=2, max_size=2),
    ),
)
def test_diff_tells_what_changed_and_by_which_event(
    log: MemoryLog, mode: Any, ends: tuple[str, ...], pair: list[Any]
) -> None:
    a, b = sorted(pair)
    line = Timeline(log, "order", fold=mode, ends=ends)
    kinds = {name: (field.key, field.type) for name, field in line.fields.items()}
    found = set()
    for row in dicts(line.diff(a, b)):
        key, kind = kinds[row["field"]] if row["field"] is not None else (None, "VARCHAR")
        check_event(row, log.written[row["position"]])
        found.add(
            (
                row["stream"],
                row["change"],
                key,
                shown_text(row["before"], kind),
                shown_text(row["after"], kind),
                row["position"],
            )
        )
    by_key = dict(kinds.values())
    assert found == {
        (stream, change, key, as_shown(x, key, by_key), as_shown(y, key, by_key), cause)
        for stream, change, key, x, y, cause in reference.diff(table_of(log, mode, ends), a, b)
    }
    counted: dict[tuple[str, str | None], set[str]] = {}
    for row in dicts(line.diff(a, b)):
        counted.setdefault((row["change"], None), set()).add(row["stream"])
        if row["field"] is not None:
            counted.setdefault((row["change"], row["field"]), set()).add(row["stream"])
    assert {
        (row["change"], row["field"]): row["streams"] for row in dicts(line.diff_counts(a, b))
    } == {which: len(streams) for which, streams in counted.items()}


def as_shown(text: str, key: str | None, kinds: dict[str, str]) -> str:
    value = jsontext.parse(text)
    return wanted_text(value, kinds[key]) if key is not None else text


@asked
@given(logs(), MODES, ENDS, st.one_of(st.none(), MOMENTS))
def test_blame_names_the_event_since_which_a_value_holds(
    log: MemoryLog, mode: Any, ends: tuple[str, ...], at: Any
) -> None:
    line = Timeline(log, "order", fold=mode, ends=ends)
    kinds = {name: (field.key, field.type) for name, field in line.fields.items()}
    by_key = dict(kinds.values())
    for stream, own in table_of(log, mode, ends).items():
        found = {}
        for row in dicts(line.blame(stream, at)):
            event = log.written[row["position"]]
            check_event(row, event)
            assert row["recorded_on"] == event.recorded_on
            key, kind = kinds[row["field"]]
            found[key] = (shown_text(row["value"], kind), row["position"])
        assert found == {
            key: (as_shown(text, key, by_key), cause)
            for key, (text, cause) in reference.blame(own, at).items()
        }


@asked
@given(logs(), MODES, ENDS, st.sampled_from(["1 day", "6 hours", "1 month"]), st.data())
def test_counts_are_the_population_at_every_tick(
    log: MemoryLog, mode: Any, ends: tuple[str, ...], every: str, data: st.DataObject
) -> None:
    line = Timeline(log, "order", fold=mode, ends=ends)
    table = table_of(log, mode, ends)
    ticks = reference.ticks(table, every, BERLIN)
    fields = {name: field for name, field in line.fields.items() if field.type != "JSON"}
    if fields:
        name = data.draw(st.sampled_from(sorted(fields)))
        key, kind = fields[name]
        rows = line.counts(name, every).fetchall()
        counted = {
            (at.astimezone(UTC), value_text(value, kind)): count
            for at, value, count in rows
            if count
        }
        assert len({row[:2] for row in rows}) == len(rows)
        expected: dict[Any, int] = {}
        for (at, text), count in reference.counts(table, key, ticks).items():
            shown = wanted_text(jsontext.parse(text), kind)
            expected[(at.astimezone(UTC), shown)] = count
        assert counted == expected
        assert all(at.astimezone(UTC) in {t.astimezone(UTC) for t in ticks} for at, _, _ in rows)


@pytest.mark.parametrize("mode", ["patch", "snapshot"])
def test_parts_added_up_are_the_whole(mode: Any) -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order", fold=mode)
    for i in range(5):
        log.write("order-1", "Changed", f'{{"n": {i}, "k{i}": "x"}}')
        assert [row["n"] for row in dicts(line.as_of(i))] == [i]
        assert len(dicts(line.history())) == i + 1
