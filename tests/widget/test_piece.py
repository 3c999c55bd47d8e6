"""What all pieces share, without a browser: only intents answer, and errors are words."""

import asyncio
import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from types import MappingProxyType

import pytest

import esnb
from esnb.widget import Chips, Piece, Session, intent
from esnb.widget.base import mainthread
from esnb.widget.base.piece import STATIC, Answer

FOLDER = Path(esnb.__file__).parent / "widget"


class Probe(Piece):
    """A piece for these tests."""

    name = "chips"
    defaults = MappingProxyType({"wide": False})
    sent: list

    def __init__(self, **options):
        self.sent = []
        super().__init__(**options)

    def send(self, content, buffers=None):
        self.sent.append((content, buffers))

    @intent
    def ask_double(self, value: int) -> dict:
        return {"value": 2 * value}

    @intent
    def ask_bytes(self) -> Answer:
        return Answer({"of": 3}, (b"abc",))

    @intent
    def ask_fail(self, how: str) -> dict:
        raise {"ours": esnb.QueryError("say it otherwise"), "stop": KeyboardInterrupt()}.get(
            how, ZeroDivisionError("oops")
        )

    def ask_secret(self):
        return {"secret": 1}


def told(content):
    piece = Probe()
    piece._heard(piece, content, [])
    return piece.sent


def test_an_intent_answers_with_its_id():
    assert told({"ask": "double", "id": "a", "with": {"value": 4}}) == [
        ({"id": "a", "value": 8}, [])
    ]
    assert told({"ask": "bytes", "id": "b"}) == [({"id": "b", "of": 3}, [b"abc"])]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"ask": "secret", "id": 1}, "knows no intent secret"),
        ({"ask": "_heard", "id": 1}, "knows no intent"),
        ({"ask": "double", "id": 1, "with": {"value": "x"}}, "double: .*valid integer"),
        ({"ask": "double", "id": 1, "with": {"value": 1, "more": 2}}, "more.*[Uu]nexpected"),
        ({"ask": "double", "id": 1}, "[Mm]issing"),
        ({"ask": "fail", "id": 1, "with": {"how": "ours"}}, "QueryError: say it otherwise"),
        ({"ask": "fail", "id": 1, "with": {"how": "x"}}, "ZeroDivisionError: oops"),
        ({"ask": "fail", "id": 1, "with": {"how": "stop"}}, "Interrupted"),
        ({"ask": "\x1b[31m\u202e", "id": 1}, re.escape("U+001B[31mU+202E")),
    ],
)
def test_what_cannot_be_asked_is_told(content, words):
    ((reply, _),) = told(content)
    assert reply["id"] == 1
    assert re.search(words, reply["error"])


@pytest.mark.parametrize("content", [None, 3, "ask", {}, {"ask": 3}, {"id": 1}])
def test_what_is_no_question_is_left_alone(content):
    assert told(content) == []


def test_settings_are_kept_by_key():
    one = Probe(key="kept")
    one._heard(one, {"ask": "set", "id": 1, "with": {"changes": {"wide": True, "evil": 1}}}, [])
    assert one.settings == {"wide": True}
    assert Probe(key="kept").settings == {"wide": True}
    assert Probe(key="other").settings == {"wide": False}
    assert Probe().settings == {"wide": False}


def test_its_state_is_small_and_without_data(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        session = Session(log, "order", streams=[f"order-{n}" for n in range(10_000)])
        state = Chips(session).get_state()
    layout = state.pop("layout")
    assert layout
    assert len(json.dumps(state)) < 4_000


def test_without_a_kernel_a_table_stays(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("esnb.widget.base.piece.display", lambda data, raw: shown.append(data))
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        session = Session(log, event_types=["<script>alert(1)</script>"])
        Chips(session)._ipython_display_()
        living, left = shown
        assert "application/vnd.jupyter.widget-view+json" in living
        assert "text/html" not in living
        assert "<script>" not in left["text/html"]
        assert "&lt;script&gt;" in left["text/html"]
        shown.clear()
        monkeypatch.setenv(STATIC, "1")
        Chips(session)._ipython_display_()
    (left,) = shown
    assert set(left) == {"text/html", "text/plain"}


def test_a_piece_that_was_closed_can_be_shown_again(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        session = Session(log)
        piece = Chips(session)
        events = []
        piece.say = lambda content: events.append(content)
        mark, comm, layout = piece.model_id, piece.comm, piece.layout.comm
        piece.close()
        piece.close()
        assert piece.comm is None
        assert piece.layout.comm is None
        session.window = ("2026-01-01", None)
        assert events == []
        assert len(piece.data()) == 1
        piece.open()
        piece.open()
        assert piece.model_id == piece.mark == mark
        assert piece.comm is not comm
        assert piece.layout.comm is not layout
        assert "application/vnd.jupyter.widget-view+json" in piece._repr_mimebundle_()[0]
        session.window = None
        assert events == [{"event": "session", "changed": "window"}]


def test_questions_of_other_threads_are_answered_in_the_main_one():
    """A stop arrives only there; ipykernel hears widgets elsewhere."""
    seen = []

    def work():
        seen.append(threading.current_thread())
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)
        except KeyboardInterrupt:
            seen.append("stopped")
        # The one that comes at the last moment is nobody's.
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)

    async def cell():
        mainthread.meet()
        await asyncio.to_thread(mainthread.run, work)
        return signal.getsignal(signal.SIGINT)

    async def main():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a kernel does between cells
        return await cell()

    before = signal.getsignal(signal.SIGINT)
    try:
        assert asyncio.run(main()) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [threading.main_thread(), "stopped"]
    # The loop has ended: what is asked now is answered where it is.
    mainthread.run(lambda: seen.append("here"))
    assert seen[-1] == "here"


def test_nothing_becomes_markup_and_nothing_is_fetched():
    """No file of the browser's side has a way from text to markup, code or the network."""
    ways = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
        r"|DOMParser|createContextualFragment|https?://(?!www\.w3\.org)|\bfetch\(\s*[\"'`]"
        r"|XMLHttpRequest|WebSocket|\.src\s*=|\.href\s*="
    )
    scripts = sorted(FOLDER.rglob("*.js"))
    assert len(scripts) > 2
    assert {path.name: ways.findall(path.read_text()) for path in scripts} == {
        path.name: [] for path in scripts
    }
    for path in scripts:
        imports = re.findall(r"^\s*import .*|import\((?!url\)).*", path.read_text(), re.MULTILINE)
        assert imports == [], path.name


def test_each_piece_has_both_its_files():
    shared = {FOLDER / "base" / name for name in ("shared.js", "loader.js")}
    for script in set(FOLDER.rglob("*.js")) - shared:
        assert script.with_suffix(".py").exists(), script
    assert "ui.style" in (FOLDER / "base" / "loader.js").read_text()
