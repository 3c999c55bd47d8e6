"""The map of a flow without a browser: held to the flow, and to plain Python."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb.chart import flow_edges
from esnb.errors import EsnbError, QueryError
from esnb.widget import FlowMap, Session, Streams
from esnb.widget.flows.cases import named, session_flow, type_id
from tests.flow import reference
from tests.flow.logs import PARTS, START, log_of

DAY = timedelta(days=1)
HOSTILE = ["</script><script>x()</script>", "a\u202eb\x1b[31m", " ", "$x$ image", "\u0101" * 128]


@pytest.fixture
def log(tmp_path):
    with esnb.create(tmp_path / "log", zone="Europe/Berlin") as made:
        for number in range(12):
            day = START + number * DAY
            types = ["Placed", "Paid", "Sent"] if number % 3 else ["Placed", "Failed", "Failed"]
            events = [
                esnb.DomainEvent(name, {}, occurred_on=day + timedelta(hours=hour))
                for hour, name in enumerate(types)
            ]
            made.append(f"order-{number}", events)
        yield made


def edges_of(answer: Any) -> set[tuple[str | None, str | None]]:
    return {tuple(edge["ids"]) for edge in answer["edges"]}


def test_it_draws_what_its_data_are(log):
    piece = FlowMap(log, category="order", coverage=0.8)
    answer = piece.ask_map()
    rows = piece.data().fetchall()
    assert edges_of(answer) == {(type_id(row[1]), type_id(row[2])) for row in rows}
    assert rows == flow_edges(log.flow("order"), 0.8).fetchall()
    assert answer["said"][0].startswith(f"{len(rows)} of 7 edges, ")
    boxes = {box["name"]: box["count"] for box in answer["boxes"]}
    assert boxes["Placed"] == "12"
    assert answer["placed"]["width"] > 100
    for edge in answer["edges"]:
        assert edge["line"].startswith("M")
        assert edge["tone"] in {"plain", *(tone for tone, _ in answer["legend"]["items"])}
    json.dumps(answer, allow_nan=False)


def test_what_is_said_of_a_coverage_is_not_set(log):
    piece = FlowMap(log)
    assert len(piece.ask_map(coverage=1.0, show="cases")["edges"]) == 7
    assert piece.settings["coverage"] == 0.9
    piece.ask_set({"coverage": 1, "show": "count", "other": 3})
    assert len(piece.data()) == 7
    assert piece.ask_map()["legend"]["title"] == "transitions"
    assert "other" not in piece.settings


@pytest.mark.parametrize(
    ("how", "ends", "conditions"),
    [
        ("with", ("Failed",), {"with_": "Failed"}),
        ("without", ("Failed",), {"without": "Failed"}),
        ("starting", ("Placed",), {"starting": "Placed"}),
        ("ending", ("Sent",), {"ending": "Sent"}),
        ("along", ("Placed", "Failed"), {"edge": ("Placed", "Failed")}),
        ("never along", ("Placed", "Failed"), {"without_edge": ("Placed", "Failed")}),
        ("along", (None, "Placed"), {"edge": (None, "Placed")}),
        ("never along", ("Sent", None), {"without_edge": ("Sent", None)}),
    ],
)
def test_a_choice_is_the_streams_of_the_session(log, how, ends, conditions):
    session = Session(log, "order")
    piece = FlowMap(session)
    answer = piece.ask_choose(how, *map(type_id, ends))
    expected = [row[0] for row in log.flow("order").streams(**conditions).fetchall()]
    assert answer["cases"] == len(expected) > 0
    assert session.streams.table["stream"].to_pylist() == expected
    assert session.streams.label == answer["words"]
    # What is drawn is what anybody else gets of the session.
    assert piece.data().fetchall() == flow_edges(session.flow()).fetchall()
    assert [row[0] for row in piece.streams().fetchall()] == expected
    piece.ask_all()
    assert session.streams is None
    assert len(piece.streams()) == 12


def test_choices_within_choices(log):
    session = Session(log, "order")
    piece = FlowMap(session)
    piece.ask_choose("with", type_id("Placed"))
    piece.ask_choose("without", type_id("Failed"))
    assert session.streams.label == "with Placed, without Failed"
    assert piece.ask_map()["chips"] == [
        {"trait": "streams", "words": "with Placed, without Failed (8)"}
    ]
    # None is no choice.
    assert piece.ask_choose("with", type_id("Sent"))["cases"] == 8
    assert piece.ask_choose("without", type_id("Sent"))["cases"] == 0
    assert len(session.streams) == 8
    # Types that are gone meanwhile are not guessed.
    with pytest.raises(QueryError, match="changed meanwhile"):
        piece.ask_choose("with", type_id("never seen"))
    with pytest.raises(QueryError, match="choose a box"):
        piece.ask_choose("with", None, type_id("Placed"))
    with pytest.raises(QueryError, match="changed meanwhile"):
        piece.ask_choose("along", None, None)


def test_a_flow_is_narrowed_by_itself(log):
    flow = log.flow("order")
    piece = FlowMap(flow)
    piece.ask_choose("with", type_id("Failed"))
    assert piece.code == "esnb.widget.FlowMap(flow.only(with_='Failed'))"
    again = eval(piece.code, {"esnb": esnb, "flow": flow})  # noqa: S307 (our own text)
    assert again.data().fetchall() == piece.data().fetchall()
    assert piece.ask_map()["chips"] == [{"trait": "streams", "words": "with Failed (4)"}]
    assert "arrow" in piece.sql
    piece.ask_all()
    assert piece.data().fetchall() == flow_edges(flow).fetchall()

    # With a session its streams are chosen, too; taken back there, taken back here.
    session = Session(log, "order")
    piece = FlowMap(flow, session=session)
    piece.ask_choose("with", type_id("Failed"))
    assert len(session.streams) == len(piece.streams()) == 4
    session.clear("streams")
    assert len(piece.streams()) == 12


def test_cases_by_tags_are_no_streams(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        for number in range(4):
            log.append(f"order-{number}", esnb.DomainEvent("Placed", {}, tags=["customer:1"]))
        session = Session(log)
        piece = FlowMap(log.flow(by="customer:"), session=session)
        assert piece.ask_choose("with", type_id("Placed"))["cases"] == 1
        assert session.streams is None
        assert piece.streams().fetchall() == [("customer:1",)]


def test_it_follows_the_session_and_new_events(log):
    session = Session(log, "order")
    piece = FlowMap(session, coverage=1)
    assert piece.ask_map()["ends"][0]["text"] == "start 12"
    session.window = (START, START + 3 * DAY)
    assert piece.ask_map()["ends"][0]["text"] == "start 3"
    assert piece.data().fetchall() == flow_edges(session.flow(), 1).fetchall()
    # Pieces of one session read once.
    other = FlowMap(session)
    assert other.flow() is piece.flow()
    session.clear()
    log.append("order-99", esnb.DomainEvent("Placed", {}, occurred_on=START))
    assert piece.ask_map()["ends"][0]["text"] == "start 13"
    session.window = ("1999-01-01", "1999-02-01")
    assert piece.ask_map()["empty"] is True
    assert piece.data().fetchall() == []
    assert piece.fallback()["image/png"]


def test_two_windows_are_compared(log):
    first, second = (START, START + 6 * DAY), (START + 6 * DAY, START + 12 * DAY)
    session = Session(log, "order")
    piece = FlowMap(session, compare=(first, second), coverage=1)
    expected = log.flow("order").between(first, second)
    columns = "kind, source, target, count_a, count_b, points"
    order = "count_a + count_b desc, kind, source, target"
    assert (
        piece.data().project(columns).fetchall()
        == expected.order(order).project(columns).fetchall()
    )
    answer = piece.ask_map()
    assert {edge["tone"][:7] for edge in answer["edges"]} == {"change-"}
    assert all(edge["text"].endswith(" pp") for edge in answer["edges"])
    assert "2026-02-05 01:00 to 2026-02-11 01:00" in answer["said"][1]
    assert log.sql(piece.sql).fetchall() == expected.fetchall()
    again = eval(piece.code, {"esnb": esnb, "log": log})  # noqa: S307 (our own text)
    assert again.settings == piece.settings
    assert again.data().fetchall() == piece.data().fetchall()
    assert "against" in piece.title()
    # A choice is one in the time of both.
    assert piece.ask_choose("with", type_id("Failed"))["cases"] == 4

    # Of a flow, and before the window of the session.
    flow = FlowMap(log.flow("order"), compare=(first, second), coverage=1)
    assert flow.data().fetchall() == again.data().fetchall()
    session.clear()
    session.window = second
    before = FlowMap(session, compare="before", coverage=1)
    assert before.windows() == (first, second)
    assert before.data().fetchall() == again.data().fetchall()
    session.window = None
    with pytest.raises(QueryError, match="choose a window with two ends"):
        before.ask_map()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"coverage": 1.5}, "coverage=1.5: say a number from 0 to 1"),
        ({"coverage": "x"}, "coverage='x'"),
        ({"edges": 0}, "edges=0: say how many edges, from 1 to 200"),
        ({"edges": True}, "edges=True"),
        ({"show": "speed"}, "show='speed': say 'wait'"),
        ({"view": "list"}, "view='list'"),
        ({"compare": "after"}, "compare='after': give two windows"),
        ({"compare": [(START, None)]}, "give two windows"),
        ({"compare": [(START, None), (None, None)]}, "a window is a pair of instants"),
        ({"category": 3, "session": "x"}, "category= is for a log"),
    ],
)
def test_what_it_cannot_be_set_to(log, given, message):
    session = Session(log, "order")
    with pytest.raises(QueryError, match=message):
        FlowMap(session, **{**given, **({"session": session} if "session" in given else {})})
    if "session" not in given:
        piece = FlowMap(session)
        with pytest.raises(QueryError, match=message):
            piece.change(**given)
        assert piece.settings == FlowMap(session).settings


def test_what_it_is_no_map_of(log):
    for source in (None, "log", log.flow("order").directly_follows()):
        with pytest.raises(QueryError, match="give a Session, an EventLog or a Flow"):
            FlowMap(source)
    with pytest.raises(QueryError, match="give one of them"):
        FlowMap(Session(log), session=Session(log))


def test_a_key_keeps_its_settings(log):
    FlowMap(log, key="a map").ask_set({"coverage": 0.5, "view": "table"})
    again = FlowMap(log, key="a map")
    assert again.settings["coverage"] == 0.5
    assert again.settings["view"] == "table"
    assert FlowMap(log).settings["coverage"] == 0.9


def test_names_are_text(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        log.append("s-1", [esnb.DomainEvent(name, {}) for name in HOSTILE])
        session = Session(log)
        piece = FlowMap(session, coverage=1)
        answer = piece.ask_map()
        names = [box["name"] for box in answer["boxes"]]
        assert names[0] == HOSTILE[0]
        assert names[1] == "aU+202EbU+001B[31m"
        assert names[2] == " "
        assert len(json.dumps(answer)) < 60_000
        for name in HOSTILE:
            assert piece.ask_choose("with", type_id(name))["cases"] == 1
        assert all(sign.isprintable() for sign in session.streams.label)
        assert log.sql(piece.sql).fetchall() == session.flow().directly_follows().fetchall()
        left = piece.fallback()["text/html"]
        assert "<script>" not in left


WINDOW = st.tuples(st.integers(-1, 32), st.integers(-1, 32)).map(
    lambda ends: tuple(START + timedelta(hours=12 * one) for one in ends)
)


@settings(max_examples=25, deadline=None)
@given(
    PARTS,
    st.sampled_from(["occurred", "recorded"]),
    st.sampled_from([None, "order"]),
    st.none() | WINDOW,
    st.floats(0, 1),
    st.data(),
)
def test_any_log_is_drawn_as_plain_python_counts_it(parts, clock, category, window, coverage, data):
    with log_of(parts) as log:
        session = Session(log, category, clock=clock, window=window)
        piece = FlowMap(session, coverage=coverage)

        def part() -> reference.Cases:
            found = reference.cases_of(log.read(), category, clock=clock)
            inside = {
                name: [
                    event
                    for event in events
                    if window is None or session.window[0] <= event.at < session.window[1]
                ]
                for name, events in found.items()
            }
            return {name: events for name, events in inside.items() if events}

        found = part()
        assert session.flow().directly_follows().fetchall() == reference.directly_follows(found)
        assert log.sql(piece.sql).fetchall() == reference.directly_follows(found)
        answer = piece.ask_map()
        assert answer.get("empty", False) == (not found)
        types = sorted({event.event_type for events in found.values() for event in events})
        for _ in range(2):
            if not types:
                break
            how = data.draw(st.sampled_from(["with", "without", "starting", "ending"]))
            name = data.draw(st.sampled_from(types))
            said = {how + "_" * (how == "with"): [name]}
            expected = reference.chosen(found, **said)
            assert piece.ask_choose(how, type_id(name))["cases"] == len(expected)
            if expected:
                found = {name: found[name] for name in expected}
                assert piece.flow().directly_follows().fetchall() == reference.directly_follows(
                    found
                )
                assert session.flow().directly_follows().fetchall() == reference.directly_follows(
                    found
                )


def test_flows_of_a_session_are_not_mixed_up(log):
    session = Session(log, "order")
    whole = session_flow(session)
    some = Streams("some", named(session.flow().only(with_="Paid")))
    narrowed = session_flow(session, streams=some)
    assert narrowed is not whole
    assert session_flow(session) is whole
    assert session_flow(session, streams=some) is narrowed
    assert session_flow(Session(log, "order")) is not whole
    # Narrowed in memory it is what the log answers.
    log_says = log.flow("order", streams=some.table).directly_follows().fetchall()
    assert narrowed.directly_follows().fetchall() == log_says
    none = Streams("none", some.table.slice(0, 0))
    assert len(session_flow(session, streams=none)) == 0
    gone = Streams("gone", named(log.flow("order")).slice(0, 1))
    assert session_flow(session, streams=gone).built().cases == 1
    session.clock = "recorded"
    assert session_flow(session) is not whole


def test_errors_are_ours(log):
    piece = FlowMap(log)
    with pytest.raises(EsnbError):
        piece.ask_map(coverage=7.0)
    with pytest.raises(EsnbError):
        piece.ask_map(show="x")
