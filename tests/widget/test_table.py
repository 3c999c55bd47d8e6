"""The table of rows without a browser: what it shows equals plain Python, whatever is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import DomainEvent, EventLog, QueryError
from esnb.source import import_events
from esnb.widget import EventTable, Session
from esnb.widget.events import keptrows, logrows, rows
from esnb.widget.events.jsontree import tree
from esnb.widget.events.keptrows import KeptRows
from esnb.widget.events.logrows import LogRows
from esnb.widget.events.rows import Filter

HOSTILE = [
    "<script>window.__x=1</script>", "'; DROP TABLE rows; --", '"', "%", "_", "\\", "a\x00b",
    "\u202eabc", "$x$", "{{x}}", "日本", "", " ", "null", "ÄÖ", "äö", "İ",
]  # fmt: skip
TIME = datetime(2026, 1, 1, tzinfo=UTC)


def frame(size: int) -> pa.Table:
    kinds = [None, *HOSTILE]
    return pa.table(
        {
            "stream": [f"order-{n * 7919 % 97}" for n in range(size)],
            "event_type": [HOSTILE[n % 4] or "x" for n in range(size)],
            "occurred_on": [TIME + timedelta(seconds=n * 7919 % 5000) for n in range(size)],
            "word": [kinds[n % len(kinds)] for n in range(size)],
            "n": [None if n % 11 == 0 else n * 31 % 101 for n in range(size)],
        }
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventLog]:
    """A log of several files, and a tail."""
    opened = esnb.create(tmp_path_factory.mktemp("log") / "log", zone="Europe/Berlin")
    for part in range(3):
        table = frame(700).slice(part * 230, 230)
        import_events(table, opened, progress=False)
    for n in range(40):
        opened.append(f"order-{n % 5}", DomainEvent("Tail", {"n": n, "word": HOSTILE[n % 17]}))
    with opened:
        yield opened


def shown(table: EventTable) -> list[list[str | None]]:
    """Return every row as the browser gets it, page by page."""
    opened = table.ask_open()
    found: list[list[str | None]] = []
    while len(found) < opened["count"]:
        page = table.ask_page(age=opened["age"], first=len(found), count=97)
        found += page["rows"]
    assert found[:100] == opened["rows"]
    return found


# --- equal to plain Python -------------------------------------------------------------------

TEXTS = st.one_of(st.none(), st.sampled_from(HOSTILE[:-1]), st.text("abAB%'\\ß☃", max_size=3))
TABLES = st.lists(
    st.tuples(TEXTS, st.one_of(st.none(), st.integers(-3, 3)), TEXTS), max_size=12
).map(
    lambda found: pa.table(
        {
            "a": pa.array([row[0] for row in found], pa.string()),
            "b": pa.array([row[1] for row in found], pa.int64()),
            'c "x"': pa.array([row[2] for row in found], pa.string()),
        }
    )
)
COLUMNS = st.sampled_from(["a", "b", 'c "x"'])
FILTERS = st.lists(
    st.one_of(
        st.tuples(st.one_of(st.none(), COLUMNS), st.just("contains"), st.text("abA%'", max_size=2)),
        st.tuples(COLUMNS, st.sampled_from(["is", "is not"]), st.one_of(TEXTS, st.just("2"))),
    ),
    max_size=2,
)


def holds(row: dict[str, Any], one: tuple[str | None, str, str | None]) -> bool:
    texts = {name: None if v is None else str(v) for name, v in row.items()}
    column, kind, value = one
    if kind == "contains":
        among = texts.values() if column is None else [texts[column]]
        return any(text is not None and (value or "").lower() in text.lower() for text in among)
    return (texts[column or ""] == value) == (kind == "is")


@settings(max_examples=60, deadline=None)
@given(TABLES, FILTERS, st.one_of(st.none(), COLUMNS), st.booleans())
def test_rows_are_those_of_plain_python(table, filters, sort, descending):
    found = [row for row in table.to_pylist() if all(holds(row, one) for one in filters)]
    if sort is not None:
        there = [row for row in found if row[sort] is not None]
        there.sort(key=lambda row: row[sort], reverse=descending)
        if descending:  # Python's reversed sort keeps equal rows in their order, too
            assert there == sorted(there, key=lambda row: row[sort], reverse=True)
        found = there + [row for row in found if row[sort] is None]
    expected = [[None if v is None else str(v) for v in row.values()] for row in found]
    piece = EventTable(table, filters=filters, sort=sort, descending=descending)
    assert shown(piece) == expected
    assert [list(row) for row in piece.data().fetchall()] == [list(row.values()) for row in found]
    again = eval(piece.code, {"esnb": esnb, "frame": table})  # noqa: S307
    assert again.settings == piece.settings
    assert shown(again) == expected


@pytest.mark.parametrize("near", [0, 20_000])
@pytest.mark.parametrize("sort", [None, "stream", "event_type", "occurred_on", "position", "data"])
def test_pages_of_a_log_are_its_events(log, sort, near, monkeypatch):
    # Through DuckDB, and through the directory of places.
    monkeypatch.setattr(logrows, "_NEAR", near)
    columns = ["position", "event_id", "stream", "tags", "data", "position"]
    with pytest.raises(QueryError, match="each once"):
        EventTable(log, columns=columns)
    columns.pop()
    events = sorted(log.read(), key=lambda event: event.position)
    for descending in (False, True):
        if sort is not None:
            values = dict(log.events().project(f"position, {sort}").fetchall())
            events.sort(key=lambda event: event.position)
            events.sort(key=lambda event: values[event.position], reverse=descending)
        piece = EventTable(log, sort=sort, descending=descending, columns=columns)
        found = shown(piece)
        assert [int(row[0]) for row in found] == [event.position for event in events]
        assert [row[1:3] for row in found] == [[e.event_id, e.stream] for e in events]
        assert [json.loads(row[4]) for row in found] == [dict(e.data) for e in events]
        assert piece.data().project("position").fetchall() == [(e.position,) for e in events]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 729), max_size=30))
def test_events_are_taken_from_anywhere(log, numbers):
    asked = np.array(numbers, np.int64)
    of_log = LogRows(log, log.snapshot())
    names = ["stream", "position", "tags", "occurred_on"]
    expected = log.events().to_arrow_table().select(names).take(pa.array(asked))
    near = logrows._NEAR
    try:
        for limit in (0, 20_000):
            logrows._NEAR = limit
            assert of_log.take(asked, names).to_pylist() == expected.to_pylist()
    finally:
        logrows._NEAR = near


@pytest.mark.parametrize("few", [60_000, 0])
def test_few_texts_sort_as_many_do(few, monkeypatch):
    monkeypatch.setattr(rows, "_FEW", few)
    table = frame(3000)
    for descending in (False, True):
        piece = EventTable(table, sort="word", descending=descending, columns=["word"])
        there = sorted((w for w in table["word"].to_pylist() if w is not None), reverse=descending)
        missing = [None] * table["word"].null_count
        assert [row[0] for row in shown(piece)] == [*there, *missing]


def test_many_rows_go_to_disk_and_come_back(monkeypatch):
    monkeypatch.setattr(keptrows, "_MOST_ROWS", 1000)
    relation = duckdb.sql(
        "SELECT i, 2::HUGEINT ** 100 + i AS big, i % 7 AS r FROM range(9000) t(i)"
    )
    piece = EventTable(relation, sort="r", descending=True)
    found = shown(piece)
    expected = sorted(range(9000), key=lambda i: -(i % 7))
    assert [int(row[0]) for row in found] == expected
    exact = relation.project("CAST(big AS VARCHAR)").fetchall()
    assert [row[1] for row in found] == [exact[i][0] for i in expected]
    assert shown(EventTable(relation)) == shown(EventTable(relation.to_arrow_table()))


# --- a session -------------------------------------------------------------------------------


def test_a_session_narrows_and_is_told(log):
    session = Session(log, "order")
    piece = EventTable(session, sort="occurred_on")
    told: list[Any] = []
    piece.send = lambda content, buffers=None: told.append(content)
    assert piece.ask_open()["count"] == 730
    session.window = (TIME, TIME + timedelta(seconds=100))
    assert told.pop() == {"event": "session", "changed": "window"}
    opened = piece.ask_open()
    assert opened["count"] == log.events(occurred_from=TIME, occurred_to=session.window[1]).shape[0]
    assert opened["narrowed"][0] == "order"
    assert opened["narrowed"][1].startswith("2026-01-01 01:00 to")
    row = piece.ask_row(age=opened["age"], place=3)
    assert piece.chosen == row["number"]
    assert session.event_id == piece.selected["event_id"]
    assert piece.ask_place()["place"] == 3
    # The other way round, also where the event is not among those shown.
    other = next(event for event in log.read() if event.position == 729)
    session.event_id = other.event_id
    assert piece.ask_place()["place"] is None
    assert piece.selected["position"] == 729
    session.clear("window")
    assert piece.ask_open()["place"] is not None
    session.event_id = None
    assert piece.chosen is None
    assert piece.selected is None
    piece.chosen = 5
    assert session.event_id == piece.selected["event_id"]
    for streams in (["order-3", "order-4"], [f"order-{n}" for n in range(60)]):
        session.streams = streams
        assert piece.ask_open()["count"] == log.events(stream=streams).shape[0]
        assert piece.data().shape[0] == log.events(stream=streams).shape[0]
    session.event_types = ("Tail",)
    assert piece.ask_open()["count"] == 40
    piece.close()


def test_a_frame_with_events_follows_the_event(log):
    session = Session(log)
    piece = EventTable(log.events().to_arrow_table(), session=session, sort="stream")
    opened = piece.ask_open()
    piece.ask_row(age=opened["age"], place=0)
    assert session.event_id == piece.selected["event_id"]
    other = next(iter(log.read())).event_id
    session.event_id = other
    assert piece.selected["event_id"] == other
    session.event_id = "none of them"
    assert piece.selected is None
    # Beside a frame, the window is that of others.
    session.window = ("2030-01-01", None)
    assert piece.ask_open()["count"] == 730


def test_a_log_that_grows(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        piece = EventTable(log)
        opened = piece.ask_open()
        assert (opened["count"], opened["total"], opened["rows"]) == (0, 0, [])
        assert piece.selected is None
        assert piece.ask_row(age=opened["age"], place=0) == {"stale": True}
        assert "<table" in piece.fallback()["text/html"]
        log.append("order-1", DomainEvent("Placed", {"n": 1}))
        # What the browser asks about has not changed under its hands.
        assert piece.ask_page(age=opened["age"], first=0, count=10) == {"rows": []}
        newer = piece.ask_open()
        assert (newer["count"], newer["age"]) == (1, opened["age"] + 1)
        assert piece.ask_page(age=opened["age"], first=0, count=10) == {"stale": True}
        # Several views of one table ask with one number.
        assert piece.ask_open()["age"] == newer["age"]


# --- intents and settings --------------------------------------------------------------------


def test_a_click_on_a_value(log):
    piece = EventTable(frame(200), columns=["word", "n"])
    opened = piece.ask_open()
    for place in range(20):
        value = frame(200)["word"][place].as_py()
        piece.change(filters=[])
        opened = piece.ask_open()
        piece.ask_filter(age=opened["age"], place=place, column="word", kind="is")
        assert {row[0] for row in shown(piece)} == {value}
        assert piece.sql.count("e.") > 1
        piece.change(filters=[["word", "is not", value]])
        assert value not in {row[0] for row in shown(piece)}
    age = piece.ask_open()["age"]
    assert piece.ask_filter(age=age, place=-1, column="word", kind="is") == {"stale": True}
    with pytest.raises(QueryError, match="did you mean 'word'"):
        piece.ask_filter(age=age, place=0, column="wort", kind="is")
    with pytest.raises(QueryError, match="is no filter"):
        piece.ask_filter(age=age, place=0, column="word", kind="OR 1=1 --")


@pytest.mark.parametrize(
    "wrong",
    [
        {"sort": "nope"}, {"sort": ["n"]}, {"columns": []}, {"columns": ["n", "n"]},
        {"columns": "n"}, {"columns": [{}]}, {"find": 3}, {"find_in": "N n"},
        {"filters": [["n", "is", 3]]}, {"filters": [["n", "=", "3"]]}, {"filters": ["n"]},
        {"filters": [["x", "is", "3"]]}, {"filters": [[None, "is", "3"]]},
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_refused(wrong):
    piece = EventTable(frame(5))
    before = dict(piece.settings)
    with pytest.raises(QueryError):
        piece.ask_set(changes=wrong)
    assert piece.settings == before
    if not isinstance(wrong.get("columns"), str):
        with pytest.raises(QueryError):
            EventTable(frame(5), **wrong)


def test_where_goes_through_the_gate(log):
    assert EventTable(log, where="position < 7 -- few").ask_open()["count"] == 7
    assert EventTable(frame(50), where="n IS NULL").ask_open()["count"] == 5
    within = "position IN (SELECT max(position) FROM events)"
    assert EventTable(log, where=within).ask_open()["count"] == 1
    for text in (
        "true) UNION (SELECT 1", "1; DROP TABLE rows", "nope = 1", "n IN (FROM '/etc/passwd')",
        "getenv('HOME') = ''", "n = (SELECT count(*) FROM read_text('/etc/hostname'))",
        "data", ")", 7,
    ):  # fmt: skip
        for source in (log, frame(5)):
            with pytest.raises(QueryError):
                EventTable(source, where=text)


def test_settings_stay_under_a_key():
    for _ in range(2):
        piece = EventTable(frame(9), key="of these tests")
        piece.change(sort="n")
        assert EventTable(frame(9), key="of these tests").settings["sort"] == "n"
    # Another table: what does not fit is forgotten, and nothing fails.
    other = EventTable(pa.table({"m": [1]}), key="of these tests")
    assert other.settings["sort"] is None
    assert other.code == "esnb.widget.EventTable(frame, key='of these tests')"


def test_all_of_a_row():
    data = '{"total": 12345678901234567.890, "total": "<b>", "list": [1, null, true, {}]}'
    long = "x" * 1_000_000
    piece = EventTable(pa.table({"data": [data], "long": [long], "none": pa.nulls(1, pa.string())}))
    opened = piece.ask_open()
    assert [len(cell or "") for cell in opened["rows"][0]] == [len(data), 301, 0]
    row = piece.ask_row(age=opened["age"], place=0)
    assert row["fields"][0]["tree"][2] == [
        ["total", "number", "12345678901234567.890"],
        ["total", "text", "<b>"],
        ["list", "list", [["0", "number", "1"], ["1", "word", "null"], ["2", "word", "true"],
                          ["3", "object", []]]],
    ]  # fmt: skip
    assert (len(row["fields"][1]["text"]), row["fields"][1]["length"]) == (20_000, 1_000_000)
    assert row["fields"][2]["text"] is None
    whole = json.loads(piece.ask_text(age=opened["age"], place=0)["text"])
    assert whole == {"data": data, "long": long, "none": None}
    assert piece.ask_text(age=opened["age"], place=0, column="long")["text"] == long


def test_trees_are_bounded():
    assert tree("no tree") is None
    assert tree("{broken") is None
    assert tree("[" * 100_000) is None
    deep = tree('{"a":' * 200 + "1" + "}" * 200)
    assert json.dumps(deep).count('"object"') == 65
    wide = tree(json.dumps(list(range(100_000))))
    assert wide is not None
    assert wide[2][-1] == ["", "more", str(100_000 - 1999)]


TYPES = {
    "decimal": pa.array([Decimal("12345678901234567.890")]),
    "unsigned": pa.array([2**64 - 1], pa.uint64()),
    "nanoseconds": pa.array([1], pa.timestamp("ns", "UTC")),
    "zoned": pa.array([datetime(2026, 7, 1, tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin")),
    "span": pa.array([timedelta(days=1, microseconds=1)]),
    "bytes": pa.array([b"\x00<b>"]),
    "list": pa.array([["a", None]]),
    "struct": pa.array([{"a": 1, "b": "x"}]),
    "dictionary": pa.array(["a"]).dictionary_encode(),
    "half": pa.array(np.array([1.5], np.float16)),
    "wide": pa.array([Decimal(10) ** 60], pa.decimal256(70, 0)),
    "nothing": pa.nulls(1),
}
TOLD = {
    "decimal": "12345678901234567.890",
    "unsigned": "18446744073709551615",
    "nanoseconds": "1970-01-01 00:00:00.000000001",
    "zoned": "2026-07-01 02:00:00+02",
    "span": "24:00:00.000001",
    "list": "[a, NULL]",
    "half": "1.5",
    "wide": "1" + "0" * 60,
    "nothing": None,
}


@pytest.mark.parametrize("name", TYPES)
def test_values_of_every_type_stay_what_they_are(name):
    piece = EventTable(pa.table({name: TYPES[name]}), sort=name)
    ((text,),) = shown(piece)
    if name in TOLD:
        assert text == TOLD[name]
    piece.ask_filter(age=piece.ask_open()["age"], place=0, column=name, kind="is")
    assert piece.ask_open()["count"] == 1


def test_names_that_sql_cannot_tell_apart():
    table = pd.DataFrame([[1, 2, 3, 4, 5]], columns=["a", "A", "", "x\0", 'q"; --'])
    piece = EventTable(table)
    assert piece.ask_open()["all"] == ["a", "A_2", "column_3", "xU+0000", 'q"; --']
    assert shown(piece) == [["1", "2", "3", "4", "5"]]
    assert piece.data().fetchall() == [(1, 2, 3, 4, 5)]
    twins = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["t", "t"])
    assert shown(EventTable(twins)) == [["1", "2"]]
    with pytest.raises(QueryError, match="without columns"):
        EventTable(pd.DataFrame(index=range(3)))


def test_code_and_sql(log):
    session = Session(log, "order", event_types=["Tail"])
    names = {"esnb": esnb, "log": log, "session": session}
    for piece in (
        EventTable(session, find="3", find_in="data"),
        EventTable(log, where="position > 3", sort="data", descending=True, columns=["data"]),
        EventTable(log, session=session, filters=[("actor", "is", None)]),
    ):
        again = eval(piece.code, names)  # noqa: S307
        assert again.code == piece.code
        assert again.data().fetchall() == piece.data().fetchall()
        assert again.ask_open()["rows"] == piece.ask_open()["rows"]
        assert log.sql(piece.sql).fetchall() == piece.data().fetchall()


def test_what_stays_without_a_browser_is_text():
    left = EventTable(pa.table({"<b>": HOSTILE})).fallback()
    assert "<script>" not in left["text/html"]
    assert "<b>" not in left["text/html"]
    assert left["text/plain"] == "17 rows (17 rows)"


def test_a_frame_in_the_middle_of_a_reader_is_kept(tmp_path: Path):
    """The rows are those of the moment of the call, whatever becomes of the source."""
    source = pd.DataFrame({"a": [1, 2]})
    piece = EventTable(source)
    source.loc[0, "a"] = 99
    assert shown(piece) == [["1"], ["2"]]
    assert KeptRows(source).texts(np.array([1, 0]), ["a"]) == [["2"], ["99"]]
    assert (
        KeptRows(source).condition(Filter("a", "is", "2"), ()) == "CAST(e.\"a\" AS VARCHAR) = '2'"
    )
