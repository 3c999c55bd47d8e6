"""A session without a browser: what it takes, what it chooses, what it says."""

from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest

import esnb
from esnb.widget import Session, Streams

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def log(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as made:
        for number in range(4):
            for kind, month in (("Placed", 1), ("Paid", 2), ("Sent", 3)):
                event = esnb.DomainEvent(
                    kind, {"n": number}, occurred_on=datetime(2026, month, 1 + number, tzinfo=UTC)
                )
                made.append(f"order-{number}", event)
        made.append("payment-1", esnb.DomainEvent("Booked", {}))
        yield made


def told(session):
    return {chip["trait"]: chip["words"] for chip in session.chips()}


def streams(relation):
    return sorted({row[0] for row in relation.project("stream").fetchall()})


def test_everything_is_looked_at_first(log):
    session = Session(log)
    assert session.events().count("*").fetchone() == (13,)
    assert session.chips() == []
    assert repr(session) == "Session(all streams: everything)"
    assert Session(log, "order").events().count("*").fetchone() == (12,)


def test_a_window_narrows_on_its_clock(log):
    session = Session(log, "order", window=("2026-02-01", "2026-03-01"))
    assert session.window == (FEBRUARY, datetime(2026, 3, 1, tzinfo=UTC))
    assert {row[0] for row in session.events().project("event_type").fetchall()} == {"Paid"}
    assert session.events(without=["window"]).count("*").fetchone() == (12,)
    session.clock = "recorded"
    assert session.events().count("*").fetchone() == (0,)
    assert told(session)["window"] == "2026-02-01 to 2026-03-01 (recorded, UTC)"


def test_the_ends_of_a_window_may_be_open_and_the_wrong_way_round(log):
    session = Session(log, "order", window=(None, "2026-02-01"))
    assert session.events().count("*").fetchone() == (4,)
    assert told(session)["window"].startswith("… to 2026-02-01")
    session.window = (FEBRUARY, JANUARY)
    assert session.window == (JANUARY, FEBRUARY)
    session.window = (None, None)
    assert session.window is None


@pytest.mark.parametrize("wrong", ["2026-01-01", 3, ("2026-01-01",), ("a", "b")])
def test_no_window(log, wrong):
    session = Session(log)
    with pytest.raises(esnb.EsnbError):
        session.window = wrong
    assert session.window is None


@pytest.mark.parametrize(
    "given",
    [
        ["order-1", "order-3", "order-1"],
        pd.DataFrame({"stream": ["order-1", "order-3"]}),
        pa.table({"stream": ["order-1", "order-3"], "n": [1, 2]}),
    ],
)
def test_streams_are_chosen_by_names_and_tables(log, given):
    session = Session(log, "order", streams=given)
    assert len(session.streams) == 2
    assert streams(session.events()) == ["order-1", "order-3"]
    assert session.flow().variants().project("cases").fetchall() == [(2,)]
    assert told(session)["streams"] == "2 streams"


def test_streams_are_chosen_by_a_relation(log):
    session = Session(log, "order")
    session.streams = log.events(stream="order-2").project("stream")
    assert told(session)["streams"] == "order-2"
    assert streams(session.events()) == ["order-2"]
    assert streams(session.events(without=["streams"])) == [f"order-{n}" for n in range(4)]
    with pytest.raises(esnb.QueryError, match="a column stream"):
        session.streams = pd.DataFrame({"case": ["order-1"]})


def test_a_flow_keeps_its_steps(log):
    session = Session(log, "order", event_types=["Paid"], streams=["order-1"])
    (variant,) = session.flow().variants().project("variant, cases").fetchall()
    assert variant == (["Placed", "Paid", "Sent"], 1)
    assert session.events().count("*").fetchone() == (1,)


def test_hostile_words_are_values(log):
    nasty = "order-1' OR 1=1 --"
    session = Session(log, "order", streams=[nasty], event_types=["'; DROP TABLE events"])
    assert session.events().count("*").fetchone() == (0,)
    assert told(session) == {"event_types": "'; DROP TABLE events", "streams": nasty}


def test_parts_are_taken_back(log):
    session = Session(
        log, "order", window=(JANUARY, None), as_of=5, event_types=["Paid"], event_id="x"
    )
    assert told(session)["as_of"] == "as of position 5"
    heard = []
    session.observe(lambda change: heard.append(change["name"]), names=["window", "as_of"])
    session.clear("window")
    assert (session.window, session.as_of) == (None, 5)
    assert heard == ["window"]
    session.clear()
    assert session.chips() == []


def test_its_code_makes_it_anew(log):
    session = Session(
        log,
        "order",
        window=(JANUARY, FEBRUARY),
        as_of="2026-01-15",
        event_types=["Paid", "it's"],
        streams=["order-1"],
        clock="recorded",
    )
    again = eval(session.code, {"esnb": esnb, "log": log})  # noqa: S307 (our own text)
    assert again.chips() == session.chips()
    assert again.clock == "recorded"


def test_words_of_an_event_stay_in_their_comment(log):
    names = pa.table({"stream": [f"order-{n}" for n in range(30)]})
    session = Session(log, streams=Streams("x\nraise SystemExit(1)\u2028", names), event_id="e")
    again = eval(session.code, {"esnb": esnb, "log": log, "chosen": names})  # noqa: S307
    assert len(again.streams) == 30
    assert again.event_id == "e"
