"""The panel and the query box, without a browser."""

import json

import pytest

import esnb
from esnb.widget import EventTable, Explore, FlowMap, Query, Replay, Session, StateDiff, Variants
from esnb.widget.base.piece import STATIC
from esnb.widget.explore import PANES

BAD = '<img src=x onerror="window.__x=1">'


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    with esnb.create(tmp_path_factory.mktemp("explore") / "log", zone="Europe/Berlin") as made:
        for number in range(4):
            placed = esnb.DomainEvent(
                "Placed", {"status": BAD}, occurred_on=f"2026-01-0{number + 1}T12:00Z"
            )
            paid = esnb.DomainEvent("Paid", {"status": "paid"}, occurred_on="2026-02-01T12:00Z")
            made.append(f"order-{number}", [placed, paid] if number % 2 else placed)
        made.append("bill-1", esnb.DomainEvent("Sent", {}, occurred_on="2026-03-01T12:00Z"))
        yield made


def test_only_the_pane_in_sight_has_pieces(log):
    panel = esnb.explore(log, "order")
    kinds = {
        "Events": [EventTable],
        "Streams": [EventTable],
        "Flow": [FlowMap, Variants],
        "Replay": [Replay],
        "Changes": [StateDiff],
        "Query": [Query],
    }
    for name in PANES:
        panel.pane = name
        for other, pane in zip(PANES, panel._panes, strict=True):
            # A widget has a class of its own, under the same name.
            found = [type(one).__mro__[1] for one in pane.children]
            assert found == (kinds[name] if other == name else [])
    assert panel.piece("Flow")[0].session is panel.session
    with pytest.raises(esnb.QueryError, match="no pane 'Case'; there are Events"):
        panel.pane = "Case"
    panel.close()


def test_what_narrows_one_part_narrows_all(log):
    panel = esnb.explore(log, "order", pane="Streams")
    (table,) = panel.piece("Streams")
    assert [row[:2] for row in table.data().fetchall()] == [
        ("order-1", 2), ("order-3", 2), ("order-0", 1), ("order-2", 1),
    ]  # fmt: skip
    panel.session.window = ("2026-02-01", None)
    (fresh,) = panel.piece("Streams")
    assert fresh is not table
    assert panel._panes[PANES.index("Streams")].children == (fresh,)
    assert [row[:2] for row in fresh.data().fetchall()] == [("order-1", 1), ("order-3", 1)]
    assert panel.timeline.title().endswith("2 events")
    assert len(panel.data()) == 2
    panel.pane = "Events"
    assert len(panel.piece("Events")[0].data()) == 2
    # A stream that is chosen is looked at by its last event.
    fresh.chosen = 1
    event = panel.session.log.events(event_id=panel.session.event_id)
    assert event.project("stream, event_type").fetchall() == [("order-3", "Paid")]
    panel.close()


def test_its_code_makes_it_anew(log):
    panel = esnb.explore(log, "order", pane="Flow")
    panel.session.event_types = [BAD]
    again = eval(panel.code, {"esnb": esnb, "log": log})  # noqa: S307 (our own text)
    assert isinstance(again, Explore)
    assert again.code == panel.code
    assert again.pane == "Flow"


def test_a_key_keeps_the_pane(log):
    esnb.explore(log, key="panel of this test").pane = "Query"
    assert esnb.explore(log, key="panel of this test").pane == "Query"
    assert esnb.explore(log, key="another panel").pane == "Events"


def test_bad_arguments_are_told(log):
    with pytest.raises(esnb.QueryError, match="explore a log or a session, not 3"):
        esnb.explore(3)
    with pytest.raises(esnb.QueryError, match="say one of Events"):
        esnb.explore(log, pane="Case")
    with pytest.raises(esnb.QueryError, match="category of its own"):
        esnb.explore(Session(log, "order"), "bill")
    session = Session(log, "order")
    assert esnb.explore(session).session is session


def test_an_empty_log_has_a_panel_too(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as empty:
        panel = esnb.explore(empty)
        for name in PANES:
            panel.pane = name
        assert len(panel.data()) == 0


def test_without_a_kernel_the_timeline_stays(log, monkeypatch):
    shown = []
    monkeypatch.setattr("esnb.widget.base.piece.display", lambda data, raw: shown.append(data))
    panel = esnb.explore(log)
    panel._ipython_display_()
    living, left = shown
    assert "application/vnd.jupyter.widget-view+json" in living
    assert f'data-esnb="{panel.timeline.model_id}"' in left["text/html"]
    shown.clear()
    monkeypatch.setenv(STATIC, "1")
    panel._ipython_display_()
    (left,) = shown
    assert set(left) == {"image/png", "text/html", "text/plain"}


def answered(query, text):
    sent = []
    query.send = lambda content, buffers=None: sent.append(content)
    query._heard(query, {"ask": "run", "id": 1, "with": {"text": text}}, [])
    json.dumps(sent)
    return sent[-1]


def test_a_question_is_asked_and_its_rows_shown(log):
    panel = esnb.explore(log, pane="Query")
    (query,) = panel.piece("Query")
    reply = answered(
        query, "select stream, data from events where event_type = 'Placed' order by 1"
    )
    assert (reply["rows"], reply["columns"], reply["position"]) == (4, 2, 7)
    _, table = panel._panes[PANES.index("Query")].children
    assert table.data().fetchall() == query.data().fetchall()
    assert query.result.attrs["position"] == 7
    again = eval(query.code, {"log": log})  # noqa: S307 (our own text)
    assert again.equals(query.result)
    answered(query, "select 1 as one")
    assert panel.piece("Query")[1].data().columns == ["one"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("delete from events", "QueryError"),
        ("select * from read_csv('/etc/passwd')", "QueryError"),
        ("select nothing from events", "nothing"),
        ("", "QueryError"),
        ("select '" + "x" * 50_000 + "'", "at most 50,000 characters"),
    ],
)
def test_what_cannot_be_asked_is_told(log, text, words):
    query = Query(log)
    assert words in answered(query, text)["error"]
    assert query.result is None
    assert query.data().fetchall() == []


def test_the_window_has_names_in_a_question(log):
    session = Session(log, window=("2026-02-01", None))
    query = Query(session, "select count(*) as n from events where occurred_on >= $first")
    assert query.run()["n"].tolist() == [3]
    assert eval(query.code, {"log": log})["n"].tolist() == [3]  # noqa: S307 (our own text)
    session.window = None
    assert query.run()["n"].tolist() == [7]
    text = "select count(*) as n from events where occurred_on >= $first and occurred_on < $last"
    assert query.run(text)["n"].tolist() == [7]


def test_a_box_keeps_its_text(log):
    Query(log, key="box of this test").run("select 3 as three")
    assert Query(log, key="box of this test").settings["text"] == "select 3 as three"
    with pytest.raises(esnb.QueryError, match="of a log or a session"):
        Query("select 1")
