"""Ways through the steps, held to plain Python over lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import FlowError
from esnb.flow import paths
from esnb.flow.spans import micros
from esnb.flow.steps import Steps, ordered

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
START = datetime(2026, 3, 28, 22, tzinfo=UTC)
TYPES = ["placed", "paid", "Paid ", 'it\'s "so"', "\U0001f6d2", "x" * 10_000]

Case = list[tuple[str, datetime]]
Cases = dict[str, Case]


def cases_of(types: list[str] = TYPES, most: int = 7) -> st.SearchStrategy[Cases]:
    """Cases by name, each with its events in order; many at one instant."""
    event = st.tuples(st.sampled_from(types), st.integers(0, 4))

    def timed(events: list[tuple[str, int]]) -> Case:
        at, case = START, []
        for kind, hours in events:
            at += timedelta(hours=hours, microseconds=hours // 4)
            case.append((kind, at))
        return case

    name = st.sampled_from(["a", "b", "ü", "order-1", "order-10", "order-2", "'", '"'])
    return st.dictionaries(name, st.lists(event, min_size=1, max_size=most).map(timed), max_size=6)


def stepped(cases: Cases) -> Steps:
    """Put cases into steps, the events of all of them mixed."""
    rows = [
        (name, kind, at, place)
        for name, case in cases.items()
        for place, (kind, at) in enumerate(case)
    ]
    rows.sort(key=lambda row: row[3])
    names, kinds, instants, _ = zip(*rows, strict=True) if rows else ([], [], [], [])
    batch = pa.record_batch(
        {
            "case_id": pa.array(names, pa.string()),
            "event_type": pa.array(kinds, pa.string()),
            "time": pa.array([(at - EPOCH) // MICRO for at in instants], pa.int64()),
            "position": pa.array(range(len(rows)), pa.int64()),
        }
    )
    return ordered([batch], by_time=True)


def by_bytes(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: name.encode())


def rows_of(table: pa.Table) -> list[tuple[object, ...]]:
    """Return rows, lengths of time as they are: in microseconds."""
    return [tuple(row.values()) for row in table.to_pylist()]


def case(*events: tuple[str, int]) -> Case:
    return [(kind, START + timedelta(hours=hours)) for kind, hours in events]


SHOP = stepped(
    {
        "order-1": case(("placed", 0), ("paid", 2), ("shipped", 50)),
        "order-2": case(("placed", 0), ("placed", 1), ("failed", 1), ("paid", 30)),
        "order-3": case(("paid", 0), ("placed", 5), ("placed", 6)),
        "order-4": case(("failed", 0)),
    }
)


def quantile(waits: list[int], part: int, of: int) -> int | None:
    """The continuous quantile, in whole numbers, halves up."""
    if not waits:
        return None
    ordered = sorted(waits)
    low, rest = divmod(part * (len(ordered) - 1), of)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + ((ordered[high] - ordered[low]) * rest * 2 + of) // (2 * of)


def walk(case: Case, types: list[str], within: timedelta | None) -> list[datetime]:
    """When a case takes the steps of a funnel, as far as it comes."""
    taken: list[datetime] = []
    place = 0
    for wanted in types:
        while place < len(case) and case[place][0] != wanted:
            place += 1
        if place == len(case):
            break
        at = case[place][1]
        if taken and within is not None and at - taken[0] > within:
            break
        taken.append(at)
        place += 1
    return taken


@given(cases_of(), st.integers(1, 9))
def test_places_are_those_counted_one_by_one(cases, most):
    counted = Counter(
        (place + 1, case[place][0], case[place + 1][0] if place + 1 < len(case) else None)
        for case in cases.values()
        for place in range(min(most, len(case)))
    )
    found = rows_of(paths.places(stepped(cases), most))
    # A target that is none comes last.
    expected = sorted(
        ((*key, cases) for key, cases in counted.items()),
        key=lambda row: (row[0], -row[3], row[1], row[2] is None, row[2] or ""),
    )
    assert found == expected


def test_places_of_the_shop():
    assert rows_of(paths.places(SHOP, 2)) == [
        (1, "failed", None, 1),
        (1, "paid", "placed", 1),
        (1, "placed", "paid", 1),
        (1, "placed", "placed", 1),
        (2, "paid", "shipped", 1),
        (2, "placed", "failed", 1),
        (2, "placed", "placed", 1),
    ]


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "8", None])
def test_places_want_a_number(most):
    with pytest.raises(FlowError, match="give a number of places"):
        paths.places(SHOP, most)


def test_more_places_than_there_can_be():
    assert paths.places(SHOP, 10**30) == paths.places(SHOP, 9)


@given(
    cases_of(TYPES[:3]),
    st.lists(st.sampled_from(TYPES[:3]), min_size=1, max_size=4),
    st.none() | st.integers(0, 12).map(lambda hours: timedelta(hours=hours)),
)
def test_a_funnel_is_that_walked_case_by_case(cases, types, within):
    steps = stepped(cases)
    if not set(types) <= set(steps.types):
        with pytest.raises(FlowError, match="no event type"):
            paths.funnel(steps, types, within)
        return
    walked = {name: walk(case, types, within) for name, case in cases.items()}
    expected, before = [], 0
    for number, kind in enumerate(types, start=1):
        there = [way for way in walked.values() if len(way) >= number]
        waits = [(way[number - 1] - way[number - 2]) // MICRO for way in there if number > 1]
        of_previous = len(there) / before if before else None
        expected.append(
            (
                number,
                kind,
                len(there),
                len(there) / len(cases),
                of_previous,
                quantile(waits, 1, 2),
                quantile(waits, 19, 20),
            )
        )
        before = len(there)
    assert rows_of(paths.funnel(steps, types, within)) == expected
    assert rows_of(paths.funnel_cases(steps, types, within)) == [
        (name, len(walked[name]), walked[name][0], walked[name][-1])
        for name in by_bytes(cases)
        if walked[name]
    ]


def test_a_funnel_takes_the_first_event_after_the_step_before():
    hour = 3_600_000_000
    assert rows_of(paths.funnel(SHOP, ["placed", "paid", "shipped"])) == [
        (1, "placed", 3, 0.75, None, None, None),
        (2, "paid", 2, 0.5, 2 / 3, 16 * hour, 2 * hour + 28 * hour * 95 // 100),
        (3, "shipped", 1, 0.25, 0.5, 48 * hour, 48 * hour),
    ]


def test_a_funnel_that_nobody_comes_through():
    assert rows_of(paths.funnel(SHOP, ["shipped", "placed", "paid"])) == [
        (1, "shipped", 1, 0.25, None, None, None),
        (2, "placed", 0, 0.0, 0.0, None, None),
        (3, "paid", 0, 0.0, None, None, None),
    ]


@pytest.mark.parametrize("within", ["30h", "1 day 6 hours", timedelta(hours=30)])
def test_within_counts_from_the_first_step_ends_included(within):
    found = paths.funnel(SHOP, ["placed", "paid", "shipped"], within)
    assert found["cases"].to_pylist() == [3, 2, 0]
    just = paths.funnel(SHOP, ["placed", "paid"], timedelta(hours=30, microseconds=-1))
    assert just["cases"].to_pylist() == [3, 1]


@pytest.mark.parametrize("types", [[], "placed", None, {"placed"}])
def test_a_funnel_wants_a_list_of_types(types):
    with pytest.raises(FlowError, match="give a list of event types"):
        paths.funnel(SHOP, types)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2d", 172_800),
        ("36 hours", 129_600),
        ("1h 30m", 5_400),
        ("1.5 weeks", 907_200),
        (" 90 MIN ", 5_400),
        ("1d2h3m4s", 93_784),
        ("0s", 0),
        ("1ms", 0.001),
        (timedelta(days=1, microseconds=1), 86_400.000001),
    ],
)
def test_lengths_of_time(text, seconds):
    assert micros(text) == round(seconds * 1_000_000)


@pytest.mark.parametrize(
    "within",
    [
        "soon",
        "",
        "30",
        30,
        None,
        "-1 day",
        "1 month",
        "1 d 2",
        "1e3 s",
        "1.d",
        "٣ d",
        "9" * 15 + "w",
        timedelta(days=-1),
    ],
)
def test_what_is_no_length_of_time_is_said(within):
    with pytest.raises(FlowError, match=r"limit=.* is no length of time; say e.g. '2d'"):
        micros(within, "limit")


def test_an_unknown_type_names_near_ones():
    with pytest.raises(FlowError, match=r"no event type 'plaecd' in this flow.*mean 'placed'"):
        paths.funnel(SHOP, ["paid", "plaecd"])
    with pytest.raises(FlowError, match=r"no event type 'Shipped'.*'shipped'"):
        paths.spectrum(SHOP, "placed", "Shipped")
    with pytest.raises(FlowError, match=r"no event type None.*There are: 'failed', 'paid'"):
        paths.spectrum(SHOP, None, "placed")


def test_of_an_empty_flow_there_is_nothing():
    empty = stepped({})
    assert rows_of(paths.places(empty)) == []
    assert rows_of(paths.rework(empty)) == []
    with pytest.raises(FlowError, match="No event is selected"):
        paths.funnel(empty, ["placed"])
    with pytest.raises(FlowError, match="No event is selected"):
        paths.spectrum(empty, "placed", "paid")


@given(cases_of(TYPES[:4]), st.sampled_from(TYPES[:4]), st.sampled_from(TYPES[:4]), st.booleans())
def test_a_spectrum_is_that_found_event_by_event(cases, a, b, eventually):
    steps = stepped(cases)
    if not {a, b} <= set(steps.types):
        with pytest.raises(FlowError, match="no event type"):
            paths.spectrum(steps, a, b, eventually=eventually)
        return
    expected = []
    for name in by_bytes(cases):
        for place, (kind, at) in enumerate(cases[name]):
            later = cases[name][place + 1 :][: None if eventually else 1]
            targets = [then for next_, then in later if next_ == b]
            if kind == a and targets:
                expected.append((name, at, targets[0], (targets[0] - at) // MICRO))
    assert rows_of(paths.spectrum(steps, a, b, eventually=eventually)) == expected


@given(cases_of(TYPES[:4], most=12))
def test_rework_is_that_counted_event_by_event(cases):
    expected = []
    for kind in {kind for case in cases.values() for kind, _ in case}:
        seen = [[name == kind for name, _ in case] for case in cases.values()]
        having = sum(any(hits) for hits in seen)
        count = sum(map(sum, seen))
        self_loops = sum(a and b for hits in seen for a, b in pairwise(hits))
        # Back after something else: something came between.
        loops = sum(
            hit and any(hits[:place]) and not hits[place - 1]
            for hits in seen
            for place, hit in enumerate(hits)
        )
        reworked = sum(sum(hits) > 1 for hits in seen)
        expected.append(
            (kind, having, count, count - having, self_loops, loops, reworked, reworked / having)
        )
    expected.sort(key=lambda row: (-row[3], row[0]))
    assert rows_of(paths.rework(stepped(cases))) == expected


def test_rework_of_the_shop():
    found = paths.rework(SHOP)
    assert found.column_names == [
        "event_type", "cases", "count", "repeats", "self_loops", "loops", "cases_with_rework",
        "share",
    ]  # fmt: skip
    assert rows_of(found)[0] == ("placed", 3, 5, 2, 2, 0, 2, 2 / 3)


@settings(max_examples=30)
@given(cases_of(["placed", "paid", "held"]))
def test_patterns_find_the_cases_behind_places_and_rework(cases):
    rows = [(name, *event) for name, case in cases.items() for event in case]
    names, kinds, instants = zip(*rows, strict=True) if rows else ([], [], [])
    table = pa.table(
        {
            "case_id": pa.array(names, pa.string()),
            "event_type": pa.array(kinds, pa.string()),
            "time": pa.array(instants, pa.timestamp("us", "UTC")),
        }
    )
    flow = esnb.flow(table, case_id="case_id", event_type="event_type", time="time")
    for place, source, target, cases_there in flow.steps(3).fetchall():
        pattern = f"^ {'. ' * (place - 1)} {source} {target or '$'}"
        assert len(flow.match(pattern).streams()) == cases_there
    for kind, *_, self_loops, _, reworked, _ in flow.rework().fetchall():
        assert len(flow.match(f"{kind} ... {kind}").streams()) == reworked
        assert (len(flow.match(f"{kind} {kind}").streams()) > 0) == (self_loops > 0)


def test_a_case_of_a_million_events_and_a_thousand_types():
    many = 1_000_000
    seconds = pa.array(range(many), pa.int64())
    names = pa.array([f"t{number:03}" for number in range(1000)])
    kinds = pa.DictionaryArray.from_arrays(pa.array([n % 1000 for n in range(many)]), names)
    steps = ordered(
        [
            pa.record_batch(
                {
                    "case_id": pa.array(["long"] * many),
                    "event_type": kinds,
                    "time": pc.multiply(seconds, 1_000_000),
                    "position": seconds,
                }
            )
        ],
        by_time=True,
    )
    found = paths.funnel(steps, ["t999", "t000", "t500"])
    assert found["cases"].to_pylist() == [1, 1, 1]
    assert found["median_wait"].to_pylist() == [None, 1_000_000, 500_000_000]
    assert len(paths.spectrum(steps, "t999", "t000")) == 999
    assert rows_of(paths.rework(steps))[0] == ("t000", 1, 1000, 999, 0, 999, 1, 1.0)
    assert len(paths.places(steps)) == 8
    assert len(paths.places(steps, many)) == many


def test_as_many_types_as_events():
    """So many that pairs of types and places together have no room in 64 bits."""
    many = 1_500_000
    numbers = pa.array(range(many), pa.int64())
    steps = ordered(
        [
            pa.record_batch(
                {
                    "case_id": pa.array(["long"] * many),
                    "event_type": numbers.cast(pa.string()),
                    "time": numbers,
                    "position": numbers,
                }
            )
        ],
        by_time=True,
    )
    found = paths.places(steps, many)
    assert found["place"].to_pylist() == list(range(1, many + 1))
    assert found["source"].to_pylist() == [str(number) for number in range(many)]
    assert found["target"].to_pylist() == [str(number) for number in range(1, many)] + [None]
