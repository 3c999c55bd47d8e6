"""Steps: the one place that orders events, held to sorted lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb.errors import DamagedLogError, FlowError, InstantError, QueryError
from esnb.event import DomainEvent
from esnb.eventlog import EventLog
from esnb.flow.steps import ordered, ranges
from tests.flow import reference
from tests.flow.logs import PARTS, START, TYPES, log_of
from tests.flow.reference import Event

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = ["a", "b", "ab", "order-1", "order-10", "order-2", "ü", "￿", "\U0001f600", "x" * 300]


def batch(rows: list[tuple[str, str, int, int]], coded: bool = False) -> pa.RecordBatch:
    names, types, at, positions = zip(*rows, strict=True) if rows else ((), (), (), ())
    case, event_type = pa.array(names, pa.string()), pa.array(types, pa.string())
    return pa.record_batch(
        {
            "case_id": case.dictionary_encode() if coded else case,
            "event_type": event_type.dictionary_encode() if coded else event_type,
            "time": pa.array(at, pa.int64()),
            "position": pa.array(positions, pa.int64()),
        }
    )


def listed(steps: Any) -> reference.Cases:
    names = steps.names.to_pylist()
    found: reference.Cases = {}
    for case in range(steps.cases):
        rows = range(steps.firsts[case], steps.firsts[case + 1])
        found[names[case]] = [
            Event(
                steps.types[steps.type_ids[row]],
                EPOCH + timedelta(microseconds=int(steps.at[row])),
                int(steps.positions[row]),
            )
            for row in rows
        ]
    return found


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(TYPES), st.integers(-5, 5))),
    st.data(),
    st.booleans(),
    st.booleans(),
)
def test_ordered_as_sorted_lists(
    events: list[tuple[str, str, int]], data: st.DataObject, by_time: bool, coded: bool
) -> None:
    rows = [(*event, position) for position, event in enumerate(events)]
    # By case as in a file, or in any order at all, in batches cut anywhere.
    if data.draw(st.booleans()):
        cut = data.draw(st.integers(0, len(rows)))
        rows = sorted(rows[:cut]) + sorted(rows[cut:], key=lambda row: (row[0].encode(), row[3]))
    else:
        rows = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    steps = ordered([batch(part, coded) for part in parts], by_time=by_time)
    expected: reference.Cases = {}
    for name, event_type, at, position in rows:
        event = Event(event_type, EPOCH + timedelta(microseconds=at), position)
        expected.setdefault(name, []).append(event)
    assert listed(steps) == reference.ordered(expected, "occurred" if by_time else "recorded")
    assert list(listed(steps)) == sorted(expected, key=str.encode)
    assert list(steps.types) == sorted({row[1] for row in rows}, key=str.encode)
    assert steps.places.tolist() == [p for n in steps.lengths.tolist() for p in range(n)]
    assert len(steps) == len(rows)


@settings(max_examples=40)
@given(PARTS, st.sampled_from(["occurred", "recorded"]), st.sampled_from(["order", None]))
def test_a_log_as_sorted_lists(parts: list[Any], clock: Any, category: str | None) -> None:
    with log_of(parts) as log:
        events = list(log.read())
        flow = log.flow(category, clock=clock)
        expected = reference.cases_of(events, category, clock=clock)
        assert flow.events().fetchall() == reference.events(expected)
        tagged = log.flow(category, by="customer:", clock=clock)
        cases = reference.cases_of(events, category, by="customer:", clock=clock)
        assert tagged.events().fetchall() == reference.events(cases)


@settings(max_examples=20)
@given(PARTS, st.sampled_from(["occurred", "recorded"]), st.integers(0, 30), st.integers(0, 30))
def test_windows_conditions_and_streams(parts: list[Any], clock: Any, a: int, b: int) -> None:
    first, last = sorted((START + timedelta(hours=12 * a), START + timedelta(hours=12 * b)))
    with log_of(parts) as log:
        cases = reference.cases_of(log.read(), clock=clock)

        def inside(keep: Any) -> list[Any]:
            found = {name: [e for e in events if keep(name, e)] for name, events in cases.items()}
            return reference.events({name: events for name, events in found.items() if events})

        windowed = log.flow(clock=clock, window=(first, last))
        assert windowed.events().fetchall() == inside(lambda _, e: first <= e.at < last)
        after = log.flow(clock=clock, window=(first, None))
        assert after.events().fetchall() == inside(lambda _, e: first <= e.at)
        actors = {event.position: event.actor for event in log.read()}
        paying = "stream IN (SELECT e.stream FROM events AS e WHERE e.event_type = 'Paid')"
        some = log.flow(clock=clock, where=paying)
        assert some.events().fetchall() == inside(
            lambda name, _: name in reference.chosen(cases, with_=["Paid"])
        )
        by_ann = log.flow(clock=clock, where="actor = 'ann'")
        assert by_ann.events().fetchall() == inside(lambda _, e: actors[e.position] == "ann")
        paid = log.flow(clock=clock, event_type=["Paid", "paid"])
        assert paid.events().fetchall() == inside(lambda _, e: e.event_type in ("Paid", "paid"))
        whole = reference.chosen(cases, with_=["Paid"])
        some = log.flow(clock=clock)
        if some.built().cases and "Paid" in some.built().types:
            some = log.flow(clock=clock, streams=some.streams(with_="Paid"))
            assert some.events().fetchall() == inside(lambda name, _: name in whole)


def test_streams_are_given_as_names_and_tables(log_of_orders: EventLog) -> None:
    log = log_of_orders
    whole = log.flow("order").events().fetchall()
    names = ["order-2", "order-3", "order-none"]
    table = pa.table({"stream": names, "other": [1, 2, 3]})
    relation = duckdb.sql("SELECT 'order-2' AS stream UNION ALL SELECT 'order-3'")
    for given_ in (
        names, tuple(names), iter(names), table, table.to_pandas(), pl.from_arrow(table),
        pa.table({"case_id": names}), relation,
    ):  # fmt: skip
        found = log.flow("order", streams=given_).events().fetchall()
        assert found == [row for row in whole if row[0] in names]
    periods = log.timeline("order").when("status = 'paid'")
    assert log.flow("order", streams=periods).built().names.to_pylist() == ["order-2", "order-3"]
    assert len(log.flow("order", streams="order-1")) == 2
    # By tag a column `case_id` names tags, and a column `stream` the streams of the events.
    tags = log.flow(by="customer:", streams=["customer:1"])
    assert tags.built().names.to_pylist() == ["customer:1"]
    some = log.flow(by="customer:", streams=pa.table({"stream": ["order-2"]}))
    assert some.built().names.to_pylist() == ["customer:0"]
    assert len(some) == 2


@pytest.fixture
def log_of_orders(log: EventLog) -> EventLog:
    for number in range(1, 4):
        tag = [f"customer:{number % 2}"]
        log.append(f"order-{number}", [DomainEvent("Placed", {"status": "new"}, tags=tag)])
        status = {"status": "paid" if number > 1 else "failed"}
        log.append(f"order-{number}", [DomainEvent("Paid", status, tags=tag)])
    return log


@pytest.fixture
def log(tmp_path: Path) -> Any:
    with EventLog.create(tmp_path / "log", zone="Europe/Berlin") as opened:
        yield opened


def test_a_flow_stays_as_the_log_was(log_of_orders: EventLog) -> None:
    flow = log_of_orders.flow("order")
    log_of_orders.append("order-9", [DomainEvent("Placed", {})])
    assert len(flow) == 6
    assert len(log_of_orders.flow("order")) == 7
    assert flow.cursor(events=True).sql("SELECT count(*) FROM events").fetchall() == [(6,)]
    joined = flow.cursor(events=True).sql(
        "SELECT count(*) FROM steps AS s JOIN events AS e USING (position)"
        " JOIN types AS t USING (type_id) JOIN cases AS c USING (case_number)"
        " WHERE e.event_type = t.event_type AND e.stream = c.case_id"
        " AND c.started <= s.time AND s.time <= c.ended AND s.place < c.events"
    )
    assert joined.fetchall() == [(6,)]


def test_relations_do_not_cut_each_other_off(log_of_orders: EventLog) -> None:
    flow = log_of_orders.flow("order")
    first, second = flow.events(), flow.directly_follows()
    row = first.fetchone()
    assert second.fetchall()
    assert [row, *first.fetchall()] == flow.events().fetchall()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"clock": "wall"}, FlowError, "'wall' is no clock; say 'occurred' or 'recorded'"),
        ({"by": ""}, FlowError, "by='': say how the tags begin"),
        ({"by": 7}, FlowError, "by=7: say how the tags begin"),
        ({"window": "2026-01-01"}, FlowError, "say a pair of instants"),
        ({"window": ("2026-01-01",)}, FlowError, "say a pair of instants"),
        ({"window": ("2026-02-01", "2026-01-01")}, FlowError, "ends before it begins"),
        ({"window": ("soon", None)}, InstantError, "'soon' is not an instant"),
        (
            {"window": ("2026-01-01", None), "occurred_from": "2026-01-01"},
            FlowError,
            "window= and occurred_from= say the same thing",
        ),
        ({"colour": "red"}, QueryError, "there is no filter 'colour'"),
        ({"where": "no_such > 1"}, QueryError, "is no condition on an event"),
        ({"where": "1 = 1) OR (1 = 1"}, QueryError, "syntax error"),
        ({"where": "position IN (SELECT 1 FROM read_csv('/etc/passwd'))"}, QueryError, "read_csv"),
        ({"where": 7}, FlowError, "where=7: say an SQL condition"),
        ({"streams": 7}, FlowError, "streams=7: give names"),
        ({"streams": [7]}, FlowError, "give names"),
        ({"streams": pa.table({"order": ["a"]})}, FlowError, "no column 'stream' or 'case_id'"),
    ],
)
def test_what_cannot_be_asked(
    log: EventLog, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        log.flow("order", **options)


def test_naive_windows_are_in_the_zone_of_the_log(tmp_path: Path) -> None:
    at = datetime(2026, 6, 30, 22, 30, tzinfo=UTC)  # the first of July in Berlin
    for zone, count in (("Europe/Berlin", 1), ("UTC", 0)):
        with EventLog.create(tmp_path / zone, zone=zone) as log:
            log.append("order-1", [DomainEvent("Placed", {}, occurred_on=at)])
            assert len(log.flow("order", window=("2026-07-01", None))) == count
    with (
        EventLog.create(tmp_path / "none") as log,
        pytest.raises(InstantError, match="no time zone"),
    ):
        log.flow(window=("2026-07-01", None))


def test_hostile_names_are_data(log: EventLog) -> None:
    names = ["order-'; DROP TABLE events; --", 'order-"', "order-\\", "order-$1 {x} %s \n"]
    for name in names:
        log.append(name, [DomainEvent("it's 'so'", {}, tags=["cust'omer:7"])])
    assert log.flow("order", stream=names[0]).built().cases == 1
    assert log.flow("order", streams=names).built().cases == len(names)
    assert log.flow("order", event_type="it's 'so'").built().cases == len(names)
    assert log.flow(by="cust'omer:").built().names.to_pylist() == ["cust'omer:7"]
    assert log.flow(by="cust'omer:\x00").built().cases == 0
    assert log.flow("order", stream="order-\x00").built().cases == 0
    log.seal()
    assert log.flow("order", stream=names[-1]).built().names.to_pylist() == names[-1:]


def test_a_damaged_file_is_named(log_of_orders: EventLog) -> None:
    log_of_orders.seal()
    segment = log_of_orders.snapshot().segments[0]
    place = log_of_orders.path
    whole = segment.path.read_bytes()
    at = whole.index(b"order-1")
    flipped = bytearray(whole)
    flipped[at + 6] ^= 1
    for content, message in ((bytes(flipped), "cannot be read"), (None, "the file is missing")):
        segment.path.unlink()
        if content is not None:
            segment.path.write_bytes(content)
        with EventLog.open(place, read_only=True, verify="never") as again:
            flow = again.flow("order")
            with pytest.raises(DamagedLogError, match=message):
                flow.built()
    with (
        EventLog.open(place, read_only=True, verify="always") as again,
        pytest.raises(DamagedLogError),
    ):
        again.flow("order").built()


# --- tables of an analyst's own --------------------------------------------------------------

TABLE = pa.table(
    {
        "job": pa.array([2, 1, 1, 2, 1]),
        "what": ["begun", "begun", "checked", "done", "done"],
        "time": pa.array([datetime(2026, 3, 1, hour) for hour in (8, 9, 10, 11, 10)]),
    }
)
ROLES = {"case_id": "job", "event_type": "what", "time": "time"}
EXPECTED = [("1", ["begun", "checked", "done"]), ("2", ["begun", "done"])]


def ways(flow: esnb.Flow) -> list[Any]:
    found: dict[str, list[str]] = {}
    for case, _, event_type, *_ in flow.events().fetchall():
        found.setdefault(case, []).append(event_type)
    return list(found.items())


def test_tables_of_all_kinds() -> None:
    for table in (
        TABLE,
        TABLE.to_pandas(),
        pl.from_arrow(TABLE),
        duckdb.from_arrow(TABLE),
        TABLE.set_column(1, "what", TABLE["what"].dictionary_encode()),
        TABLE.set_column(0, "job", TABLE["job"].dictionary_encode()),
        TABLE.to_pandas().astype({"job": "category", "what": "category"}),
        TABLE.set_column(2, "time", TABLE["time"].cast(pa.timestamp("ms"))),
        TABLE.set_column(2, "time", TABLE["time"].cast(pa.timestamp("ns"))),
    ):
        flow = esnb.flow(table, **ROLES, zone="Europe/Berlin")
        assert ways(flow) == EXPECTED
        assert ways(flow) == EXPECTED  # again, from what was read
        begun = flow.durations().fetchall()[0][1]
        assert begun == datetime(2026, 3, 1, 8, tzinfo=UTC)
        assert flow.durations().project("started::VARCHAR").fetchone() == (
            "2026-03-01 09:00:00+01",
        )


def test_what_is_wrong_with_a_table() -> None:
    def raises(message: str, table: Any, **options: Any) -> None:
        with pytest.raises((FlowError, InstantError), match=message):
            esnb.flow(table, **{**ROLES, **options}).built()

    raises(r"case_id='jobs': .* there are 'job', 'what', 'time'", TABLE, case_id="jobs")
    raises("the times in 'time' have no time zone; say zone=", TABLE)
    raises("no time zone has this name", TABLE, zone="Europe/Berlim")
    raises("a list is no table of events", [1])
    raises("time='what' is of type string; cast it to a timestamp", TABLE, time="what")
    skipped = TABLE.set_column(2, "time", pa.array([datetime(2026, 3, 29, 2, 30)] * 5))
    raises("time='time': .*doesn't exist", skipped, zone="Europe/Berlin")
    finer = TABLE.set_column(2, "time", pa.array([1] * 5, pa.timestamp("ns", "UTC")))
    raises("time='time': .*would lose data", finer)
    for place, name, what in ((0, "job", "case"), (1, "what", "type"), (2, "time", "time")):
        gaps = TABLE[name].to_pylist()
        gaps[1:3] = [None, None]
        missing = TABLE.set_column(place, name, pa.array(gaps, TABLE[name].type))
        raises(f"2 events have no {what}.*Leave them out", missing, zone="UTC")
        if name != "time":
            for coded in (
                missing[name].dictionary_encode(),
                missing[name].dictionary_encode("encode"),
            ):
                same = missing.set_column(place, name, coded)
                raises(f"2 events have no {what}.*Leave them out", same, zone="UTC")
    with pytest.raises(FlowError, match="this flow is of a table, not of a log"):
        esnb.flow(TABLE, **ROLES, zone="UTC").cursor(events=True)


def test_infinite_times_have_no_place() -> None:
    table = duckdb.sql("SELECT 'a' AS job, 'x' AS what, 'infinity'::TIMESTAMPTZ AS time")
    with pytest.raises(FlowError, match="1 times lie outside the years 1 to 9999"):
        esnb.flow(table, **ROLES).built()


# --- size ------------------------------------------------------------------------------------


def test_a_million_events_of_one_case_and_a_thousand_types() -> None:
    count, kinds = 1_000_000, 1_000
    random = np.random.default_rng(4)
    codes = random.integers(0, kinds, count)
    at = np.arange(count) * 1_000_000
    late = random.integers(0, count, 1_000)
    at[late] -= 10_000_000
    case = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), ["one"])
    table = pa.table(
        {
            "job": case,
            "what": pa.DictionaryArray.from_arrays(
                pa.array(codes.astype(np.int32)), [f"type {n:04}" for n in range(kinds)]
            ),
            "time": pa.array(at).cast(pa.timestamp("us", "UTC")),
        }
    )
    flow = esnb.flow(table, **ROLES)
    steps = flow.built()
    order = np.lexsort((np.arange(count), at))
    assert (steps.type_ids == codes[order]).all()
    assert (steps.at == at[order]).all()
    assert flow.variants().project("length, cases").fetchall() == [(count, 1)]
    total = flow.directly_follows().aggregate("kind, sum(count)::BIGINT", "kind").fetchall()
    assert dict(total) == {"start": 1, "step": count - 1, "end": 1}
    assert len(flow.activities()) == kinds


def test_ranges() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]
    assert ranges(np.array([], np.int64), np.array([], np.int64)).tolist() == []
