"""Two states beside each other, on either clock, against the slow fold and against `diff`."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.errors import TimelineError
from esnb.timeline import Timeline
from tests.timeline import reference
from tests.timeline.standin import INSTANTS, MOMENTS, START, MemoryLog, logs
from tests.timeline.test_folds import ENDS, MODES, dicts, value_text, wanted_text

asked = settings(max_examples=40)
PAIRS = st.tuples(st.one_of(st.none(), MOMENTS), INSTANTS)


def ordered(a: Any, b: Any) -> tuple[Any, Any]:
    return (a, b) if a <= b else (b, a)


def states(log: MemoryLog, mode: str, ends: tuple[str, ...], side: Any) -> dict[str, Any]:
    """The slow states of a side: by stream, what each key holds."""
    if isinstance(side, tuple):
        known, when = side
        found = reference.valid_at(log.written, "order", mode, ends, when, known)
        return {stream: state for stream, (_, _, state) in found.items()}
    rows = reference.as_of(reference.rows(log.written, "order", mode, ends), side)
    return {stream: row.state for stream, row in rows.items()}


def known(log: MemoryLog, side: Any) -> dict[str, list[reference.Event]]:
    """The events of each stream that a side knows, in the order in which it folds them."""
    table = reference.rows(log.written, "order", "patch", ())
    moment, when = side if isinstance(side, tuple) else (side, None)
    found = {}
    for stream, own in table.items():
        past = own if moment is None else reference.upto(own, moment)
        events = [row.event for row in past if when is None or row.event.occurred_on <= when]
        if when is not None:
            events.sort(key=lambda event: (event.occurred_on, event.position))
        found[stream] = events
    return found


def expected(
    line: Timeline, log: MemoryLog, mode: str, ends: tuple[str, ...], a: Any, b: Any
) -> dict[tuple[str, str | None], tuple[str, str, str]]:
    """By stream and field: how it changed, the values before and after as texts."""
    before, after = (states(log, mode, ends, one) for one in (a, b))
    found = {}
    for stream in sorted({*before, *after}):
        had, has = stream in before, stream in after
        change = "changed" if had and has else "added" if has else "removed"
        some = False
        for name, (key, kind) in line.fields.items():
            old, new = (
                wanted_text(side.get(stream, {}).get(key), kind) for side in (before, after)
            )
            some |= (old, new) != ("null", "null")
            if old != new:
                found[stream, name] = (change, old, new)
        if had != has and not some:
            found[stream, None] = (change, "null", "null")
    return found


@asked
@given(logs(), MODES, ENDS, MOMENTS, MOMENTS)
def test_between_two_moments_it_says_what_diff_says(
    log: MemoryLog, mode: Any, ends: tuple[str, ...], a: Any, b: Any
) -> None:
    if type(a) is not type(b):
        return
    a, b = ordered(a, b)
    line = Timeline(log, "order", fold=mode, ends=ends)
    found, whole = line.compare(a, b), dicts(line.diff(a, b))
    assert dicts(found.rows()) == whole
    assert dicts(found.counts()) == dicts(line.diff_counts(a, b))
    for stream in {*reference.streams_of(log.written, "order")}:
        one = found.of(stream).to_pylist()
        assert one == [row for row in whole if row["stream"] == stream]
    there = {*states(log, mode, ends, a), *states(log, mode, ends, b)}
    assert found.population() == len(there)


@asked
@given(logs(), MODES, ENDS, st.one_of(MOMENTS, PAIRS), PAIRS, st.booleans())
def test_on_the_valid_clock_it_is_the_difference_of_two_folds(
    log: MemoryLog, mode: Any, ends: tuple[str, ...], a: Any, b: Any, turned: bool
) -> None:
    if turned:
        a, b = b, a
    line = Timeline(log, "order", fold=mode, ends=ends)
    found = line.compare(a, b)
    wanted = expected(line, log, mode, ends, a, b)
    rows = dicts(found.rows())
    assert {(r["stream"], r["field"]): r["change"] for r in rows} == {
        place: change for place, (change, _, _) in wanted.items()
    }
    by_change = Counter((change, field) for (_, field), (change, _, _) in wanted.items() if field)
    any_field = Counter(
        dict.fromkeys(((c, stream) for (stream, _), (c, _, _) in wanted.items()), 1)
    )
    counted = {(r["change"], r["field"]): r["streams"] for r in dicts(found.counts())}
    assert {k: n for k, n in counted.items() if k[1] is not None} == dict(by_change)
    assert {k[0]: n for k, n in counted.items() if k[1] is None} == dict(
        Counter(change for change, _ in any_field)
    )
    before, after = (states(log, mode, ends, one) for one in (a, b))
    assert found.population() == len({*before, *after})
    sides = known(log, a), known(log, b)
    for stream in {*reference.streams_of(log.written, "order")}:
        own = found.of(stream).to_pylist()
        assert [{k: r[k] for k in rows[0]} for r in own] == [
            r for r in rows if r["stream"] == stream
        ]
        for was, then in zip(found.states(stream), (before, after), strict=True):
            assert (was is None) == (stream not in then)
            for name, (key, kind) in line.fields.items() if was is not None else ():
                assert value_text(was[name], kind) == wanted_text(then[stream].get(key), kind)
        # The cause is an event that only one side knows, if there is one.
        alone = {e.position for e in sides[0][stream]} ^ {e.position for e in sides[1][stream]}
        for row in own:
            assert (row["position"] in alone) if alone else row["position"] is None


@asked
@given(logs(), INSTANTS, INSTANTS)
def test_lists_hold_each_aggregate_once_and_the_largest_first(
    log: MemoryLog, a: datetime, b: datetime
) -> None:
    line = Timeline(log, "order")
    found = line.compare(*ordered(a, b))
    rows = dicts(found.rows())
    assert sorted(r["stream"] for r in dicts(found.streams())) == sorted(
        {r["stream"] for r in rows}
    )
    for field in found.fields:
        own = [r for r in rows if r["field"] == field]
        listed = dicts(found.streams(field))
        parts = ("stream", "change", "before", "after")
        assert sorted(repr([r[p] for p in parts]) for r in listed) == sorted(
            repr([r[p] for p in parts]) for r in own
        )
        assert {r["stream"] for r in listed} == {r["stream"] for r in own}
        sizes = [abs(r["size"]) for r in listed if r["size"] is not None]
        assert sizes == sorted(sizes, reverse=True)
        values = {(r["before"], r["after"]): r["streams"] for r in dicts(found.values(field))}
        assert values == Counter((r["before"], r["after"]) for r in own)
        kept = found.listed(field)
        pages = [row for first in range(0, len(kept), 2) for row in kept.rows(first, 2).fetchall()]
        assert pages == found.streams(field).fetchall()


def test_a_late_event_is_the_cause_of_what_was_true_earlier() -> None:
    log = MemoryLog(zone="UTC")
    day = timedelta(days=1)
    log.write("order-1", "Placed", '{"total": 10}', occurred_on=START, recorded_on=START)
    log.write("order-1", "Mended", '{"total": 30}', occurred_on=START + 2 * day)
    late = log.write("order-1", "Found", '{"total": 20}', occurred_on=START + day, actor="ann",
                     recorded_on=START + 9 * day)  # fmt: skip
    line = Timeline(log, "order")
    then = START + day
    (row,) = line.compare((START + 3 * day, then), (None, then)).of("order-1").to_pylist()
    assert (row["before"], row["after"], row["position"]) == ("10", "20", late.position)
    assert (row["event_type"], row["actor"]) == ("Found", "ann")
    # What was known is not what was true.
    (row,) = line.compare(START + 9 * day, (None, START + 9 * day)).of("order-1").to_pylist()
    assert (row["before"], row["after"]) == ("20", "30")


def test_amounts_have_a_size_also_as_text() -> None:
    log = MemoryLog(zone="UTC")
    for number, (was, then) in enumerate([("9.50", "19.50"), ("100.00", "1.00"), ("x", "5.00")]):
        log.write(f"order-{number}", "Placed", f'{{"total": "{was}", "zip": "1", "n": {number}}}')
        log.write(f"order-{number}", "Changed", f'{{"total": "{then}", "zip": "9", "n": 9}}')
    line = Timeline(log, "order", fields={"total": "VARCHAR", "zip": "VARCHAR", "n": "BIGINT"})
    # Each from its first event to its second.
    found = line.compare(0, 1)
    assert dicts(found.streams("total"))[0]["size"] == 10
    assert found.listed("total").sized
    assert not found.listed("zip").sized
    assert not found.listed().sized
    rows = dicts(line.compare((0, START), (None, START + timedelta(days=1))).streams("n"))
    assert [(r["stream"], r["size"]) for r in rows] == [
        ("order-0", 9), ("order-1", None), ("order-2", None),
    ]  # fmt: skip


def test_sides_that_cannot_be_are_refused() -> None:
    log = MemoryLog(zone="UTC")
    log.write("order-1", "Placed", '{"total": 10}')
    line = Timeline(log, "order")
    for a, b, words in (
        (2, 1, "swap them"),
        (START, 1, "one end is an instant"),
        ((1, 2, 3), 1, "no pair"),
        ((None, 7), 1, "no event at position 7"),
    ):
        with pytest.raises(TimelineError, match=words):
            line.compare(a, b)
    found = line.compare(-1, 0)
    with pytest.raises(TimelineError, match=r"totl.*Did you mean 'total'"):
        found.streams("totl")
    with pytest.raises(TimelineError, match="no change 'gone'"):
        found.rows(change="gone")
    with pytest.raises(TimelineError, match="no stream 'order-2'"):
        found.of("order-2")
