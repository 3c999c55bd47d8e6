"""Differences of two states, without a browser: each intent, data, code, files, hostile texts."""

import csv
import io
import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

import esnb
from esnb.errors import InstantError, QueryError, TimelineError
from esnb.testing import Clock
from esnb.timeline import Timeline
from esnb.widget import Session, StateDiff
from esnb.widget.base.export import csv_text, file_name, safe
from esnb.widget.states.paths import beside, walk

HOSTILE = '<img src=x onerror="window.__x=1">'


@pytest.fixture
def log(tmp_path):
    """Five orders: one changes twice, one goes, one comes, one stays, one is hostile."""
    clock = Clock("2026-01-01T00:00+01:00")
    with esnb.create(tmp_path / "log", zone="Europe/Berlin", clock=clock) as made:

        def write(when, stream, kind, data, **more):
            clock.set(f"{when}T00:00+01:00")
            made.append(stream, [esnb.DomainEvent(kind, data, occurred_on=clock.now, **more)])

        for number in range(1, 5):
            write(
                "2026-01-01", f"order-{number}", "Placed", {"status": "new", "total": 10 * number}
            )
        write("2026-01-10", "order-1", "Paid", {"status": "paid"}, actor="ann")
        write("2026-01-20", "order-1", "Mended", {"total": -5, "at": {"city": "Ulm", "zip": "1"}})
        write("2026-01-21", "order-2", "Paid", {"status": "paid"}, actor="bob")
        write("2026-01-25", "order-9", "Placed", {"status": "=1+2", "total": 2**60})
        write("2026-01-26", "order-4", "Gone", {})
        write("2026-01-27", f"order-{HOSTILE}", HOSTILE, {HOSTILE: HOSTILE}, actor=HOSTILE)
        write("2026-02-10", "order-1", "Moved", {"at": {"city": "Bonn", "zip": "1"}})
        yield made


@pytest.fixture
def orders(log):
    return log.timeline("order", ends=["Gone"])


def made(source, a="2026-01-05", b="2026-02-01", **options):
    return StateDiff(source, a, b, **options)


def test_the_first_level_counts_the_population(orders):
    piece = made(orders)
    told = piece.ask_open()
    assert (told["population"], told["streams"]) == (
        6, {"added": 2, "removed": 1, "changed": 2},
    )  # fmt: skip
    assert told["fields"][0] == ["status", 1, 1, 2]
    assert ["total", 1, 1, 1] in told["fields"]
    assert (told["a"], told["b"], told["zone"]) == ("2026-01-05", "2026-02-01", "Europe/Berlin")
    assert (told["clock"], told["position"]) == ("as recorded", 11)
    assert piece.data().fetchall() == orders.diff_counts("2026-01-05", "2026-02-01").fetchall()
    json.dumps(told)


def test_lists_have_the_largest_first_and_pages(orders):
    piece = made(orders)
    told = piece.ask_list()
    assert (told["count"], told["values"], told["numeric"]) == (5, [], False)
    rows = piece.ask_rows(told["age"], 0, 100)["rows"]
    assert [row[0] for row in rows][:1] == ["order-1"]
    assert piece.ask_rows(told["age"], 1, 2)["rows"] == rows[1:3]

    told = piece.ask_list("total")
    assert told["numeric"]
    assert [row[0] for row in piece.ask_rows(told["age"], 0, 9)["rows"]] == [
        "order-1", "order-4", "order-9",
    ]  # fmt: skip
    assert piece.ask_rows(told["age"], 0, 1)["rows"] == [
        ["order-1", "changed", 3, "10", "-5", -15.0]
    ]
    assert [r[0] for r in piece.data().fetchall()] == ["order-1", "order-4", "order-9"]
    with pytest.raises(TimelineError, match="older one"):
        piece.ask_rows(told["age"] - 1, 0, 1)

    told = piece.ask_list("status", "changed")
    assert told["values"] == [["new", "paid", 2]]
    assert piece.settings["change"] == "changed"
    assert piece.changes().fetchall() == [
        row for row in orders.diff("2026-01-05", "2026-02-01").fetchall()
        if row[1:3] == ("changed", "status")
    ]  # fmt: skip
    with pytest.raises(TimelineError, match="no field 'totl'"):
        piece.ask_list("totl")


def test_one_aggregate_names_paths_and_events(orders):
    piece = made(orders, a="2026-01-05", b="2026-03-01")
    told = piece.ask_one("order-1")
    events = {place: event["type"] for place, event in enumerate(told["events"])}
    assert [(path, old, new, events[cause]) for path, old, new, cause in told["rows"]] == [
        ("status", "new", "paid", "Paid"), ("total", "10", "-5", "Mended"),
        ("at.city", None, "Bonn", "Moved"), ("at.zip", None, "1", "Moved"),
    ]  # fmt: skip
    assert told["events"][0]["actor"] == "ann"
    assert (told["change"], told["there"], told["left"]) == ("changed", [True, True], 0)
    assert piece.data().fetchall() == [
        row for row in orders.diff("2026-01-05", "2026-03-01").fetchall() if row[0] == "order-1"
    ]
    assert piece.ask_one("order-3")["change"] is None
    assert made(orders).ask_one("order-4")["there"] == [True, False]
    # Between two events only what is inside an object differs.
    piece = made(orders, a="2026-02-01", b="2026-03-01")
    assert [row[:3] for row in piece.ask_one("order-1")["rows"]] == [["at.city", "Ulm", "Bonn"]]
    with pytest.raises(TimelineError, match="no stream"):
        piece.ask_one("order-77")


def test_raw_states_stand_beside_each_other(orders):
    told = made(orders).ask_raw("order-1")
    lines = [tuple(line) for line in told["lines"]]
    assert ("~", ' "status": "new",', ' "status": "paid",') in lines
    assert lines[0] == ("=", "{", "{")
    assert made(orders).ask_raw("order-9")["lines"][0] == ["+", None, "{"]
    # All digits of a number past 2**53 come as text.
    assert any(str(2**60) in (new or "") for _, _, new in made(orders).ask_raw("order-9")["lines"])


def test_what_was_true_is_not_what_was_known(log):
    late = esnb.DomainEvent("Found", {"status": "lost"}, occurred_on=datetime.fromisoformat(
        "2026-01-03T12:00:00+01:00"), actor="eve")  # fmt: skip
    log.append("order-3", [late])
    piece = StateDiff(log, "2026-01-02", "2026-01-04", of="order", clock="occurred")
    assert piece.ask_open()["clock"] == "as it was true"
    (row,) = piece.data().fetchall()[:1]
    assert row == ("changed", None, 1)
    told = piece.ask_one("order-3")
    assert told["rows"] == [["status", "new", "lost", 0]]
    assert (told["events"][0]["type"], told["events"][0]["actor"]) == ("Found", "eve")
    assert StateDiff(log, "2026-01-02", "2026-01-04", of="order").ask_open()["streams"] == {
        "added": 0, "removed": 0, "changed": 0,
    }  # fmt: skip
    # The same as pairs: what was thought then, and what is thought now, of one day.
    pairs = StateDiff(log, ("2026-02-09", "2026-01-04"), (None, "2026-01-04"), of="order")
    assert pairs.ask_open()["streams"]["changed"] == 1
    assert pairs.ask_open()["a"] == "2026-01-04 as of 2026-02-09"
    assert pairs.ask_one("order-3")["rows"] == [["status", "new", "lost", 0]]
    assert pairs.changes().fetchall() == [("order-3", "changed", "status", "new", "lost")]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"field": "total", "change": "changed", "view": "unified", "raw": True},
        {"a": 2, "b": 9, "stream": "order-1"}, {"a": None, "b": None, "clock": "occurred"},
        {"a": ("2026-02-01", "2026-01-05"), "b": (None, "2026-01-05"), "key": "mine"},
    ],
)  # fmt: skip
def test_code_makes_it_anew(log, options):
    first = made(log, of="order", **options)
    again = eval(first.code, {"esnb": esnb, "log": log})  # noqa: S307 (our own)
    assert again.settings == first.settings
    assert again.data().fetchall() == first.data().fetchall()
    assert again.code == first.code
    found = log.session.fresh(log.snapshot()).sql(first.sql)
    assert found.fetchall() == first.data().fetchall()
    assert found.columns == first.data().columns


def test_without_moments_it_is_from_the_first_event_to_the_last(log, orders):
    assert StateDiff(orders).ask_open()["streams"] == {"added": 5, "removed": 0, "changed": 0}
    assert StateDiff(orders, None, 3).ask_open()["streams"]["added"] == 4
    assert StateDiff(orders, 3).ask_open()["b"] == "now"
    assert StateDiff(log).timeline.category == "order"  # there is no other


def test_typed_ends_are_read_in_the_zone_of_the_log(orders):
    piece = made(orders)
    piece.ask_at("2026-01-05", "2026-02-11 12:30")
    assert piece.settings["b"] == "2026-02-11T11:30:00.000000Z"
    piece.ask_at("3", "now")
    assert (piece.settings["a"], piece.settings["b"]) == (3, None)
    piece.ask_at("2026-01-05 as of now", "2026-01-05 as of 2026-02-01")
    assert piece.settings["a"] == [None, "2026-01-04T23:00:00.000000Z"]
    for a, b, error in (
        ("tomorrow", "now", InstantError), ("5", "2", TimelineError),
        ("1 as of 2 as of 3", "now", QueryError),
    ):  # fmt: skip
        before = piece.settings
        with pytest.raises(error):
            piece.ask_at(a, b)
        assert piece.settings == before


def test_a_session_gives_the_window_and_gets_streams_and_event(log):
    session = Session(log, "order", window=("2026-01-05", "2026-02-01"))
    piece = StateDiff(session)
    sent = []
    piece.send = lambda content, buffers=None: sent.append(content)
    assert piece.ask_open()["streams"]["changed"] == 2
    session.window = ("2026-02-01", "2026-03-01")
    assert sent == [{"event": "session", "changed": "window"}]
    assert piece.ask_open()["streams"] == {"added": 0, "removed": 0, "changed": 1}
    piece.ask_at("2026-01-01 12:00", "2026-02-01")
    assert session.window[0].isoformat() == "2026-01-01T11:00:00+00:00"
    piece.ask_list("total")
    piece.ask_choose()
    assert sorted(session.streams.table["stream"].to_pylist()) == ["order-1", "order-9"]
    assert session.streams.label == "total differs: 2026-01-01 12:00 to 2026-02-01"
    piece.ask_choose("order-2")
    assert session.streams.label == "order-2"
    event = piece.ask_one("order-1")["events"][0]["id"]
    piece.ask_event(event)
    assert session.event_id == event
    session.window = None
    assert piece.ask_open()["a"] == "2026-01-05"
    again = eval(piece.code, {"esnb": esnb, "session": session})  # noqa: S307 (our own)
    assert again.settings["a"] == piece.settings["a"]


def test_a_file_is_harmless_in_a_spreadsheet(orders):
    piece = made(orders)
    answer = piece.ask_export("csv")
    rows = list(csv.reader(io.StringIO(bytes(answer.buffers[0]).decode())))
    assert rows[0][:5] == ["stream", "change", "field", "before", "after"]
    cells = {cell for row in rows for cell in row}
    assert {"'=1+2", "-5", str(2**60), HOSTILE} <= cells
    assert answer.content == {"name": "diff-order.csv", "rows": len(rows) - 1, "more": False,
                              "type": "text/csv"}  # fmt: skip
    told = json.loads(bytes(piece.ask_export("json", "order-9").buffers[0]))
    assert [(row["field"], row["after"]) for row in told["rows"]] == [
        ("status", "=1+2"), ("total", str(2**60)),
    ]  # fmt: skip
    assert (told["a"], told["log_position"], told["cut_off"]) == ("2026-01-05", 11, None)
    name = piece.ask_export("csv", f"order-{HOSTILE}").content["name"]
    assert name == "diff-order-order-img-src-x-onerror-window-x-1.csv"


@given(st.text(max_size=8) | st.sampled_from(["=1", "+1", "-1", "@x", "\t=1", " =1", "-1e5"]))
def test_no_cell_begins_as_a_formula_does(text):
    cell = safe(text)
    assert cell in (text, f"'{text}")
    number = cell.removeprefix("-").replace(".", "", 1).replace("e", "").isdigit()
    assert cell.lstrip()[:1] not in ("=", "+", "-", "@") or number
    assert next(csv.reader(io.StringIO(csv_text([text], []), newline=""))) == [cell]


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab.[", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab.[", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("xyz"), JSONS), st.dictionaries(st.sampled_from("xyz"), JSONS)
)
def test_paths_are_there_exactly_where_states_differ(before, after):
    found = list(walk(before, after))
    paths = [path for path, _, _ in found]
    assert len(set(paths)) == len(paths)
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (not found) == same


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_lines_beside_each_other_are_all_lines_in_order(before, after):
    rows, left = beside(before, after)
    assert left == 0
    assert [a for _, a, _ in rows if a is not None] == before
    assert [b for _, _, b in rows if b is not None] == after
    assert all((a == b) == (sign == "=") for sign, a, b in rows)


def test_hostile_texts_stay_texts(orders):
    piece = made(orders)
    told = piece.ask_one(f"order-{HOSTILE}")
    assert told["rows"] == [[HOSTILE, None, HOSTILE, 0]]
    assert told["events"][0]["actor"] == HOSTILE
    piece.ask_list(HOSTILE)
    left = piece.fallback()
    assert "image/png" in left
    assert HOSTILE not in left["text/html"]
    assert "&lt;img" in left["text/html"]
    assert file_name("../..", "\u202e/etc", end="csv") == "etc.csv"


def test_an_empty_log_differs_in_nothing(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        with pytest.raises(TimelineError, match="none yet"):
            StateDiff(log)
        piece = StateDiff(log, of="order")
        told = piece.ask_open()
        assert (told["population"], told["fields"]) == (0, [])
        assert piece.ask_list()["count"] == 0
        assert piece.fallback()["text/plain"].startswith("Difference of order")


def test_what_cannot_be_is_refused(log, orders):
    for options, error, words in (
        ({"clock": "both"}, TimelineError, "clock is 'recorded'"),
        ({"view": "x"}, TimelineError, "view is 'side'"),
        ({"a": "yesterday"}, InstantError, "yesterday"),
        ({"a": (1, 2, 3)}, TimelineError, "a pair is"),
    ):
        with pytest.raises(error, match=words):
            made(orders, **options)
    with pytest.raises(TimelineError, match="leave of= out"):
        StateDiff(orders, of="order")
    with pytest.raises(TimelineError, match="swap them"):
        made(orders, a="2026-02-01", b="2026-01-01").ask_open()


def test_settings_are_kept_under_a_key_until_the_cell_asks_for_something_else(orders):
    made(orders, key="k").change(view="unified", field="total")
    assert made(orders, key="k").settings["view"] == "unified"
    assert made(orders, key="k", b="2026-03-01").settings["view"] == "side"


def test_it_follows_a_log_that_grows(log):
    piece = StateDiff(log, of="order")
    before = piece.ask_open()
    log.append("order-10", [esnb.DomainEvent("Placed", {"status": "new"})])
    after = piece.ask_open()
    assert after["streams"]["added"] == before["streams"]["added"] + 1
    assert after["position"] == before["position"] + 1
    assert isinstance(piece.timeline, Timeline)


def test_the_category_can_be_another_one(log):
    log.append("parcel-1", [esnb.DomainEvent("Sent", {"weight": 3})])
    piece = StateDiff(log, of="order", key="chosen")
    assert piece.ask_open()["categories"] == ["order", "parcel"]
    piece.ask_list("total", "added")
    piece.ask_of("parcel")
    told = piece.ask_open()
    assert (told["category"], told["streams"]["added"]) == ("parcel", 1)
    assert [piece.settings[name] for name in ("of", "field", "change")] == ["parcel", None, None]
    assert piece.data().fetchall() == [("added", None, 1), ("added", "weight", 1)]
    assert piece.code == "esnb.widget.StateDiff(log, of='parcel', key='chosen')"
    # The cell that is run again finds it, another cell does not.
    again = StateDiff(log, of="order", key="chosen")
    assert (again.timeline.category, again.ask_open()["fields"]) == ("parcel", told["fields"])
    assert StateDiff(log, 1, of="order", key="chosen").timeline.category == "order"
    with pytest.raises(TimelineError, match="no category 'parcels'"):
        piece.ask_of("parcels")

    # Whoever gave one for good is not asked.
    everything = StateDiff(Session(log), of="order")
    assert everything.ask_open()["categories"] == ["order", "parcel"]
    fixed = (StateDiff(Session(log, "order")), StateDiff(log.timeline("order")))
    for one in fixed:
        assert one.ask_open()["categories"] == []
        with pytest.raises(TimelineError, match="no category"):
            one.ask_of("parcel")
