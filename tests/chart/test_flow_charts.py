"""The other charts of flows: each draws what its twin returns, and that is what happened."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
import esnb.chart.by_type as types_module
from esnb.chart import (
    alluvial_chart,
    alluvial_steps,
    dots,
    dotted_chart,
    duration_bins,
    durations_chart,
    funnel_chart,
    spectrum_chart,
    spectrum_lines,
    type_counts,
    types_over_time,
    variants_chart,
)
from esnb.chart.variants import short_names
from esnb.chart.words import duration
from esnb.errors import FlowError, QueryError
from tests.chart.drawn import START, flow_of, layers, marks, subtitle, tips

NAMES = "ABCDEFGHIJKLM"
CASES = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=7), min_size=1, max_size=10)
SOME = [["A", "B", "C"]] * 5 + [["A", "C"]] * 2 + [["A"]]


def rows_of(relation):
    return relation.to_arrow_table().to_pylist()


# --- variants ------------------------------------------------------------------------------


def test_variants_are_drawn_as_the_flow_tells_them():
    flow = flow_of(SOME)
    chart = variants_chart(flow, 2).to_dict()
    drawn = tips(chart, marks(chart, "rect")[0])
    assert [(tip["cases"], tip["steps"], tip["of all cases"]) for tip in drawn] == [
        ("5", "3", "62.5 %"), ("2", "2", "25.0 %"),
    ]  # fmt: skip
    found = rows_of(flow.variants(2))
    assert [tip["cases"] for tip in drawn] == [f"{row['cases']:,}" for row in found]
    steps = marks(chart, "point")[0]
    by_row = {}
    for step in steps:
        by_row.setdefault(step["y"], []).append((step["x"], step["t0"]))
    assert [[name for _, name in sorted(row)] for row in by_row.values()] == [
        row["variant"] for row in found
    ]
    assert "2 of 3 variants, 87.5 % of 8 cases" in subtitle(chart)
    assert variants_chart(flow.variants()).to_dict()["datasets"].keys() == (
        variants_chart(flow).to_dict()["datasets"].keys()
    )


def test_a_long_variant_is_cut_and_that_is_said():
    chart = variants_chart(flow_of([["A"] * 30])).to_dict()
    assert len(marks(chart, "point")[0]) == 21
    assert [row["text"] for rows in marks(chart, "text") for row in rows if "text" in row] == [
        "+ 9 more"
    ]


def test_types_are_told_apart_by_letters_too():
    codes = short_names([f"Type{number}" for number in range(20)] + ["🦆" * 50, "", "\n", "été"])
    assert len(set(codes)) == len(codes)
    assert max(len(code) for code in codes) <= 4


# --- durations -----------------------------------------------------------------------------

LENGTHS = st.lists(st.one_of(st.just(0), st.integers(1, 10**14)), min_size=1, max_size=60).map(
    lambda lengths: pa.table({"duration": pa.array(lengths, pa.duration("us"))})
)


@settings(max_examples=60)
@given(LENGTHS, st.integers(1, 50), st.sampled_from(["auto", "log", "linear"]))
def test_every_case_is_in_the_one_bin_of_its_length(table, bins, scale):
    found = rows_of(duration_bins(table, bins, scale))
    lengths = [length / timedelta(microseconds=1) for length in table["duration"].to_pylist()]
    assert sum(row["cases"] for row in found) == len(lengths)
    left = list(lengths)
    for row in found:
        start, end = (
            value.days * 86_400_000_000 + value.nanoseconds // 1000
            for value in (row["duration_from"], row["duration_to"])
        )
        # Ends are rounded to microseconds, which may move one case across.
        sure = [length for length in left if start + 1 < length < end - 1]
        near = [length for length in left if start - 1 <= length <= end + 1]
        assert len(sure) <= row["cases"] <= len(near)
    drawn = marks(durations_chart(table, bins, scale), "rect")[0]
    assert [row["cases"] for row in drawn] == [row["cases"] for row in found]
    assert all(row["x0"] < row["x1"] for row in drawn)


def test_the_durations_that_half_and_most_stay_under_are_written():
    minutes = [60_000_000 * minute for minute in range(1, 101)]
    chart = durations_chart(pa.table({"duration": pa.array(minutes, pa.duration("us"))}))
    texts = [row["text"] for row in marks(chart, "text")[0]]
    parts = np.quantile(minutes, [0.5, 0.9, 0.95]) / 1e6
    assert texts == [
        f"{name} within {duration(part)}"
        for name, part in zip(("half", "90 %", "95 %"), parts.tolist(), strict=True)
    ]


def test_lengths_far_apart_have_an_axis_of_powers_and_none_is_lost():
    rng = np.random.default_rng(3)
    lengths = [0] * 7 + (np.exp(rng.normal(16, 4, 500))).astype(int).tolist()
    chart = durations_chart(pa.table({"duration": pa.array(lengths, pa.duration("us"))}))
    assert "on an axis of powers, 7 of no length" in subtitle(chart)
    assert marks(chart, "rect")[0][0]["cases"] == 7
    near = durations_chart(pa.table({"duration": pa.array([5, 6, 7], pa.duration("s"))}))
    assert "on a linear axis" in subtitle(near)


# --- funnel --------------------------------------------------------------------------------


def test_the_funnel_is_the_table():
    flow = flow_of([*SOME, ["B", "A", "C"]])
    chart = funnel_chart(flow, ["A", "B", "C"]).to_dict()
    found = rows_of(flow.funnel(["A", "B", "C"]))
    assert [row["cases"] for row in found] == [9, 5, 5]
    drawn = tips(chart, marks(chart, "rect")[0], layer=1)
    assert [(tip["event type"], tip["cases"]) for tip in drawn] == [
        (row["event_type"], f"{row['cases']:,}") for row in found
    ]
    assert [row["right"] - row["left"] for row in marks(chart, "rect")[0]] == [360, 200, 200]
    assert "9 of 9 cases take the first step, 5 of them the last (55.6 %)" in subtitle(chart)
    assert tips(funnel_chart(flow.funnel(["A", "B", "C"])), marks(chart, "rect")[0], layer=1) == (
        drawn
    )


def test_a_funnel_needs_types_that_there_are():
    with pytest.raises(QueryError, match="say the event types"):
        funnel_chart(flow_of(SOME))
    with pytest.raises(FlowError, match="'Z'"):
        funnel_chart(flow_of(SOME), ["Z"])


# --- alluvial ------------------------------------------------------------------------------


@settings(max_examples=25)
@given(CASES, st.integers(1, 6), st.integers(1, 5))
def test_the_flows_are_the_events_by_their_places(cases, most, types):
    expected = Counter(
        (place, source, target)
        for case in cases
        for place, (source, target) in enumerate(pairwise([*case, None]), start=1)
        if place <= most
    )
    flow = flow_of(cases)
    found = rows_of(alluvial_steps(flow, most, types))
    assert sum(row["cases"] for row in found) == expected.total()
    names = {name for row in found for name in (row["source"], row["target"])}
    for row in found:
        if "other" not in (row["source"], row["target"]):
            assert row["cases"] == expected[row["place"], row["source"], row["target"]]
    # What comes to a place is what leaves it.
    come, leave = Counter(), Counter()
    for row in found:
        leave[row["place"], row["source"]] += row["cases"]
        if row["target"] is not None:
            come[row["place"] + 1, row["target"]] += row["cases"]
    for spot, count in come.items():
        assert spot[0] == most + 1 or leave[spot] == count
    assert len(names - {None, "other"}) <= types + 1
    chart = alluvial_chart(flow, most, types).to_dict()
    drawn = tips(chart, marks(chart, "point")[0])
    assert sorted(int(tip["cases"].split(" ")[0]) for tip in drawn) == sorted(
        row["cases"] for row in found
    )
    boxes = marks(chart, "rect")[0]
    assert sorted(int(row["t2"]) for row in boxes if row["t0"] == "1") == sorted(
        count for (place, _), count in leave.items() if place == 1
    )


def test_a_type_called_ended_is_not_the_end():
    chart = alluvial_chart(flow_of([["ended", "other"], ["ended"]])).to_dict()
    assert {row["c"] for row in marks(chart, "rect")[0]} == {"ended", "other", "ended (2)"}


# --- dots ----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(CASES, st.sampled_from(["absolute", "since start"]), st.sampled_from(["start", "duration"]))
def test_every_event_is_a_dot(cases, time, order):
    flow = flow_of(cases)
    found = rows_of(dots(flow, time, order))
    events = rows_of(flow.events())
    assert sorted((row["case_id"], row["event_type"], row["time"]) for row in found) == sorted(
        (row["case_id"], row["event_type"], row["time"]) for row in events
    )
    ranks = {}
    for row in found:
        ranks.setdefault(row["rank"], []).append(row)
    assert [*ranks] == [*range(1, len(cases) + 1)]
    by = []
    for some in ranks.values():
        times = [row["time"] for row in some]
        by.append(min(times) if order == "start" else max(times) - min(times))
        assert len({row["case_id"] for row in some}) == 1
    assert by == sorted(by)
    drawn = layers(dotted_chart(flow, time, order))[0][1]
    assert Counter((row["y"], row["t1"]) for row in drawn) == Counter(
        (row["rank"], row["event_type"]) for row in found
    )


@settings(max_examples=15)
@given(CASES, st.sampled_from(["absolute", "since start"]))
def test_too_many_dots_become_density_and_no_event_is_lost(cases, time):
    flow = flow_of([*cases, ["A", "B"]])
    found = rows_of(dots(flow, time, most=1))
    assert sum(row["events"] for row in found) == len(flow)
    chart = dotted_chart(flow, time, most=1)
    assert "more than 1 dots, so density is drawn, 136 by 84 cells" in subtitle(chart)
    drawn = layers(chart)[0][1]
    assert [int(row["t3"]) for row in drawn] == [row["events"] for row in found]
    # The same cells by hand.
    single = rows_of(dots(flow, time))
    start, end = ("time_from", "time_to") if time == "absolute" else ("since_from", "since_to")

    def micros(value):
        if isinstance(value, datetime):
            return (value - START) // timedelta(microseconds=1)
        return value.days * 86_400_000_000 + value.nanoseconds // 1000

    for row in found:
        inside = [
            dot
            for dot in single
            if row["rank_from"] <= dot["rank"] <= row["rank_to"]
            and micros(row[start])
            <= micros(dot["time" if time == "absolute" else "since"])
            < micros(row[end])
        ]
        assert len(inside) == row["events"]


def test_a_chart_never_has_more_than_twenty_thousand_dots():
    flow = flow_of([["A", "B", "C", "D"]] * 5001, step=timedelta(seconds=1))
    chart = dotted_chart(flow).to_dict()
    assert len(layers(chart)[0][1]) < 20_000
    assert "20,004 events of 5,001 cases, by start: more than 20,000 dots" in subtitle(chart)
    with pytest.raises(QueryError, match="from 1 to 20,000"):
        dotted_chart(flow, most=20_001)


def test_dots_need_a_flow():
    with pytest.raises(QueryError, match="a dotted chart needs a flow, not a list"):
        dotted_chart([])
    with pytest.raises(QueryError, match="say 'absolute' or 'since start'"):
        dotted_chart(flow_of(SOME), "relative")
    with pytest.raises(QueryError, match="say 'start', 'duration' or 'events'"):
        dotted_chart(flow_of(SOME), order="name")


# --- spectrum ------------------------------------------------------------------------------


@settings(max_examples=25)
@given(CASES, st.booleans())
def test_the_lines_are_the_ways_and_the_bars_are_their_numbers(cases, eventually):
    flow = flow_of([*cases, ["A", "B", "A", "B"], ["A", "C", "B"]])
    ways = flow.spectrum("A", "B", eventually=eventually)
    found = spectrum_lines(flow, "A", "B", eventually=eventually)
    assert sorted(found.fetchall()) == sorted(ways.fetchall())
    lines = layers(spectrum_chart(flow, "A", "B", eventually=eventually))[0][1]
    assert [line["t0"] for line in lines] == [row["case_id"] for row in rows_of(found)]
    starts = [line["x"] for line in lines]
    assert starts == sorted(starts)
    bars = rows_of(spectrum_lines(flow, "A", "B", eventually=eventually, most=1))
    assert sum(row["count"] for row in bars) == len(lines)
    for row in bars:
        inside = [
            line for line in rows_of(found)
            if row["source_from"] <= line["source_at"] < row["source_to"]
        ]  # fmt: skip
        same = [bar for bar in bars if bar["source_from"] == row["source_from"]]
        assert len(inside) == sum(bar["count"] for bar in same)
    assert Counter(line["c"] for line in lines) == sum(
        (Counter({row["wait"]: row["count"]}) for row in bars), Counter()
    )
    chart = spectrum_chart(flow, "A", "B", eventually=eventually, most=1)
    assert "more than 1 lines, so bars are drawn" in subtitle(chart)
    assert [int(row["y2"] - row["y"]) for row in layers(chart)[0][1]] == [
        row["count"] for row in bars
    ]


def test_a_spectrum_can_be_drawn_of_its_table():
    flow = flow_of(SOME)
    given_table = spectrum_chart(flow.spectrum("A", "B"), "A", "B")
    assert layers(given_table)[0][1] == layers(spectrum_chart(flow, "A", "B"))[0][1]
    assert given_table.to_dict()["title"]["text"] == "From A to B"


# --- over time -----------------------------------------------------------------------------


@settings(max_examples=15)
@given(CASES)
def test_types_over_time_are_the_events(cases):
    flow = flow_of(cases)
    found = rows_of(type_counts(flow, "1 hour", top=20))
    expected = Counter(
        (row["time"].astimezone(UTC).replace(minute=0, second=0, microsecond=0), row["event_type"])
        for row in rows_of(flow.events())
    )
    assert {(row["time"], row["event_type"]): row["count"] for row in found} == expected
    chart = types_over_time(flow, "1 hour", top=20)
    assert [row["f3"] for row in layers(chart)[0][1]] == [row["count"] for row in found]
    assert "1 bar = 1 hour, occurred_on, times in UTC" in subtitle(chart)
    # A table does not say on which clock it is.
    assert "1 bar = 1 hour, times in UTC" in subtitle(types_over_time(flow.events(), "1 hour"))


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABC"),
            st.datetimes(datetime(2025, 10, 1), datetime(2025, 10, 28), timezones=st.just(UTC)),
        ),
        min_size=2,
        max_size=30,
    ),
    st.sampled_from(["auto", "15 minutes", "1 hour", "1 day", "1 week", "1 month"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"]
    ),
)
def test_millions_of_events_are_counted_by_quarters_of_an_hour_alike(events, every, zone):
    table = pa.table(
        {
            "case_id": [f"c{number % 3}" for number in range(len(events))],
            "what": [name for name, _ in events],
            "time": pa.array([at for _, at in events], pa.timestamp("us", "UTC")),
        }
    )
    flow = esnb.flow(table, case_id="case_id", event_type="what", time="time")
    times = [at for _, at in events]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("esnb.chart.by_type._MANY", 1)
        patched = types_module._quarters_do(flow.built().at, every)
        quarters = rows_of(type_counts(flow, every, zone=zone))
    assert patched == (max(times) - min(times) >= timedelta(days=2))
    assert quarters == rows_of(type_counts(flow, every, zone=zone))


def test_shorter_bins_and_old_times_are_not_counted_by_quarters(monkeypatch):
    monkeypatch.setattr("esnb.chart.by_type._MANY", 1)
    now = flow_of([["A", "B"]] * 60).built().at
    assert types_module._quarters_do(now, "1 hour")
    assert not types_module._quarters_do(now, "10 minutes")
    assert not types_module._quarters_do(now - 60 * 365 * 86_400_000_000, "1 hour")
    assert types_module._tallied(np.array([5, 5, 0]), 6)[1].tolist() == [1, 2]
    assert types_module._tallied(np.array([5, 5, 0]), 10**12)[0].tolist() == [0, 5]
