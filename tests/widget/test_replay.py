"""Replay without a browser: what is shipped is what the timeline says, whatever the events hold."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import instants
from esnb.errors import EsnbError, InstantError, QueryError, TimelineError
from esnb.timeline import Timeline
from esnb.widget import Replay, Session
from esnb.widget.states import replay as module
from esnb.widget.states.patches import LONG, Patches, patches, wire
from tests.flow.logs import START
from tests.hostile import ATTACKS
from tests.timeline.standin import MemoryLog, logs

TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "null", "x" * 50]))


def states_of(answer: dict[str, Any]) -> list[list[Any]]:
    """Return the states that a browser makes of an answer."""
    row = list(answer["base"])
    found = []
    for patch in answer["patches"]:
        for number, value in zip(patch[::2], patch[1::2], strict=True):
            assert row[number] != value, "a patch says nothing that stood before"
            row[number] = value
        found.append(list(row))
    return found


# --- patches ---------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.integers(0, 4), st.lists(st.lists(TEXTS, min_size=4, max_size=4), max_size=9), st.data())
def test_patches_give_the_states_back(width: int, rows: list[list[Any]], data: Any) -> None:
    columns = {f"v{n}": pa.array([row[n] for row in rows], pa.string()) for n in range(width)}
    table = pa.table(columns) if width else pa.table({"v": [None] * len(rows)}).select([])
    before = data.draw(st.booleans()) and bool(rows) and width > 0
    if not width:
        assert patches(table, False).base == []
        return
    made = patches(table, before)
    wanted = [row[:width] for row in rows[before:]]
    assert made.base == (rows[0][:width] if before else [None] * width)
    assert states_of(made._asdict() | {"patches": made.rows}) == wanted
    if wanted:
        first = data.draw(st.integers(0, len(wanted) - 1))
        end = data.draw(st.integers(first + 1, len(wanted)))
        part = made.part(first, end)
        assert states_of({"base": part.base, "patches": part.rows}) == wanted[first:end]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 40), st.data())
def test_the_rows_around_one_have_no_more_characters_than_asked_for(
    sizes: list[int], most: int, data: Any
) -> None:
    place = data.draw(st.integers(0, len(sizes) - 1))
    first, end = Patches([], [[] for _ in sizes], sizes).within(most, place)
    assert first <= place < end
    assert end - first == 1 or sum(sizes[first:end]) <= most
    total = sum(sizes[first:end])
    assert first == 0 or total + sizes[first - 1] > most
    assert end == len(sizes) or total + sizes[end] > most


# --- what is shipped -------------------------------------------------------------------------


@settings(max_examples=40)
@given(logs(), st.sampled_from(["recorded", "occurred"]), st.sampled_from(["patch", "snapshot"]))
def test_what_is_shipped_is_the_replay(log: MemoryLog, clock: Any, mode: Any) -> None:
    line = Timeline(log, "order", fold=mode, ends=("Gone",))
    for stream in {event.stream for event in log.written if event.category == "order"}:
        piece = Replay(line, stream, clock=clock)
        answer = json.loads(json.dumps(piece.ask_stream()))
        rows = line.replay(stream, clock)
        names = list(line.fields)
        shown = rows.project(
            ", ".join(f'CAST("{name.replace(chr(34), chr(34) * 2)}" AS VARCHAR)' for name in names)
            or "NULL"
        ).fetchall()
        assert states_of(answer) == [list(row)[: len(names)] for row in shown]
        assert answer["total"] == len(shown)
        assert answer["chosen"] == len(shown) - 1
        own = rows.project("position, revision, event_type, actor, ended").fetchall()
        told = answer["rows"]
        for place, (position, revision, event_type, actor, ended) in enumerate(own):
            assert told["position"][place] == position
            assert told["revision"][place] == revision
            assert told["event_types"][told["event_type"][place]] == event_type
            code = told["actor"][place]
            assert (None if code is None else told["actors"][code]) == actor
            assert (place in answer["ended"]) == ended


@pytest.fixture
def log(tmp_path):
    with esnb.create(tmp_path / "log", zone="Europe/Berlin") as made:
        for number in range(3):
            made.append(
                f"order-{number}",
                [
                    esnb.DomainEvent(
                        kind,
                        data,
                        occurred_on=START + timedelta(days=number, hours=hour),
                        actor="a" if hour else None,
                    )
                    for hour, (kind, data) in enumerate(
                        [
                            ("Placed", {"status": "placed", "lines": [{"sku": "x", "n": 1}]}),
                            ("Paid", {"status": "paid", "total": 2**60}),
                            ("Sent", {"status": "sent", "note": None}),
                        ]
                    )
                ],
            )
        yield made


def test_a_window_of_a_long_stream_says_what_is_left_out(log, monkeypatch):
    monkeypatch.setattr(module, "MOST", 4)
    log.append("order-9", [esnb.DomainEvent("Counted", {"n": n, "odd": n % 2}) for n in range(20)])
    piece = Replay(log, "order-9", at=log.events(stream="order-9").fetchall()[10][0])
    for clock in ("recorded", "occurred"):
        answer = piece.ask_stream(clock=clock)
        assert (answer["first"], answer["total"], len(answer["patches"])) == (8, 20, 4)
        assert answer["chosen"] == 2
        assert [row[-2:] for row in states_of(answer)] == [
            [str(n), str(n % 2)] for n in range(8, 12)
        ]
        assert answer["base"][-2:] == ["7", "1"]
        assert sum(answer["bins"]) == 20
    last = piece.ask_stream(near=10**12)
    assert (last["first"], last["chosen"]) == (16, 3)
    first = piece.ask_stream(at=0)
    assert (first["first"], first["chosen"], first["base"]) == (0, 0, [None] * 6)


def test_fewer_events_come_where_values_are_many(log, monkeypatch):
    monkeypatch.setattr(module, "MOST_CHARACTERS", 300)
    texts = [str(n) * 100 for n in range(6)]
    log.append("order-9", [esnb.DomainEvent("Noted", {"note": text}) for text in texts])
    answer = Replay(log, "order-9").ask_stream()
    assert (answer["first"], answer["total"], answer["chosen"]) == (4, 6, 1)
    assert [row[0] for row in zip(*states_of(answer), strict=True)] != []
    named = [field["name"] for field in answer["fields"]].index("note")
    assert [row[named] for row in states_of(answer)] == texts[4:]


def test_a_long_value_is_cut_and_can_be_asked_for(log):
    long = [letter * 1_000_000 for letter in "ab"]
    tail = "c" * LONG
    log.append(
        "order-9",
        [esnb.DomainEvent("Noted", {"note": text}) for text in [*long, tail + "1", tail + "2"]],
    )
    piece = Replay(log, "order-9")
    answer = piece.ask_stream()
    named = [field["name"] for field in answer["fields"]].index("note")
    notes = [row[named] for row in states_of(answer)]
    assert notes[0][:2] == ["a" * LONG, 1_000_000]
    # They differ behind the cut only, and are two values.
    assert notes[2][:2] == notes[3][:2] == [tail, LONG + 1]
    assert notes[2] != notes[3]
    assert len(json.dumps(answer)) < 30_000
    position = answer["rows"]["position"][3]
    assert piece.ask_value(position, "note") == {"text": tail + "2", "length": LONG + 1}
    cut = piece.ask_value(answer["rows"]["position"][0], "note")
    assert (len(cut["text"]), cut["length"]) == (500_000, 1_000_000)
    with pytest.raises(TimelineError, match="no field"):
        piece.ask_value(position, 'note") FROM secrets --')
    assert wire("x" * LONG) == "x" * LONG


def test_numbers_keep_their_digits_and_lists_are_json(log):
    answer = Replay(log, "order-1").ask_stream()
    kinds = {field["name"]: field["type"] for field in answer["fields"]}
    last = dict(zip(kinds, states_of(answer)[-1], strict=True))
    assert last["total"] == str(2**60)
    assert json.loads(last["lines"]) == [{"sku": "x", "n": 1}]
    assert list(kinds).index("lines") in answer["json"]


def test_a_stream_that_cannot_be_folded_shows_its_events_and_why(log):
    class Odd(esnb.Aggregate, category="order"):
        status: str = ""

        def when_placed(self, e: Placed):
            self.status = "placed"

    piece = Replay(log, "order-1", of=Odd)
    for clock in ("recorded", "occurred"):
        answer = piece.ask_stream(clock=clock)
        assert "Paid" in answer["error"]
        assert answer["fields"] == []
        assert answer["patches"] == [[], [], []]
        assert answer["rows"]["event_types"] == ["Placed", "Paid", "Sent"]
        assert len(piece.data()) == 3
    assert "Placed" in piece.fallback()["text/html"]


class Placed(esnb.Event):
    status: str


# --- what it takes, what it says -------------------------------------------------------------


def test_a_moment_to_begin_with(log):
    events = list(log.read())
    for at, place in (
        (None, 2),
        (events[4].position, 1),
        (events[4], 1),
        (events[4].recorded_on, 2),  # all were recorded in one append
        ("2200-01-01", 2),
        ("1999-01-01", 0),
        (-5, 0),
    ):
        assert Replay(log, "order-1", at=at).ask_stream()["chosen"] == place, at
    occurred = Replay(log, "order-1", at=events[4].occurred_on, clock="occurred")
    assert occurred.ask_stream()["chosen"] == 1
    with pytest.raises(InstantError):
        Replay(log, "order-1", at="soon")
    with pytest.raises(TimelineError, match="clock"):
        Replay(log, "order-1", clock="sundial")
    with pytest.raises(EsnbError, match="order-nope"):
        Replay(log, "order-nope").ask_stream()


def test_its_code_makes_it_anew(log):
    timeline = log.timeline("order")
    session = Session(log, "order", streams=["order-2", "order-1"])
    for piece in (
        Replay(timeline, "order-1", at=4),
        Replay(log, "order-1", of="order", clock="occurred", session=session),
        Replay(session, at="2026-03-01", filter="pa'id", speed="10"),
        Replay(log),
    ):
        names = {"esnb": esnb, "log": log, "timeline": timeline, "session": session}
        again = eval(piece.code, names)  # noqa: S307 (our own code)
        # What it began with is what the code says now.
        assert {**again.settings, "begun": None} == {**piece.settings, "begun": None}
        assert again.session is piece.session
        assert again.data().fetchall() == piece.data().fetchall()
        assert "SELECT" in piece.sql
        assert piece.fallback()["text/html"]


def lines_of(chart: Any) -> list[list[str]]:
    """Return the texts of a picture, line by line."""
    found: dict[float, dict[float, str]] = {}
    spec = chart.to_dict()
    for layer in spec["layer"]:
        data = layer["data"]
        for row in data.get("values") or spec["datasets"][data["name"]]:
            if "text" in row:
                found.setdefault(row["y"], {})[row["x"]] = row["text"]
    return [[line[x] for x in sorted(line)] for _, line in sorted(found.items())]


def test_its_picture_says_what_each_event_changed(log):
    assert Replay(log).chart() is None
    chart = Replay(log, "order-1", at=4, clock="occurred").chart()
    heads, *lines = lines_of(chart)
    assert heads == ["#", "time", "event", "what it changed"]
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert [line[2] for line in lines] == ["Placed", "Paid", "Sent"]
    assert lines[0][3] == 'lines [{"n":1,"sku":"x"}], status placed'
    assert lines[1][3] == f"status placed → paid, total {2**60}"
    assert lines[2][3] == "status paid → sent"
    local = (START + timedelta(days=1, hours=1)).astimezone(instants.zone("Europe/Berlin"))
    assert lines[1][1] == local.strftime("%Y-%m-%d %H:%M:%S")
    assert chart.title.subtitle == [
        "event 2 of 3, in the order in which they happened; times in Europe/Berlin"
    ]
    assert Replay(log, "order-1").fallback()["text/html"].startswith("<img ")

    more = [esnb.DomainEvent("Counted", {"n": n, "gone": None}) for n in range(60)]
    log.append("order-1", more)
    chart = Replay(log, "order-1", at=30).chart()
    _, *lines = lines_of(chart)
    first = int(lines[0][0])
    assert [int(line[0]) for line in lines] == list(range(first, first + 24))
    assert lines[-1][3] == f"n {first + 19} → {first + 20}"  # it begins at revision 3
    assert chart.title.subtitle[1] == f"events {first + 1} to {first + 24} are shown"


def test_it_begins_with_the_session_follows_it_and_tells_it(log):
    session = Session(log)
    piece = Replay(session)
    assert piece.ask_stream() | {"zone": ""} == {
        "zone": "", "streams": {"names": [], "total": 0}, "clock": "recorded", "stream": None,
        "total": 0,
    }  # fmt: skip
    said: list[Any] = []
    piece.say = lambda content, *buffers: said.append(content)
    session.streams = ["order-2", "order-1"]
    assert said == [{"event": "session", "changed": "streams"}]
    assert piece.ask_follow("streams")["stream"] == "order-2"
    assert piece.ask_stream("order-2")["total"] == 3
    assert "stream" not in piece.ask_follow("streams")
    event = next(log.read())
    session.event_id = event.event_id
    assert piece.ask_follow("event_id") == {"stream": "order-0", "near": 0}
    assert piece.ask_stream("order-0", near=0)["chosen"] == 0
    assert piece.settings["at"] == 0  # the cell, run again, begins there
    assert piece.ask_stream("order-2")["chosen"] == 2
    assert piece.settings["at"] is None
    session.event_id = "nobody's"
    assert piece.ask_follow("event_id") == {}

    said.clear()
    position = piece.ask_stream("order-1")["rows"]["position"][1]
    piece.ask_choose(position)
    assert said == []  # what it said itself it does not hear
    assert session.as_of == position
    assert session.log.event(session.event_id).position == position
    piece.ask_stream(clock="occurred")
    piece.ask_choose(position)
    assert session.as_of is None
    assert session.valid_at == session.log.event(session.event_id).occurred_on
    assert Replay(session).ask_stream()["rows"]["position"][1] == position


def test_positions_of_another_history_stay_with_it(log):
    session = Session(log, "order", as_of=1)
    other = log.timeline("order").what_if(drop="event_type = 'Paid'")
    piece = Replay(other, "order-1", session=session)
    answer = piece.ask_stream()
    assert answer["rows"]["event_types"] == ["Placed", "Sent"]
    piece.ask_choose(answer["rows"]["position"][1])
    assert session.as_of == 1
    assert log.event(session.event_id).event_type == "Sent"


def test_a_key_keeps_the_place_until_another_stream_is_asked_for(log):
    piece = Replay(log, "order-1", key="kept")
    piece.ask_choose(3)
    piece.ask_set({"filter": "paid", "speed": "10", "begun": "x" * 9, "nothing": 1})
    piece.change(begun={"stream": "order-1", "at": None, "clock": "recorded"})
    again = Replay(log, "order-1", key="kept")
    assert (again.settings["at"], again.settings["filter"]) == (3, "paid")
    assert "nothing" not in again.settings
    other = Replay(log, "order-2", key="kept")
    assert (other.stream, other.settings["at"], other.settings["filter"]) == (
        "order-2",
        None,
        "paid",
    )
    said: list[Any] = []
    other.say = lambda content, *buffers: said.append(content)
    other.go(at=4, stream="order-1")
    assert said == [{"event": "go"}]
    assert other.ask_stream()["chosen"] == 1


def test_a_time_that_is_typed_is_read_in_the_zone_of_the_log(log):
    piece = Replay(log, "order-1")
    assert piece.ask_when(" 2026-07-01 12:00 ") == {"at": 1782900000000000}
    with pytest.raises(InstantError):
        piece.ask_when("'; DROP TABLE events")


def test_an_event_has_all_that_stands_in_it(log):
    piece = Replay(log, "order-1")
    event = next(iter(log.read()))
    told = piece.ask_event(0)["event"]
    assert told["event_id"] == event.event_id
    assert json.loads(told["data"]) == {"status": "placed", "lines": [{"sku": "x", "n": 1}]}
    assert piece.ask_event(10**9) == {"event": None}


@pytest.mark.parametrize("attack", ATTACKS[::4])
def test_hostile_texts_are_texts(tmp_path, attack):
    kind = attack.encode(errors="replace").decode()
    stream = "order-" + kind.replace("\x00", "")
    with esnb.create(tmp_path / "log") as log:
        data = {kind: kind, "nested": {kind: [kind]}}
        log.append(stream, [esnb.DomainEvent(kind or "x", data, actor=kind or "x")])
        piece = Replay(log, stream)
        answer = json.loads(json.dumps(piece.ask_stream()))
        assert answer["stream"] == stream
        assert kind in states_of(answer)[-1]
        assert eval(piece.code, {"esnb": esnb, "log": log}).stream == stream  # noqa: S307
        assert "<script>w" not in piece.fallback()["text/html"]


def test_an_empty_log_has_nothing_to_replay(tmp_path):
    with esnb.create(tmp_path / "log") as log:
        piece = Replay(log)
        assert piece.ask_stream()["stream"] is None
        assert len(piece.data()) == 0
        assert piece.fallback()["text/plain"] == "Replay: no stream yet (0 rows)"
        with pytest.raises((TimelineError, QueryError)):
            piece.ask_stream("order-1")
