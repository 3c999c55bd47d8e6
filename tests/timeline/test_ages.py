"""How long ago a field took its value: as the rows themselves tell, and found the slow way."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esnb import jsontext
from esnb.timeline import Timeline, ages, build, columns, diff
from esnb.timeline.distinct import comparable, distinct
from esnb.timeline.moment import moment
from esnb.timeline.parts import read_sql
from esnb.timeline.table import Table
from tests.timeline import test_kinds
from tests.timeline.standin import MOMENTS, START, MemoryLog
from tests.timeline.test_folds import ENDS, MODES
from tests.timeline.test_store import EVENTS, merge_soon, written

grown = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "é", "a\x00b"]))
FLOATS = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.5, math.nan, -math.nan, math.inf]))
PAIRS = st.lists(st.tuples(st.sampled_from(["k", "l"]), st.one_of(st.none(), st.integers(0, 2))))
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "VARCHAR": (pa.string(), TEXTS),
    "DOUBLE": (pa.float64(), FLOATS),
    "BOOLEAN": (pa.bool_(), st.one_of(st.none(), st.booleans())),
    "DECIMAL(28, 6)": (
        pa.decimal128(28, 6),
        st.one_of(st.none(), st.sampled_from([Decimal("1.5"), Decimal("-2")])),
    ),
    "VARCHAR[]": (pa.list_(pa.string()), st.one_of(st.none(), st.lists(TEXTS, max_size=3))),
    "DOUBLE[]": (pa.list_(pa.float64()), st.one_of(st.none(), st.lists(FLOATS, max_size=2))),
    "STRUCT(a DOUBLE, b VARCHAR[])": (
        pa.struct([("a", pa.float64()), ("b", pa.list_(pa.string()))]),
        st.one_of(
            st.none(),
            st.fixed_dictionaries({"a": FLOATS, "b": st.one_of(st.none(), st.lists(TEXTS))}),
        ),
    ),
    "MAP(VARCHAR, BIGINT)": (
        pa.map_(pa.string(), pa.int64()),
        st.one_of(st.none(), PAIRS.map(lambda pairs: sorted(dict(pairs).items()))),
    ),
}


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_values_differ_where_duckdb_says_so(kind: str, data: st.DataObject) -> None:
    arrow, values = KINDS[kind]
    a, b = zip(*data.draw(st.lists(st.tuples(values, values), min_size=1, max_size=6)), strict=True)
    assert comparable(kind, as_text=False)
    # Also behind an offset, as slices of columns have it.
    left, right = (pa.array([None, *side], arrow).slice(1) for side in (a, b))
    pairs = pa.table({"i": range(len(a)), "a": left, "b": right})
    connection = duckdb.connect()
    connection.register("pairs", pairs)
    wanted = connection.execute("SELECT a IS DISTINCT FROM b FROM pairs ORDER BY i").fetchall()
    assert distinct(left, right).tolist() == [differ for (differ,) in wanted]


def test_what_only_duckdb_can_compare_has_no_ages() -> None:
    assert not comparable("INTERVAL", as_text=True)
    assert not comparable("FLOAT[]", as_text=True)
    assert not comparable("STRUCT(a DOUBLE, b UUID)", as_text=True)
    assert comparable("STRUCT(a VARCHAR, b UUID)", as_text=True)
    log = MemoryLog(zone="UTC")
    for text in ("1 month", "30 days", "31 days"):
        log.write("order-1", "Changed", f'{{"span": "{text}", "n": 1}}')
    line = Timeline(log, "order", fields={"span": "INTERVAL", "n": "BIGINT"})
    assert not line.built().aged
    found = line.diff(0, 2).project("field, position").fetchall()
    assert found == [("span", 2)]
    assert line.diff(0, 1).fetchall() == []


def rows_of(table: Table) -> list[dict[str, Any]]:
    """Return all rows that are not gone as they stand in the files, by stream and position."""
    closed, opened = table.state.closed, table.state.open
    gone = ""
    if table.state.gone is not None:
        slots = read_sql(table.folder, (table.state.gone,))
        gone = f" ANTI JOIN {slots} AS g ON g.slot = t.slot"
    names = ", ".join(["stream", "ended", *ages.names(table.fold)])
    fields = "".join(f", f{i}" for i in range(len(table.fold.fields)))
    found = duckdb.sql(
        f"SELECT {names}{fields} FROM ("
        f"SELECT * FROM {read_sql(table.folder, closed)} UNION ALL BY NAME"
        f" SELECT t.* FROM {read_sql(table.folder, opened)} AS t{gone}) ORDER BY stream, position"
    )
    return found.to_arrow_table().to_pylist()


def built(definition: Any, batches: list[Any], grows: bool, merges: bool, **options: Any) -> Table:
    """Return the table of events, made at once or batch by batch, in ranges of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_RANGE", 3)
        if merges:
            merge_soon(patch)
        log = MemoryLog(zone="UTC")
        line = Timeline(log, definition, **options)
        for events in batches:
            written(log, events)
            if grows:
                line.built()
        return line.built()


def check_ages(table: Table) -> None:
    streams: dict[str, list[dict[str, Any]]] = {}
    for row in rows_of(table):
        streams.setdefault(row["stream"], []).append(row)
    every = ["ended", *(f"f{i}" for i in range(len(table.fold.fields)))]
    numbers = set()
    for rows in streams.values():
        (number,) = {row["key"] // (ages.MOST + 1) for row in rows}
        numbers.add(number)
        assert [row["key"] & ages.MOST for row in rows] == list(range(len(rows)))
        for place, name in enumerate(every):
            since = 0
            for nth, row in enumerate(rows):
                if nth and row[name] != rows[nth - 1][name]:
                    since = nth
                word, lane = divmod(place, 3)
                assert (row[f"a{word}"] >> (21 * lane)) & ages.MOST == nth - since
    assert len(numbers) == len(streams)
    assert numbers == set(range(table.state.numbers))
    assert table.state.longest == max(map(len, streams.values()), default=0)


@grown
@given(st.lists(EVENTS, min_size=1, max_size=4), MODES, ENDS, st.booleans(), st.booleans())
def test_each_row_tells_the_ages_of_its_fields(
    batches: list[Any], mode: Any, ends: tuple[str, ...], grows: bool, merges: bool
) -> None:
    check_ages(built("order", batches, grows, merges, fold=mode, ends=ends))


@grown
@given(
    st.lists(test_kinds.EVENTS, min_size=1, max_size=4),
    st.booleans(), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_of_every_kind_of_field(
    batches: list[Any], ends: bool, sides: bool, grows: bool, merges: bool
) -> None:
    texts = [
        [(stream, kind, jsontext.canonical(data), *times) for stream, kind, data, *times in events]
        for events in batches
    ]
    check_ages(built(test_kinds.Account(ends, sides), texts, grows, merges))


def changes(line: Timeline, table: Table, sql: Any, a: Any, b: Any) -> list[Any]:
    text = sql(table, moment(a, "UTC"), moment(b, "UTC"))
    return sorted(line._read().ask(text).fetchall(), key=repr)


@grown
@given(st.lists(EVENTS, min_size=1, max_size=4), MODES, ENDS, MOMENTS, MOMENTS, st.booleans())
def test_the_ages_tell_the_causes_that_a_search_finds(
    batches: list[Any], mode: Any, ends: tuple[str, ...], a: Any, b: Any, grows: bool
) -> None:
    if type(a) is not type(b):
        return
    a, b = min(a, b), max(a, b)
    log = MemoryLog(zone="UTC")
    line = Timeline(log, "order", fold=mode, ends=ends)
    for events in batches:
        written(log, events)
        if grows:
            line.built()
    table = line.built()
    assert table.aged
    found = changes(line, table, diff.by_age_sql, a, b)
    assert found == changes(line, table, diff.searched_sql, a, b)
    assert found == sorted(line.diff(a, b).fetchall(), key=repr)


def of_many_events() -> MemoryLog:
    log = MemoryLog(zone="UTC")
    for number in range(12):
        log.write(f"order-{number % 3}", "Changed", f'{{"n": {number // 6}, "m": {number}}}')
    return log


def test_of_more_rows_than_an_age_counts_the_causes_are_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = Timeline(of_many_events(), "order").diff(2, 11).fetchall()
    monkeypatch.setattr(ages, "MOST", 3)
    line = Timeline(of_many_events(), "order")
    assert line.built().state.longest == 4
    assert not line.built().aged
    assert line.diff(2, 11).fetchall() == wanted
    assert {row[5] for row in wanted if row[2] == "n"} == {6, 7, 8}


def test_of_rows_that_sql_made_the_causes_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Timeline(of_many_events(), "order").diff(2, 11).fetchall()
    log = of_many_events()
    last = [log.written.pop() for _ in range(3)][::-1]
    line = Timeline(log, "order")
    with monkeypatch.context() as patch:
        patch.setattr(columns, "MOST_BYTES", 0)
        assert line.built().state.longest is None
    log.written += last
    table = line.built()
    assert table.state.longest is None
    assert not table.aged
    assert line.diff(2, 11).fetchall() == wanted


def test_a_list_for_people_is_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryLog(zone="UTC")
    for number in (3, 1, 2):
        log.write(f"order-{number}", "Placed", '{"z": 1, "a": 2}', recorded_on=START)
    line = Timeline(log, "order")
    wanted = [(f"order-{n}", field) for n in (1, 2, 3) for field in line.fields]
    assert line.diff(-1, 2).project("stream, field").fetchall() == wanted
    monkeypatch.setattr(diff, "READ", 2)
    assert "ORDER BY" not in line.diff(-1, 2).sql_query()
    assert sorted(line.diff(-1, 2).project("stream, field").fetchall()) == sorted(wanted)
    # So many have happened by now, but not between these two.
    assert "ORDER BY" in line.diff(0, 2).sql_query()
