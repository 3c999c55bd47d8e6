"""The tables under the charts, against counting by hand."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esnb.chart import event_counts, state_counts
from esnb.chart.counts import count_events
from esnb.chart.steps import fitting, step
from esnb.errors import InstantError, QueryError

BERLIN = ZoneInfo("Europe/Berlin")
CLOCK = pa.timestamp("us", tz="UTC")
NAMES = st.sampled_from(["Placed", "Paid", "Shipped", None, "", "other", "été", "a'b\"c"])
TIMES = st.datetimes(datetime(2025, 10, 20), datetime(2025, 11, 3), timezones=st.just(UTC))
EVENTS = st.lists(st.tuples(TIMES, NAMES), max_size=40)


def table(events, by="event_type"):
    times, names = ([*column] for column in zip(*events, strict=True)) if events else ([], [])
    return pa.table({"occurred_on": pa.array(times, CLOCK), by: pa.array(names, pa.string())})


def rows(relation):
    found = relation.to_arrow_table()
    return [
        (row["time"].astimezone(UTC), *[v for k, v in row.items() if k != "time"])
        for row in found.to_pylist()
    ]


@given(EVENTS)
def test_days_of_a_place_are_counted_as_by_hand(events):
    expected = Counter(
        (at.astimezone(BERLIN).replace(hour=0, minute=0, second=0, microsecond=0), name)
        for at, name in events
    )
    found = event_counts(table(events), every="1 day", top=20, zone="Europe/Berlin")
    assert Counter({(at, name): n for at, name, n in rows(found)}) == Counter(
        {(at.astimezone(UTC), name): n for (at, name), n in expected.items()}
    )


@given(EVENTS)
def test_hours_are_cut_in_utc_so_that_none_comes_twice(events):
    expected = Counter((at.replace(minute=0, second=0, microsecond=0), name) for at, name in events)
    found = event_counts(table(events), every="1 hour", top=20, zone="Europe/Berlin")
    assert Counter({(at, name): n for at, name, n in rows(found)}) == expected


@given(EVENTS, st.integers(1, 4))
def test_the_rest_is_counted_together_and_nothing_is_lost(events, top):
    shown = count_events(table(events), every="1 day", top=top, zone="UTC")
    assert sum(shown.rows["count"].to_pylist()) == len(events) == shown.total
    counted = Counter(name for _, name in events)
    assert len(shown.keys) + shown.left_out == len(counted)
    assert len(shown.keys) <= top + 1
    assert all(counted[key] >= max(
        (counted[name] for name in counted if name not in shown.keys), default=0
    ) for key in shown.keys)  # fmt: skip
    assert shown.left_out_count == len(events) - sum(counted[key] for key in shown.keys)


def test_one_name_too_many_is_shown_rather_than_called_other():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    found = event_counts(table([(at, name) for name in "abc"]), top=2)
    assert {name for _, name, _ in rows(found)} == {"a", "b", "c"}
    found = event_counts(table([(at, name) for name in "aabbcd"]), top=2)
    assert {name: n for _, name, n in rows(found)} == {"a": 2, "b": 2, "other": 2}


def test_a_name_other_is_not_mixed_up_with_the_rest():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    found = event_counts(table([(at, name) for name in ["other"] * 3 + [*"abc"]]), top=1)
    assert {name: n for _, name, n in rows(found)} == {"other": 3, "other names": 3}


@pytest.mark.parametrize(
    "convert",
    [lambda t: t, duckdb.from_arrow, pl.from_arrow, pd.DataFrame],
    ids=["arrow", "duckdb", "polars", "pandas"],
)
def test_any_table_will_do(convert):
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    source = table([(at, "a"), (at, "b"), (at, "b")])
    given = source.to_pandas() if convert is pd.DataFrame else convert(source)
    found = rows(event_counts(given, every="1 day", zone="UTC"))
    assert [(name, n) for _, name, n in found] == [("b", 2), ("a", 1)]


def test_a_log_is_counted_in_its_own_zone(log):
    class Asked:
        zone = "Asia/Tokyo"

        def events(self):
            return duckdb.from_arrow(table([(datetime(2026, 1, 1, 20, tzinfo=UTC), "a")]))

    [(at, _, _)] = rows(event_counts(Asked(), every="1 day"))
    assert at == datetime(2026, 1, 1, 15, tzinfo=UTC)  # midnight of 2 January in Tokyo


def test_a_relation_is_counted_in_the_zone_of_its_connection():
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'Asia/Tokyo'")
        connection.register("t", table([(datetime(2026, 1, 1, 20, tzinfo=UTC), "a")]))
        [(at, _, _)] = rows(event_counts(connection.table("t"), every="1 day"))
    assert at == datetime(2026, 1, 1, 15, tzinfo=UTC)


@pytest.mark.parametrize("name", ["a.b", 'a"b', "sel[0]", "count(*)", "é", "'; drop table t; --"])
def test_columns_may_be_called_anything(name):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    found = event_counts(table([(at, "x")], by=name), by=name)
    assert found.columns == ["time", name, "count"]


def test_what_cannot_be_counted_is_said():
    empty = table([])
    with pytest.raises(QueryError, match="no column 'kind'; there are occurred_on, event_type"):
        event_counts(empty, by="kind")
    with pytest.raises(QueryError, match="'1 fortnight' is not a step"):
        event_counts(empty, every="1 fortnight")
    with pytest.raises(InstantError, match="Europe/Berlin"):
        event_counts(empty, zone="Europe/Atlantis")
    with pytest.raises(QueryError, match="a list cannot be drawn"):
        event_counts([])
    with pytest.raises(QueryError, match="top must be from 1"):
        event_counts(empty, top=0)


def counts(entries):
    return pa.table(
        {
            "time": pa.array([at for at, _, _ in entries], CLOCK),
            "status": pa.array([name for _, name, _ in entries], pa.string()),
            "count": pa.array([n for _, _, n in entries], pa.int64()),
        }
    )


def test_states_that_are_absent_at_an_instant_are_zero():
    first, second = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    found = state_counts(counts([(first, "a", 3), (second, "a", 2), (second, None, 1)]))
    assert rows(found) == [
        (first, "a", 3), (first, None, 0), (second, "a", 2), (second, None, 1),
    ]  # fmt: skip


def test_the_column_of_states_must_be_clear():
    two = counts([]).append_column("more", pa.array([], pa.string()))
    with pytest.raises(QueryError, match="say by=, the column of the states; there are status, mo"):
        state_counts(two)
    assert state_counts(two, "status").columns == ["time", "status", "count"]


@given(st.floats(0, 1e11))
def test_a_fitting_step_gives_at_most_120_bins(seconds):
    assert seconds <= 120 * fitting(seconds).seconds or str(fitting(seconds)) == "100 years"


@pytest.mark.parametrize(
    ("text", "length"),
    [("day", timedelta(1)), ("2 Weeks", timedelta(14)), ("90 minutes", timedelta(minutes=90))],
)
def test_steps_are_read(text, length):
    assert step(text).seconds == length.total_seconds()
