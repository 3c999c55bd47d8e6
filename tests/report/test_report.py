"""`esnb report`: a notebook becomes one file that needs no kernel, no script and no network."""

import re
from html.parser import HTMLParser

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

import esnb
from esnb.cli import main
from esnb.report.page import harmless, page

v4 = nbformat.v4
ATTACK = '<img src=x onerror="window.__x=1"></script><script>window.__x=1</script>\u202e$x$'
CELLS = [
    v4.new_markdown_cell(f"# The orders\n\nSee **this**. {ATTACK}"),
    v4.new_code_cell('import esnb\nplace = "nowhere"\nmost = 5'),
    v4.new_code_cell(
        "log = esnb.open(place, read_only=True)\n"
        'diff = esnb.widget.StateDiff(log, None, None, of="order")\ndiff'
    ),
    v4.new_code_cell("esnb.chart.events_over_time(log)"),
    v4.new_code_cell("log.df('select * from events')"),
    v4.new_code_cell(
        "import ipywidgets\nfrom IPython.display import HTML, display\n"
        f"display(HTML({ATTACK!r} + '<b onclick=\"x()\">bold</b>'))\n"
        f"print('\\x1b[31m' + {ATTACK!r}, most)\nipywidgets.IntSlider()"
    ),
]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def check_harmless(text):
    """No script, no handler, nothing that would be fetched; return what there is."""
    tags = Tags(text)
    for tag, attributes in tags.found:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form", "base", "svg")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "srcset", "data", "poster", "background"):
                assert value.startswith("data:image/"), (tag, value)
            if name == "href":
                assert tag == "a"
                assert value.startswith(("https://", "http://", "mailto:"))
            assert name != "style" or "url" not in value
    for style in re.findall(r"<style[^>]*>(.*?)</style>", text, re.S):
        assert not re.search(r"@import|url\(", style)
    return tags


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("report")
    with esnb.create(made / "log", zone="UTC") as log:
        log.append("order-1", [esnb.DomainEvent(ATTACK, {ATTACK: ATTACK, "n": 1}, actor=ATTACK)])
    notebook = v4.new_notebook(cells=CELLS)
    nbformat.write(notebook, made / "orders.ipynb")
    notebook.cells = [*CELLS[:2], v4.new_code_cell("print('before')\n1/0"),
                      v4.new_code_cell("print('never')", outputs=[
                          v4.new_output("stream", text="an old output")])]  # fmt: skip
    nbformat.write(notebook, made / "broken.ipynb")
    return made


def test_a_report_carries_all_and_runs_nothing(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = (folder / "orders.ipynb").read_bytes()
    assert main(["report", "orders.ipynb", "-p", "place=log", "-p", "most=7"]) == 0
    assert capsys.readouterr().out == "wrote orders.html\n"
    assert (folder / "orders.ipynb").read_bytes() == before
    text = (folder / "orders.html").read_text()
    tags = check_harmless(text)
    policy = next(a["content"] for t, a in tags.found if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for words in (
        "Parameter place", "'log'", "Parameter most", "7", "Log log", "up to position 1",
        "The orders", "An interactive part stands here", "bold", "Code", "StateDiff(log",
        # The attack reads as it is.
        "<img src=x onerror=", "U+202E$x$", " 7\n",
    ):  # fmt: skip
        assert words in tags.text, words
    assert "\x1b" not in text
    assert "\u202e" not in re.sub(r"<section.*?</section>", "", text, flags=re.S)
    pictures = [a for t, a in tags.found if t == "img" and a.get("src", "").startswith("data:")]
    assert len(pictures) == 2
    assert pictures[0]["alt"].startswith("Difference of order: the beginning to now")
    assert pictures[1]["alt"].startswith("Chart: Events over time")
    assert [t for t, _ in tags.found].count("h1") == 1

    assert main(["report", "orders.ipynb", "-p", "place=log", "--no-code", "-o", "b.html"]) == 0
    assert "StateDiff(log" not in Tags((folder / "b.html").read_text()).text


def test_a_cell_that_fails_is_named_and_all_before_it_is_there(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["report", "broken.ipynb", "-o", "broken.html"]) == 1
    told = capsys.readouterr()
    assert told.err == "esnb: stopped in cell 2: ZeroDivisionError: division by zero\n"
    tags = check_harmless((folder / "broken.html").read_text())
    assert "Not all of it was run. It stopped in cell 2: ZeroDivisionError" in tags.text
    assert "before" in tags.text
    assert "never\n" not in tags.text
    assert "an old output" not in tags.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.ipynb"], "there is no notebook 'nowhere.ipynb'"),
        (["orders.ipynb", "-p", "plce=x"], "no parameter 'plce'; it has: place, most"),
        (["orders.ipynb", "-p", "place"], "say NAME=VALUE"),
        (["orders.ipynb", "-o", "."], "is a folder"),
        (["orders.ipynb", "-o", "nowhere/a.html"], "there is no folder"),
        (["log/log.json"], "is no notebook"),
    ],
)
def test_what_cannot_be_is_refused(folder, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(folder)
    assert main(["report", *arguments]) == 2
    assert words in capsys.readouterr().err


PIECES = st.sampled_from(
    ["<script>", "</script>", "<img src='http://e.org/x'", " onerror=x()", ">", "<svg/onload=x()>",
     "<a href='java\tscript:x()'>", "<style>@import url(http://e.org)", "</style>", "<b style='",
     "background:url(//e.org);color:red'>", "<iframe src=x>", "<!--", "-->", "<math><mi>", "text",
     "<table><tr><td>", "data:text/html,x", "<form action=x>", "<noscript>", "<xmp>", "&lt;b&gt;",
     "<meta http-equiv=refresh>", "<title>", "</title>", "<template>", '"', "'", "<textarea>"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_html_gets_through_that_runs_or_loads(text):
    check_harmless(harmless(text))


@given(st.lists(PIECES, max_size=8).map("".join))
def test_no_output_gets_through_that_runs_or_loads(text):
    outputs = [
        v4.new_output("stream", text=text),
        v4.new_output("error", ename=text, evalue=text, traceback=[text]),
        v4.new_output("display_data", data={"text/html": text}),
        v4.new_output("display_data", data={"text/markdown": text}),
        v4.new_output("display_data", data={"text/plain": text}),
        v4.new_output("display_data", data={"image/svg+xml": text, "text/plain": text}),
        v4.new_output("display_data", data={"text/latex": text, "application/javascript": text}),
    ]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(text, outputs=outputs)])
    check_harmless(page(notebook, text, {text: text}, {text: text}, text, code=True))
