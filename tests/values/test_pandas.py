"""``df.es``: what a frame with events answers, and what it says when there are none."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import esnb
import esnb.pandas
from esnb import SourceError

TIMES = pd.to_datetime(["2026-01-01", "2026-01-03", "2026-01-02", "2026-01-04"], utc=True)


def orders() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stream": ["order-1", "order-1", "order-2", "order-2"],
            "event_type": ["Placed", "Paid", "Placed", "Cancelled"],
            "time": TIMES,
            "status": ["placed", "paid", "placed", "cancelled"],
            "total": [10, None, 20, None],
        }
    )


def test_columns_are_guessed():
    events = orders().es
    assert events.events().project("stream, event_type").fetchall() == [
        ("order-1", "Placed"), ("order-2", "Placed"), ("order-1", "Paid"), ("order-2", "Cancelled"),
    ]  # fmt: skip
    flow = events.flow("order")
    timeline = events.timeline()
    gc.collect()  # the log behind them is held
    steps = flow.directly_follows().filter("kind = 'step'").project("source, target")
    assert sorted(steps.fetchall()) == [("Placed", "Cancelled"), ("Placed", "Paid")]
    states = timeline.as_of("2026-01-03").order("stream").project("stream, status")
    assert states.fetchall() == [("order-1", "paid"), ("order-2", "placed")]
    table = events.table(sort="stream")
    assert table.ask_open()["count"] == 4
    assert events.log().imported.kept == 4
    assert esnb.explore is not None


def test_all_there_is_to_see_in_one_panel():
    panel = orders().es.explore(pane="Changes")
    gc.collect()  # the log behind it is held
    assert len(panel.data()) == 4
    assert panel.piece("Events")[0].ask_open()["count"] == 4
    assert panel.piece("Changes")[0].ask_open()["streams"]["added"] == 2
    flow_map, variants = panel.piece("Flow")
    assert flow_map.data().filter("source = 'Placed'").project("target").order(
        "target"
    ).fetchall() == [("Cancelled",), ("Paid",)]
    assert len(variants.data()) == 2
    panel.session.streams = "order-2"
    assert len(panel.data()) == 2
    assert panel.piece("Replay")[0].ask_stream("order-2")["total"] == 2
    assert panel.piece("Query")[0].run("select count(*) as n from events").n[0] == 4


def test_columns_are_said():
    frame = orders().rename(columns={"stream": "id", "event_type": "what"})
    frame["id"] = frame["id"].str[6:]
    events = frame.es.roles(stream="id", event_type="what").roles(category="bill")
    states = events.timeline("bill").as_of("2026-01-05").order("stream").project("stream")
    assert states.fetchall() == [("bill-1",), ("bill-2",)]
    assert repr(events) == "df.es.roles(stream='id', event_type='what', category='bill')"
    assert repr(frame.es) == "df.es"
    # What others say of the same frame is not changed by it.
    with pytest.raises(SourceError, match="stream and event_type; name it"):
        frame.es.log()


def test_what_a_frame_answers_is_what_it_holds_now():
    frame = orders()
    assert frame.es.events().shape[0] == 4
    frame.loc[4] = ["order-3", "Placed", TIMES[3], "placed", 1]
    assert frame.es.events().shape[0] == 5


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pd.DataFrame(), "stream and event_type and occurred_on; .* Its columns are none"),
        (pd.DataFrame({"a": [1]}), r"df.es.roles\(stream=…, event_type=…, occurred_on=…\)"),
        (orders().drop(columns="time"), "which column is occurred_on; name it"),
        (orders().assign(stream=None), "4 of 4 rows are no events"),
        (orders().assign(time=["x"] * 4), "4 of 4 rows are no events"),
        (pd.DataFrame({"<b>": [1], "$x$": [2]}), "'<b>'"),
    ],
)
def test_a_frame_without_events_says_so(frame, told):
    for ask in (lambda: frame.es.log(), lambda: frame.es.flow(), lambda: frame.es.timeline("a")):
        with pytest.raises(SourceError, match=told):
            ask()


def test_some_rows_are_no_events():
    frame = orders()
    frame.loc[1, "event_type"] = None
    with pytest.warns(UserWarning, match="1 of 4 rows are no events"):
        assert frame.es.events().shape[0] == 3


def test_which_timeline():
    frame = orders()
    frame.loc[0, "stream"] = "customer-1"
    with pytest.raises(SourceError, match=r"df.es.timeline\('customer', 'order'\)"):
        frame.es.timeline()
    assert frame.es.timeline("customer").as_of("2026-01-09").shape[0] == 1


def test_the_index_and_hostile_values_come_along():
    frame = orders().set_index("stream")
    frame["status"] = ["<script>", "'; --", "日本", "\u202e"]
    states = frame.es.timeline("order").as_of("2026-01-05").project("status").fetchall()
    assert sorted(states) == [("'; --",), ("\u202e",)]


def test_it_is_there_after_either_way():
    for code in ("import esnb.pandas", "import esnb; esnb.load_ipython_extension(Shell())"):
        shell = "class Shell:\n    def register_magic_function(self, *a, **k): pass\n"
        ask = "import pandas as pd; print(pd.DataFrame().es)"
        done = subprocess.run(
            [sys.executable, "-c", f"{shell}{code}\n{ask}"], capture_output=True, text=True
        )
        assert done.stdout == "df.es\n", done.stderr


def test_events_of_a_log_make_the_same_log():
    log = orders().es.log()
    again = log.events().to_arrow_table().to_pandas().es
    assert isinstance(again._frame["tags"][0], np.ndarray)
    assert again.events().project("event_id, stream, data, revision").fetchall() == (
        log.events().project("event_id, stream, data, revision").fetchall()
    )
