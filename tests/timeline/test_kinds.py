"""Folds that somebody wrote: every kind of field, defaults, lives, sides, keys across streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esnb import jsontext
from esnb.errors import TimelineError
from esnb.timeline import Timeline, build, columns, macros, pipeline
from esnb.timeline.fold import CARRIED, Field, Fold
from tests.timeline.reference import Event
from tests.timeline.standin import INSTANTS, START, MemoryLog
from tests.timeline.test_folds import dicts

MINE = ", ".join(f"e.{name}" for name in CARRIED)


@dataclass(frozen=True)
class Trace:
    """A side: the types of the events of this life, and what the event before said."""

    identity: str = "trace 1"
    columns: tuple[tuple[str, str], ...] = (("event_type", "VARCHAR"), ("amount", "BIGINT"))
    adds: tuple[tuple[str, str], ...] = (
        ("trace", "VARCHAR"), ("earlier", "BIGINT"), ("latest", "BIGINT"),
    )  # fmt: skip
    keeps: tuple[str, ...] = ("trace", "latest")

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        stream, trace, latest = None, "", None
        for batch in batches:
            made = []
            for row in batch.to_pylist():
                if row["stream"] != stream or row["ended"]:
                    stream, trace, latest = row["stream"], "", None
                earlier = latest
                if row["carried"]:
                    trace, latest = row["was_trace"] or "", row["was_latest"]
                elif not row["ended"]:
                    trace += row["event_type"][0]
                    latest = row["amount"] if row["amount"] is not None else latest
                made.append({"trace": trace, "earlier": earlier, "latest": latest})
            yield pa.RecordBatch.from_pylist(
                made,
                schema=pa.schema(
                    [("trace", pa.string()), ("earlier", pa.int64()), ("latest", pa.int64())]
                ),
            )


@dataclass(frozen=True)
class Doubled:
    """A side that reads what the one before it added."""

    identity: str = "doubled 1"
    columns: tuple[tuple[str, str], ...] = (("latest", "BIGINT"),)
    adds: tuple[tuple[str, str], ...] = (("doubled", "BIGINT"),)
    keeps: tuple[str, ...] = ()

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            doubled = [n if n is None else 2 * n for n in batch.column("latest").to_pylist()]
            yield pa.RecordBatch.from_arrays([pa.array(doubled, pa.int64())], names=["doubled"])


@dataclass(frozen=True)
class Account:
    """A definition with a field of every kind."""

    ends: bool
    sides: bool = True
    name: str = "order"

    def settled(self, read: Any) -> Any:
        return self

    def fold(self, log: Any) -> Fold:
        gone = "e.event_type = 'Gone'" if self.ends else "false"
        rows = (
            f"SELECT {MINE}, {gone} AS ended,"
            " CAST(json_extract_string(e.data, '/amount') AS BIGINT) AS amount,"
            " json_exists(e.data, '/note') AS noted,"
            " json_extract_string(e.data, '/note') AS note"
            " FROM events AS e WHERE e.category = 'order'"
        )
        amount = "e.amount"
        fields = [
            Field("total", "total", "DECIMAL(38, 2)", f"CAST({amount} AS DECIMAL(38, 2))", "sum",
                  default="10.50"),
            Field("count", "count", "BIGINT", "1", "sum", default="0"),
            Field("least", "least", "BIGINT", amount, "min"),
            Field("most", "most", "BIGINT", amount, "max", default="3"),
            Field("opening", "opening", "BIGINT", amount, "first"),
            Field("fixed", "fixed", "BIGINT", amount, "first", default="7"),
            Field("amount", "amount", "BIGINT", amount, default="-1"),
            Field("note", "note", "VARCHAR", "CASE WHEN e.noted THEN {'v': e.note} END",
                  boxed=True, default="'none'"),
            Field("now", "now", "VARCHAR", "e.note", "whole"),
        ]  # fmt: skip
        if self.sides:
            fields += [
                Field("trace", "trace", "VARCHAR", "e.trace", "whole"),
                Field("rise", "rise", "BIGINT", "CAST(e.latest - e.earlier AS BIGINT)", "max"),
                Field("doubled", "doubled", "BIGINT", "e.doubled", "whole"),
            ]
        sides = (Trace(), Doubled()) if self.sides else ()
        return Fold(rows, tuple(fields), self.ends, sides)


def slow(events: list[Event], ends: bool) -> dict[str, Any] | None:
    """Fold one stream in plain Python; None where it ended."""
    begin: dict[str, Any] = {
        "total": Decimal("10.50"), "count": 0, "least": None, "most": 3, "opening": None,
        "fixed": 7, "amount": -1, "note": "none", "now": None, "trace": "", "rise": None,
        "doubled": None,
    }  # fmt: skip
    state: dict[str, Any] | None = dict(begin)
    latest = None
    for event in events:
        if ends and event.event_type == "Gone":
            state, latest = None, None
            continue
        if state is None:
            state = dict(begin)
        said = jsontext.parse_object(event.data)
        state["count"] += 1
        state["trace"] += event.event_type[0]
        amount = said.get("amount")
        earlier = latest
        if amount is not None:
            state["total"] += amount
            state["least"] = amount if state["least"] is None else min(state["least"], amount)
            state["most"] = max(state["most"], amount)
            if state["opening"] is None:
                state["opening"] = amount
            state["amount"] = latest = amount
        if latest is not None and earlier is not None:
            rise = latest - earlier
            state["rise"] = rise if state["rise"] is None else max(state["rise"], rise)
        state["doubled"] = None if latest is None else 2 * latest
        if "note" in said:
            state["note"] = said["note"]
        state["now"] = said.get("note")
    return state


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["order-1", "order-2", "order-é'"]),
        st.sampled_from(["Placed", "Changed", "Gone"]),
        st.fixed_dictionaries(
            {},
            optional={
                "amount": st.sampled_from([None, 0, 1, -5, 12]),
                "note": st.sampled_from([None, "a", "é"]),
            },
        ),
        INSTANTS,
        INSTANTS,
    ),
    max_size=7,
)
some = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(log: MemoryLog, events: list[Any]) -> None:
    for stream, event_type, data, occurred_on, recorded_on in events:
        log.write(
            stream, event_type, jsontext.canonical(data),
            occurred_on=occurred_on, recorded_on=recorded_on,
        )  # fmt: skip


def streams(log: MemoryLog) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = {}
    for event in log.written:
        found.setdefault(event.stream, []).append(event)
    return found


def fields_of(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in names}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_RANGE", 3)
    monkeypatch.setattr(build, "_MERGED", 2)
    monkeypatch.setattr(pipeline, "_BATCH", 2)


@some
@given(st.lists(EVENTS, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_every_kind_is_the_slow_fold_however_the_log_grew(
    small: None, parts: list[Any], ends: bool, sides: bool
) -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, Account(ends, sides))
    for events in parts:
        write(log, events)
        rows = {(row["stream"], row["position"]): row for row in dicts(line.history())}
        assert len(rows) == len(log.written)
        for stream, own in streams(log).items():
            for number, event in enumerate(own, start=1):
                row = rows[stream, event.position]
                state = slow(own[:number], ends)
                assert row["ended"] == (state is None)
                for name in line.fields:
                    assert row[name] == (None if state is None else state[name]), name
    again = Timeline(MemoryLog(log.written, zone="UTC"), Account(ends, sides))
    assert dicts(again.history()) == dicts(line.history())


@some
@given(st.lists(EVENTS, min_size=1, max_size=3), st.booleans(), st.booleans())
def test_sql_makes_the_states_that_arrays_make(
    small: None, parts: list[Any], ends: bool, sides: bool
) -> None:
    """Rows that take too much memory are left to SQL, in any part of a table."""
    lines = []
    for most in (columns.MOST_BYTES, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(columns, "MOST_BYTES", most)
            log = MemoryLog(zone="UTC")
            line = Timeline(log, Account(ends, sides))
            for events in parts:
                write(log, events)
                rows = dicts(line.history())
            lines.append(rows)
    assert lines[0] == lines[1]


def test_sums_beyond_64_bits_are_left_to_sql() -> None:
    log = MemoryLog(zone="UTC")
    for amount in (2**62, 2**62, -(2**62), -(2**62), 5):
        log.write("order-1", "Paid", f'{{"amount": {amount}}}')
    line = Timeline(log, Account(ends=False, sides=False))
    totals = [row["total"] for row in dicts(line.history().order("position"))]
    steps = [2**62, 2**63, 2**62, 0, 5]
    assert totals == [Decimal(step) + Decimal("10.50") for step in steps]


@some
@given(EVENTS, st.booleans(), INSTANTS, st.one_of(st.none(), INSTANTS))
def test_every_kind_on_the_other_clock(
    small: None, events: list[Any], ends: bool, when: datetime, known: datetime | None
) -> None:
    log = MemoryLog(zone="UTC")
    write(log, events)
    line = Timeline(log, Account(ends))
    expected = {}
    for stream, own in streams(log).items():
        arrived, reached = [], []
        for event in own:
            reached.append(event.recorded_on)
            if known is None or max(reached) <= known:
                arrived.append(event)
        past = [
            event
            for event in sorted(arrived, key=lambda event: (event.occurred_on, event.position))
            if event.occurred_on <= when
        ]
        state = slow(past, ends)
        if past and state is not None:
            expected[stream] = state
    found = {
        row["stream"]: fields_of(row, line.fields) for row in dicts(line.valid_at(when, known))
    }
    assert found == expected
    cursor = log.fresh(log.snapshot())
    macros.register(cursor, line)
    second = "" if known is None else f", '{known.isoformat()}'"
    asked = dicts(cursor.sql(f"FROM order_valid_at('{when.isoformat()}'{second})"))
    assert {row["stream"]: fields_of(row, line.fields) for row in asked} == expected


@some
@given(EVENTS, st.booleans())
def test_states_without_a_store(small: None, events: list[Any], ends: bool) -> None:
    """The pipeline alone: every state of some streams, over any cursor that knows events."""
    log = MemoryLog(zone="UTC")
    write(log, events)
    cursor = log.fresh(log.snapshot())
    fold = Account(ends).fold(None)
    rows = pipeline.system_rows(fold, "e.stream <> 'order-2'")
    source = pipeline.sided(cursor, fold, f"({rows})")
    number = [field.name for field in fold.fields].index("trace")
    found = cursor.execute(
        f"SELECT stream, position, f{number} FROM ({pipeline.every_sql(fold, source)}) ORDER BY ALL"
    ).fetchall()
    expected = []
    for stream, own in streams(log).items():
        for n, event in enumerate(own, start=1):
            state = slow(own[:n], ends)
            if stream != "order-2":
                expected.append((stream, event.position, None if state is None else state["trace"]))
    assert found == sorted(expected)


@dataclass(frozen=True)
class Customer:
    """A definition keyed by what the payloads name, not by stream."""

    name: str = "customer"

    def settled(self, read: Any) -> Any:
        return self

    def fold(self, log: Any) -> Fold:
        carried = ", ".join(f"e.{name}" for name in CARRIED[1:])
        rows = (
            f"SELECT unnest(from_json(json_extract(e.data, '/of'), '[\"VARCHAR\"]')) AS stream,"
            f" {carried}, false AS ended, json_extract_string(e.data, '/n') AS n FROM events AS e"
        )
        fields = (
            Field("n", "n", "BIGINT", "CAST(e.n AS BIGINT)"),
            Field("sum", "sum", "BIGINT", "CAST(e.n AS BIGINT)", "sum", default="0"),
        )
        return Fold(rows, fields)


@some
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["order-1", "order-2"]),
                st.lists(st.sampled_from(["c1", "c2", "ç'3"]), unique=True, max_size=3),
            ),
            max_size=5,
        ),
        max_size=3,
    )
)
def test_one_event_may_be_of_several_aggregates(small: None, parts: list[Any]) -> None:
    log = MemoryLog(zone="UTC")
    line = Timeline(log, Customer())
    for events in parts:
        for stream, customers in events:
            data = {"of": customers, "n": len(log.written) + 1}
            log.write(stream, "Changed", jsontext.canonical(data))
        expected = []
        totals: dict[str, int] = {}
        for event in log.written:
            said = jsontext.parse_object(event.data)
            for customer in said["of"]:
                totals[customer] = totals.get(customer, 0) + said["n"]
                expected.append((customer, event.position, said["n"], totals[customer]))
        found = line.history().project("stream, position, n, sum").fetchall()
        assert found == sorted(expected)
        newest = {stream: total for stream, _, _, total in found}
        assert dict(line.as_of(10**6).project("stream, sum").fetchall()) == newest
        changed = line.diff(-1, len(log.written)).filter("field = 'sum'")
        assert dict(changed.project("stream, after").fetchall()) == {
            stream: str(total) for stream, total in newest.items()
        }
        for customer in newest:
            assert line.blame(customer).fetchall()[1][:2] == ("sum", str(newest[customer]))


def test_sums_are_exact_or_refused() -> None:
    with pytest.raises(TimelineError, match="DECIMAL"):
        Field("x", "x", "DOUBLE", "e.x", "sum", default="0")
    with pytest.raises(TimelineError, match="default"):
        Field("x", "x", "BIGINT", "e.x", "sum")
    log = MemoryLog(zone="UTC")
    for _ in range(2):
        log.write("order-1", "Placed", '{"amount": 9223372036854775807}')

    @dataclass(frozen=True)
    class Total:
        name: str = "order"

        def settled(self, read: Any) -> Any:
            return self

        def fold(self, log: Any) -> Fold:
            rows = Account(False).fold(log).rows
            return Fold(rows, (Field("x", "x", "BIGINT", "e.amount", "sum", default="0"),))

    with pytest.raises(TimelineError, match="does not fit"):
        Timeline(log, Total()).as_of(1)


@dataclass(frozen=True)
class Typed:
    """A definition with a field of one type, whose value is the same in every row."""

    kind: str
    value: str
    name: str = "order"

    def settled(self, read: object) -> Typed:
        return self

    def fold(self, log: Any) -> Fold:
        value = f"CAST({self.value} AS {self.kind})"
        rows = f"SELECT {MINE}, false AS ended, {value} AS x FROM events AS e"
        return Fold(
            rows, (Field("x", "x", self.kind, "e.x"), Field("w", "w", self.kind, "e.x", "whole"))
        )


ODD = "it''s, \"q\" = {a: b} [x] \\ NULL"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("JSON", """'{"a": [1.10, null]}'"""),
        ("JSON[]", """['{"a": 1.10}', 'null']"""),
        ("VARCHAR[]", f"['{ODD}', NULL, '']"),
        ("MAP(VARCHAR, DECIMAL(38, 2))", f"MAP {{'{ODD}': 1.1, '': NULL}}"),
        ("MAP(VARCHAR, BIGINT)[]", f"[MAP {{'{ODD}': 1}}, MAP {{}}]"),
        ('STRUCT(a VARCHAR, "b c" JSON, d DATE)',
         f"{{'a': '{ODD}', 'b c': '[1.0]', 'd': '2026-01-01'}}"),
        ("STRUCT(a UUID, b HUGEINT)",
         f"{{'a': uuid '{'0' * 32}', 'b': 170141183460469231731687303715884105727}}"),
        ("UUID", f"'{'12' * 16}'"),
        ("HUGEINT", "-170141183460469231731687303715884105727"),
        ("UBIGINT", "18446744073709551615"),
        ("SMALLINT", "-7"),
        ("FLOAT", "0.1"),
        ("DECIMAL(38, 10)", "1234567890123456789012345678.0123456789"),
        ("DATE", "'0001-01-01'"),
        ("TIME", "'23:59:59.999999'"),
        ("TIMESTAMP", "'2026-03-29 02:30:00.000001'"),
        ("TIMESTAMPTZ", "'2026-03-29 02:30:00.000001+01:00'"),
        ("INTERVAL", "'1 month 2 days 3 seconds'"),
        ("BLOB", "'\\x00\\xFF'"),
        ("ENUM('a', 'it''s')", "'it''s'"),
        ("BOOLEAN", "NULL"),
    ],
)  # fmt: skip
def test_values_of_every_type_come_back(small: None, kind: str, value: str) -> None:
    log = MemoryLog(zone="Europe/Berlin")
    line = Timeline(log, Typed(kind, value))
    wanted = log.fresh().execute(f"SELECT CAST({value} AS {kind})").fetchone()
    type_of = log.fresh().sql(f"SELECT CAST({value} AS {kind})").types[0]
    for number in range(3):
        log.write(f"order-{number % 2}", "Placed")
        found = line.history().project("x, w")
        assert found.fetchall() == [(*wanted, *wanted)] * (number + 1)
        assert found.types == [type_of, type_of]
        assert line.population("x", number).fetchall() == [(*wanted, min(number + 1, 2))]
        assert line.counts("x", start=START, end=START).fetchall()[0][1:] == (*wanted, 1)
        assert line.population("x", START + timedelta(hours=2)).types[0] == type_of


def test_a_definition_takes_no_options() -> None:
    with pytest.raises(TimelineError, match="leave the options out"):
        Timeline(MemoryLog(), Account(False), ends=["Gone"])
    assert repr(Timeline(MemoryLog(), Customer())) == "Timeline(Customer(name='customer'))"
    assert START.tzinfo is not None
