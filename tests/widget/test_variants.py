"""Variants without a browser: held to the flow, whatever is chosen and sorted."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb.errors import EsnbError, FlowError, QueryError
from esnb.widget import FlowMap, Session, Variants
from esnb.widget.flows.cases import type_id
from tests.flow import reference
from tests.flow.logs import PARTS, START, log_of

WAYS = [["Placed", "Paid", "Sent"]] * 3 + [["Placed", "Paid"]] * 2 + [["Placed", "Gone"]]
HOSTILE = ["</script><script>x()</script>", "a\u202eb\x1b[31m", " ", "$x$ image"]
# What neither SQL nor a list of rows has.
PLAIN = "* exclude (examples, variant_id)"


@pytest.fixture
def log(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as made:
        for number, names in enumerate(WAYS):
            events = [
                esnb.DomainEvent(name, {}, occurred_on=START + timedelta(hours=number * place))
                for place, name in enumerate(names)
            ]
            made.append(f"order-{number}", events)
        yield made


def way_of(answer: Any, row: Any) -> list[str]:
    return [answer["types"][number]["name"] for number in row["steps"]]


def test_rows_are_what_its_data_are(log):
    piece = Variants(log, category="order", limit=2)
    answer = piece.ask_rows()
    assert [way_of(answer, row) for row in answer["rows"]] == [WAYS[0], WAYS[3]]
    assert [(row["cases"], row["share"]) for row in answer["rows"]] == [
        (3, "50.0 %"),
        (2, "33.3 %"),
    ]
    first = answer["rows"][0]
    assert first["median"] == 2 * 3600 * 10**6
    assert first["first"] == START.timestamp() * 10**6
    assert answer["said"] == "2 of 3 variants, 83.3 % of 6 cases"
    assert answer["more"] is True
    assert piece.data().fetchall() == log.flow("order").variants(2).fetchall()
    json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(
    ("sort", "place"),
    [("cases", 2), ("length", 1), ("median_duration", 4), ("first_seen", 7), ("last_seen", 8)],
)
def test_all_are_sorted_not_those_shown(log, sort, place, descending):
    piece = Variants(log, limit=1, sort=sort, descending=descending)
    whole = log.flow("order").variants().fetchall()
    best = (max if descending else min)(row[place] for row in whole)
    ((*row,),) = piece.data().fetchall()
    assert row[place] == best
    ((*by_sql,),) = log.sql(piece.sql).fetchall()
    assert by_sql == row[:9]
    again = eval(piece.code, {"esnb": esnb, "log": log})  # noqa: S307 (our own text)
    assert again.settings == piece.settings
    assert again.data().fetchall() == piece.data().fetchall()


def test_a_choice_is_the_streams_of_the_session_and_leaves_the_list(log):
    session = Session(log, "order")
    piece = Variants(session)
    rows = piece.ask_rows()["rows"]
    assert piece.ask_choose(rows[1]["id"]) == {"cases": 2}
    assert session.streams.table["stream"].to_pylist() == ["order-3", "order-4"]
    assert session.streams.label == f"variant {rows[1]['id']}: Placed → Paid (2 steps)"
    answer = piece.ask_rows()
    assert answer["rows"] == rows
    assert answer["chosen"] == rows[1]["id"]
    assert len(piece.streams()) == 2
    assert piece.code == "esnb.widget.Variants(esnb.widget.Session(log, 'order'))"

    # Another one takes its place; it again gives the cases back.
    piece.ask_choose(rows[2]["id"])
    assert session.streams.table["stream"].to_pylist() == ["order-5"]
    piece.ask_choose(rows[2]["id"])
    assert session.streams is None
    assert piece.ask_rows()["chosen"] is None


def test_a_choice_is_one_of_what_was_chosen_before(log):
    session = Session(log, "order")
    FlowMap(session).ask_choose("with", type_id("Paid"))
    before = session.streams
    piece = Variants(session)
    rows = piece.ask_rows()["rows"]
    assert len(rows) == 2
    piece.ask_choose(rows[0]["id"])
    assert session.streams.label.startswith("with Paid, variant ")
    assert len(session.streams) == 3
    assert len(piece.ask_rows()["rows"]) == 2
    piece.ask_choose(rows[0]["id"])
    assert session.streams is before
    # Taken back elsewhere.
    piece.ask_choose(rows[0]["id"])
    session.clear("streams")
    answer = piece.ask_rows()
    assert answer["chosen"] is None
    assert len(answer["rows"]) == 3
    piece.ask_choose(rows[0]["id"])
    piece.ask_all()
    assert session.streams is None


def test_a_flow_alone(log):
    piece = Variants(log.flow("order"))
    rows = piece.ask_rows()["rows"]
    piece.ask_choose(rows[0]["id"])
    answer = piece.ask_rows()
    assert answer["rows"] == rows
    assert answer["chips"][0]["words"].endswith("Placed → Paid → Sent (3 steps) (3)")
    assert len(piece.streams()) == 3
    assert piece.code == "esnb.widget.Variants(flow)"
    piece.ask_all()
    assert len(piece.streams()) == 6


def test_long_ways_are_cut_and_counted(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        log.append("s-1", [esnb.DomainEvent(f"T{number % 50}", {}) for number in range(500)])
        answer = Variants(log).ask_rows()
        (row,) = answer["rows"]
        assert row["length"] == 500
        assert way_of(answer, row) == [f"T{number}" for number in range(40)]
        assert {kind["tone"] for kind in answer["types"]} == {*range(11), "rest"}
        assert len({kind["code"] for kind in answer["types"]} - {""}) > 40


def test_an_empty_log(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        piece = Variants(log)
        answer = piece.ask_rows()
        assert answer["rows"] == []
        assert answer["said"] == "0 of 0 variants, 0.0 % of 0 cases"
        assert piece.data().fetchall() == log.sql(piece.sql).fetchall() == []
        assert "image/png" in piece.fallback()
        assert len(piece.streams()) == 0


def test_names_are_text(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        log.append("s-1", [esnb.DomainEvent(name, {}) for name in HOSTILE])
        session = Session(log)
        piece = Variants(session)
        (row,) = piece.ask_rows()["rows"]
        piece.ask_choose(row["id"])
        assert session.streams.label.isprintable()
        assert log.sql(piece.sql).fetchall() == session.flow().variants().project(PLAIN).fetchall()
        assert "<script>" not in piece.fallback()["text/html"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": 0}, "limit=0: say how many variants, from 1 to 500"),
        ({"limit": 501}, "limit=501"),
        ({"limit": True}, "limit=True"),
        ({"sort": "share; drop"}, "sort='share; drop': say 'cases'"),
        ({"descending": 1}, "descending=1: say True or False"),
        ({"words": "long"}, "words='long'"),
    ],
)
def test_what_it_cannot_be_set_to(log, given, message):
    with pytest.raises(QueryError, match=message):
        Variants(log, **given)
    piece = Variants(log)
    with pytest.raises(QueryError, match=message):
        piece.ask_set(given)
    assert piece.settings == {**Variants.defaults}


def test_a_variant_that_is_gone_is_told(log):
    with pytest.raises(FlowError, match="no variant 'x' in this flow"):
        Variants(log).ask_choose("x")
    with pytest.raises(EsnbError, match="give a Session"):
        Variants([1])


@settings(max_examples=25, deadline=None)
@given(PARTS, st.sampled_from(["occurred", "recorded"]), st.integers(1, 4), st.data())
def test_any_log_is_listed_as_plain_python_counts_it(parts, clock, limit, data):
    with log_of(parts) as log:
        session = Session(log, clock=clock)
        piece = Variants(session, limit=limit)
        found = reference.cases_of(log.read(), clock=clock)
        expected = reference.variants(found)
        assert piece.data().fetchall() == expected[:limit]
        assert log.sql(piece.sql).fetchall() == [row[:9] for row in expected[:limit]]
        answer = piece.ask_rows()
        assert [row["id"] for row in answer["rows"]] == [row[10] for row in expected[:limit]]
        if expected:
            chosen = data.draw(st.sampled_from(answer["rows"]))
            assert piece.ask_choose(chosen["id"])["cases"] == chosen["cases"]
            way = next(row[0] for row in expected if row[10] == chosen["id"])
            names = reference.chosen(found, variant=way)
            assert session.streams.table["stream"].to_pylist() == names
            assert piece.ask_rows()["rows"] == answer["rows"]
