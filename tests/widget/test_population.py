"""All aggregates over time without a browser: held to the timeline, and to plain Python."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import instants
from esnb.errors import EsnbError, InstantError, TimelineError
from esnb.timeline import Timeline
from esnb.widget import Population, Session
from esnb.widget.states import population as module
from tests.flow.logs import START
from tests.hostile import ATTACKS
from tests.timeline import reference
from tests.timeline.standin import MemoryLog, logs


def cube_of(answer: Any) -> dict[int, dict[str | None, int]]:
    """Return what a browser reads in an answer: for each tick the counts that are not zero."""
    told = answer.content
    times = np.frombuffer(answer.buffers[0], np.float64)
    counts = np.frombuffer(answer.buffers[1], np.uint32)
    assert len(times) == told["ticks"]
    counts = counts.reshape(-1, len(times)) if len(times) else counts
    names = [*told["kinds"], *(["(rest)"] if told["rest"] else [])]
    return {
        int(at): {
            name: int(row[place])
            for name, row in zip(names, counts, strict=True)
            if row[place]
        }
        for place, at in enumerate(times)
    }  # fmt: skip


@settings(max_examples=40)
@given(logs(), st.sampled_from(["event_type", "actor"]), st.sampled_from(["6 hours", "day"]))
def test_the_cube_is_the_population_at_every_tick(log: MemoryLog, by: Any, every: str) -> None:
    line = Timeline(log, "order", ends=("Gone",))
    piece = Population(line, by, every=every)
    table = reference.rows(log.written, "order", "patch", ("Gone",))
    cube = cube_of(piece.ask_cube())
    for micros, counts in cube.items():
        when = instants.from_micros(micros)
        standing = reference.as_of(table, when)
        expected = Counter(getattr(row.event, by) for row in standing.values())
        assert counts == expected
        exact = piece.ask_moment(micros)
        assert dict(exact["counts"]) == expected
        assert exact["total"] == len(standing)
        assert [row[0] for row in exact["rows"]] == sorted(standing)
        for kind, number in expected.items():
            some = piece.ask_moment(micros, [kind])
            assert (some["of"], len(some["rows"])) == (number, number)
            names = {s for s, row in standing.items() if getattr(row.event, by) == kind}
            assert {row[0] for row in some["rows"]} == names
            assert piece.ask_take(micros, [kind])["count"] == number
            assert set(piece.taken.table["stream"].to_pylist()) == names


@pytest.fixture
def log(tmp_path):
    with esnb.create(tmp_path / "log", zone="Europe/Berlin") as made:
        for number in range(6):
            made.append(
                f"order-{number}",
                [
                    esnb.DomainEvent(
                        "Placed",
                        {"status": "placed", "total": number * 1.5, "note": f"n{number}"},
                        occurred_on=START + timedelta(days=number),
                    ),
                    *([esnb.DomainEvent("Paid", {"status": "paid"})] if number % 2 else []),
                ],
            )
        yield made


def test_few_values_have_a_line_and_the_rest_one_together(log, monkeypatch):
    monkeypatch.setattr(module, "_KINDS", 2)
    piece = Population(log.timeline("order"), "note")
    answer = piece.ask_cube()
    assert (len(answer.content["kinds"]), answer.content["rest"]) == (2, 4)
    last = list(cube_of(answer).values())[-1]
    assert (sum(last.values()), last["(rest)"]) == (6, 4)


def test_too_many_values_or_ticks_are_an_error_that_says_what_to_do(log, monkeypatch):
    piece = Population(log.timeline("order"), "status")
    monkeypatch.setattr(module, "_CELLS", 3)
    with pytest.raises(TimelineError, match="a longer `every`"):
        piece.ask_cube(by="note")
    assert piece.by == "status"  # what does not work is not kept
    monkeypatch.undo()
    assert piece.ask_cube(by="note", every="hour").content["every"] == "hour"
    assert (piece.by, piece.every) == ("note", "1 hour")
    with pytest.raises(TimelineError, match="no field 'nope'"):
        piece.ask_cube(by="nope")
    with pytest.raises(TimelineError, match="not a duration"):
        piece.ask_cube(every="'); DROP TABLE events --")
    assert piece.by == "note"


def test_values_of_other_types_are_chosen_by_their_text(log):
    piece = Population(log.timeline("order"), "total")
    at = instants.micros(instants.now())
    assert [row[0] for row in piece.ask_moment(at, ["1.5"])["rows"]] == ["order-1"]
    assert piece.ask_moment(at, ["' OR true --"])["rows"] == []
    assert piece.ask_moment(at, [None])["of"] == 0


def test_it_tells_the_session_and_follows_it(log):
    session = Session(log, "order")
    piece = Population(session, "status")
    said: list[Any] = []
    piece.say = lambda content, *buffers: said.append(content)
    at = instants.micros(instants.now())
    piece.ask_moment(at, tell=False)
    assert session.as_of is None
    piece.ask_moment(at)
    assert (session.as_of, said) == (instants.from_micros(at), [])
    assert piece.ask_take(at, ["paid"]) == {"count": 3, "session": True}
    assert session.streams.table["stream"].to_pylist() == ["order-1", "order-3", "order-5"]
    assert session.streams.label.startswith("status paid as of ")
    session.as_of = "2026-01-01"
    assert said == [{"event": "session", "changed": "as_of"}]
    assert piece.ask_follow() == {"at": instants.micros(session.as_of)}
    session.as_of = 4
    recorded = list(log.read())[4].recorded_on
    assert piece.ask_follow() == {"at": instants.micros(recorded)}
    assert Population(session, "status").settings["at"] == instants.iso(recorded)
    session.as_of = None
    assert piece.ask_follow() == {"at": None}


def test_its_code_makes_it_anew(log):
    timeline = log.timeline("order")
    session = Session(log, "order")
    for piece in (
        Population(timeline, "status", at="2026-03-01", every="week", key="pop"),
        Population(log, "status", of="order", session=session, speed="10"),
        Population(session, "event_type", every="6 hours"),
        Population(log, "actor"),
    ):
        names = {"esnb": esnb, "log": log, "timeline": timeline, "session": session}
        again = eval(piece.code, names)  # noqa: S307 (our own code)
        assert again.settings == piece.settings
        assert again.session is piece.session
        assert again.data().fetchall() == piece.data().fetchall()
        assert piece.sql
    left = piece.fallback()
    assert "image/png" in left
    assert "order by actor, every day" in left["text/plain"]


def test_what_cannot_be_is_refused(log):
    with pytest.raises(TimelineError, match="'status'"):
        Population(log.timeline("order"), "stats")
    with pytest.raises(InstantError):
        Population(log, "status", at="soon")
    log.append("parcel-1", [esnb.DomainEvent("Sent", {})])
    with pytest.raises(TimelineError, match=r"say of=.*'order', 'parcel'"):
        Population(log, "status")
    with pytest.raises(EsnbError):
        Population(log, "status", of="order").ask_when("yesterday")


def test_a_key_keeps_where_one_was(log):
    piece = Population(log, "status", key="where")
    piece.ask_cube(by="note", every="hour")
    piece.ask_moment(1_790_000_000_000_000)
    again = Population(log, "status", key="where")
    assert (again.by, again.settings["every"]) == ("note", "hour")
    assert again.ask_cube().content["at"] == 1_790_000_000_000_000
    other = Population(log, "total", key="where")
    assert (other.by, other.settings["at"]) == ("total", None)


def test_nothing_yet(tmp_path):
    with esnb.create(tmp_path / "log") as log:
        piece = Population(log, "event_type", of="order")
        assert cube_of(piece.ask_cube()) == {}
        assert "text/html" in piece.fallback()
        assert piece.ask_moment(0)["rows"] == []


def test_hostile_values_are_values(tmp_path):
    with esnb.create(tmp_path / "log") as log:
        texts = [text.encode(errors="replace").decode() for text in ATTACKS[::3]]
        for number, text in enumerate(texts):
            log.append(f"order-{number}", [esnb.DomainEvent("Placed", {"status": text})])
        piece = Population(log, "status")
        at = instants.micros(instants.now()) + 1
        answer = json.loads(json.dumps(piece.ask_moment(at)))
        assert Counter(value for value, _ in answer["counts"]) == Counter(set(texts))
        for text in set(texts):
            assert piece.ask_moment(at, [text])["of"] == texts.count(text)
        assert "<script>w" not in piece.fallback()["text/html"]
