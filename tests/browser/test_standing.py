"""Widgets that stand: a saved notebook, an untrusted one, a second tab, a zoom, a stop."""

import json
import shutil
from contextlib import suppress

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from playwright.sync_api import expect

from tests.browser.conftest import NotebookPage

pytestmark = pytest.mark.browser

SLOW = 60_000  # milliseconds: the first question of a kind reads the log

BEGIN = """
import esnb
from esnb.examples.shop import Order
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order")
orders = log.timeline(Order)
"""
PIECES = {
    "explore": "panel = esnb.explore(session)\npanel",
    "timeline": "esnb.widget.Timeline(session)",
    "replay": 'esnb.widget.Replay(orders, "order-2514", session=session)',
    "population": 'esnb.widget.Population(orders, "status", session=session)',
    "diff": 'esnb.widget.StateDiff(orders, "2026-01-01", "2026-02-01")',
    "map": "esnb.widget.FlowMap(session)",
    "variants": "esnb.widget.Variants(session)",
    "table": "table = esnb.widget.EventTable(session)\ntable",
    "query": "query = esnb.widget.Query(session)\nquery",
}

PICTURES = {"explore", "timeline", "replay", "population", "diff", "map", "variants"}
HOSTILE = """<script>window.__x = 1</script><style>.esnb-fallback { display: none }</style>
<img src="data:image/png;base64,AAAA" onerror="window.__x = 1">
<iframe srcdoc="<script>parent.__x = 1</script>"></iframe>
<div onclick="window.__x = 1" class="esnb-piece">reads as it is</div>"""

MISSING = "widget model not found"  # what the lab says of a widget that is gone


ALL = len(PIECES) + 2  # a panel is three


def settled(page, count=ALL):
    """Wait until every piece has been drawn."""
    expect(page.locator(".esnb-piece")).to_have_count(count, timeout=SLOW)
    expect(page.locator(".esnb-piece[data-busy]")).to_have_count(0, timeout=SLOW)


SETTING = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"


def saved(notebook):
    """Save the notebook with the state of its widgets, as the lab's setting says; return it."""
    page = notebook.page
    page.evaluate("setting => window.jupyterapp.commands.execute(setting)", SETTING)
    page.wait_for_function("setting => window.jupyterapp.commands.isToggled(setting)", arg=SETTING)
    path = page.evaluate("async () => (await window.nb.context.save(), window.nb.context.path)")
    page.evaluate("setting => window.jupyterapp.commands.execute(setting)", SETTING)
    return nbformat.read(notebook.folder / path, as_version=4)


def trusted(notebook):
    """Which cells with code the lab trusts."""
    return notebook.page.evaluate(
        "() => [...new Set(window.nb.content.widgets.map(one => one.model.trusted))]"
    )


def pictures(notebook, name):
    for theme in ("light", "dark"):
        notebook.theme(theme)
        notebook.picture(f"{name}-{theme}")
    notebook.theme("light")


def left_alone(notebook):
    """What stands in a notebook that nobody has run: a picture or a table of each piece."""
    page = notebook.page
    left = page.locator(".esnb-fallback")
    expect(left).to_have_count(len(PIECES), timeout=SLOW)
    # Every widget of a dead kernel has stepped aside.
    expect(page.get_by_text("displaying widget").locator("visible=true")).to_have_count(0)
    expect(page.locator(".jupyter-widgets-disconnected:visible")).to_have_count(0)
    expect(page.locator("section.esnb-piece")).to_have_count(0)
    expect(page.locator(".jp-OutputArea [role='tab']:visible")).to_have_count(0)
    for number, name in enumerate(PIECES):
        one = left.nth(number)
        expect(one).to_be_visible()
        expect(one).to_contain_text("Run it again to work with it")
        shown = one.locator("img" if name in PICTURES else "table")
        expect(shown.first).to_be_visible()
        assert shown.first.evaluate("node => node.naturalWidth ?? node.offsetWidth") > 40
    assert notebook.cell_errors() == []


def test_a_saved_notebook_without_its_kernel(notebook, lab):
    page = notebook.of(BEGIN, *PIECES.values(), name="standing.ipynb").page
    assert notebook.cell_errors() == []
    settled(page)
    assert notebook.errors == []
    made = saved(notebook)
    state = made.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]
    assert len(json.dumps(state)) < 200_000
    folder = notebook.folder / "notebooks"
    path = folder / "standing.ipynb"
    shutil.copy(path, folder / "standing-state.ipynb")
    # The usual setting: the state of widgets is not saved.
    plain = nbformat.read(path, as_version=4)
    del plain.metadata["widgets"]
    nbformat.write(plain, path)
    NotebookNotary(data_dir=str(lab.folder / "data")).sign(plain)
    # A copy that comes from elsewhere: another cell makes it one that nobody has signed.
    hostile = nbformat.v4.new_code_cell("'from elsewhere'")
    hostile.outputs = [nbformat.v4.new_output("display_data", data={"text/html": HOSTILE})]
    made.cells.append(hostile)
    nbformat.write(made, folder / "standing-foreign.ipynb")

    for name, trust in (("standing-state", True), ("standing", True), ("standing-foreign", False)):
        lab.end_sessions()
        page.goto("about:blank")  # what the page of before still says is not of this one
        notebook.errors.clear()
        notebook.open(f"notebooks/{name}.ipynb")
        assert trusted(notebook) == [trust]
        left_alone(notebook)
        pictures(notebook, name)
        assert [one for one in notebook.errors if MISSING not in one] == []
        # With its state saved, or not trusted, a widget is not even missed.
        assert name == "standing" or notebook.errors == []
    assert page.evaluate("() => window.__x") is None
    assert page.locator(".jp-OutputArea-output").locator("script, iframe, style").count() == 0
    expect(page.get_by_text("reads as it is")).to_be_visible()

    # It is no dead end: a run makes it live again.
    notebook.open("notebooks/standing-state.ipynb").run_all()
    settled(page)
    expect(page.locator(".esnb-fallback:visible")).to_have_count(0)


def test_a_second_tab_shows_the_same(notebook, context, lab):
    page = notebook.of(
        BEGIN, *(PIECES[name] for name in ("explore", "table")), name="tabs.ipynb"
    ).page
    settled(page, 4)
    page.evaluate("() => window.nb.context.save()")
    other = NotebookPage(context, lab, None).open("notebooks/tabs.ipynb")
    second = other.page
    try:
        settled(second, 4)
        expect(second.locator(".esnb-fallback:visible")).to_have_count(0)
        assert other.python("print(len(panel.data()))") == notebook.python(
            "print(len(panel.data()))"
        )
        # A setting, the session, and the pane in sight: from the second to the first and back.
        heading = second.get_by_role("grid").last.get_by_role("columnheader", name="event_type")
        heading.click()
        for one in (second, page):
            expect(
                one.get_by_role("grid").last.get_by_role("columnheader", name="event_type")
            ).to_have_attribute("aria-sort", "ascending", timeout=SLOW)
        notebook.drag(page.locator(".esnb-timeline-over"), 480, 500, 30)
        for one in (page, second):
            expect(one.locator(".esnb-piece .esnb-chip").first).to_contain_text(
                "Europe/Berlin", timeout=SLOW
            )
        rows = notebook.python("print(len(panel.data()))")
        for one in (page, second):
            expect(one.get_by_role("grid").first).to_have_attribute(
                "aria-rowcount", rows, timeout=SLOW
            )
        second.get_by_role("button", name="Clear all").click()
        for one in (second, page):
            expect(one.locator(".esnb-piece .esnb-chip")).to_have_count(0, timeout=SLOW)
        page.get_by_role("tab", name="Query", exact=True).click()
        for one in (page, second):
            expect(one.get_by_label("SQL, one SELECT")).to_be_visible(timeout=SLOW)
        assert notebook.errors == []
        assert other.errors == []
        assert other.outside == []
    finally:
        second.close(run_before_unload=False)


# What is cut off, or lies upon another, in each piece: in words.
FAULTS = """
all => all.flatMap(piece => {
  const name = piece.getAttribute('aria-label');
  const seen = node => node.getClientRects().length && node.offsetParent !== null;
  const found = [];
  if (piece.scrollWidth > piece.clientWidth + 1) found.push(`${name} is wider than its place`);
  const area = piece.closest('.jp-OutputArea-output');
  if (area.scrollWidth > area.clientWidth + 1) found.push(`${name}: its output is wider`);
  const buttons = [...piece.querySelectorAll('.esnb-head :is(button, input, select)')].filter(seen);
  for (const one of buttons) {
    if (one.matches('button') && one.scrollWidth > one.clientWidth + 1)
      found.push(`${name}: ${one.textContent} is cut`);
    const box = one.getBoundingClientRect();
    for (const two of buttons) {
      if (one === two || one.contains(two) || two.contains(one)) continue;
      const other = two.getBoundingClientRect();
      const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
      const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
      if (wide > 2 && high > 2)
        found.push(`${name}: ${one.textContent} lies on ${two.textContent}`);
    }
  }
  return found;
})
"""


@pytest.fixture
def zoomed(context, lab, notebook):
    """A notebook at 200 %: twice as many pixels for each of the page's, and half as many of those.

    A context of its own: Playwright takes any other zoom back when it takes a picture.
    """
    made = context.browser.new_context(
        viewport={"width": 550, "height": 750}, device_scale_factor=2, accept_downloads=False
    )
    made.set_default_timeout(SLOW)
    opened = NotebookPage(made, lab, notebook.pictures)
    yield opened
    assert opened.outside == []
    made.close()


def test_a_zoom_of_200_percent(zoomed):
    notebook, page = zoomed, zoomed.page
    notebook.of(BEGIN, *PIECES.values(), name="zoom.ipynb")
    assert page.evaluate("() => [innerWidth, devicePixelRatio]") == [550, 2]
    pieces = page.locator("section.esnb-piece")
    settled(page)
    titles = page.locator(".jp-OutputArea .lm-TabBar-tabLabel")
    expect(titles).to_have_count(6)
    assert titles.evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth)") == []
    for theme in ("light", "dark"):
        notebook.theme(theme)
        for number in range(ALL):
            notebook.part(pieces.nth(number), f"zoom-{number:02d}-{theme}")
        notebook.part(page.locator(".jp-OutputArea-output").first, f"zoom-panel-{theme}")
    assert pieces.evaluate_all(FAULTS) == []
    for name in ("Streams", "Flow", "Replay", "Changes", "Query"):
        page.get_by_role("tab", name=name, exact=True).click()
        expect(page.get_by_role("tab", name=name, exact=True)).to_have_attribute(
            "aria-selected", "true"
        )
        notebook.idle()
        expect(page.locator(".esnb-piece[data-busy]")).to_have_count(0, timeout=SLOW)
        assert pieces.evaluate_all(FAULTS) == []
    # They can be worked with.
    heading = page.get_by_role("grid").last.get_by_role("columnheader", name="stream")
    heading.click()
    notebook.tells("print(table.settings['sort'])", "stream")
    assert notebook.errors == []


LONG = """select count(*) from events a, events b, events c
where a.position + b.position + c.position < 0"""
STOP = """
import esnb
%load_ext esnb
log = esnb.open("../data/shop", read_only=True)
query = esnb.widget.Query(log, "select 1 as x")
query
"""


def stopped(page, waiting, words):
    """Press the lab's stop button until what was waited for has ended, as one does."""
    stop = page.locator("[data-jp-item-name='interrupt']").locator("button, jp-button").first
    for _ in range(5):
        stop.click()
        # Between two messages a kernel hears nobody.
        with suppress(AssertionError):
            expect(waiting).to_contain_text(words, timeout=6_000)
            return
    expect(waiting).to_contain_text(words)


def test_a_stop_ends_the_question_of_a_piece(notebook):
    page = notebook.of(STOP).page
    piece = page.locator("section.esnb-piece")
    status = piece.locator(".esnb-status")
    box = page.get_by_label("SQL, one SELECT")
    for _ in range(3):
        box.fill(LONG)
        box.press("Shift+Enter")
        expect(status).to_have_text("Running…")
        stopped(page, status, "No answer")
        expect(piece.get_by_role("alert")).to_contain_text("Interrupted")
        notebook.part(piece, "stopped")
        # The next question is answered.
        box.fill("select 6 * 7 as answer")
        box.press("Shift+Enter")
        expect(status).to_contain_text("1 row, 1 columns", timeout=SLOW)
        expect(piece.get_by_role("alert")).to_be_hidden()
        assert notebook.python("print(query.result.answer[0])") == "42"
    assert notebook.errors == []


def test_a_stop_ends_a_question_in_a_cell(notebook):
    page = notebook.of(STOP).page
    page.evaluate(
        """text => {
             const model = window.nb.model.sharedModel;
             model.addCell({cell_type: 'code', source: text, metadata: {trusted: true}});
             window.nb.content.activeCellIndex = 1;
             window.jupyterapp.commands.execute('notebook:run-cell');
           }""",
        f"%%esql\n{LONG}",
    )
    cell = page.locator(".jp-CodeCell").nth(1)
    expect(cell.locator(".jp-InputPrompt")).to_have_text("[*]:")
    stopped(page, cell, "KeyboardInterrupt")
    notebook.idle()
    page.evaluate(
        """() => {
             const cells = window.nb.model.sharedModel.cells;
             cells[1].setSource('%%esql\\nselect 6 * 7 as answer');
             window.jupyterapp.commands.execute('notebook:run-cell');
           }"""
    )
    expect(cell.locator(".esnb-row").first).to_have_text("42", timeout=SLOW)
    assert notebook.cell_errors() == []
    assert notebook.errors == []


COUNTS = """
import comm
from ipywidgets.widgets import widget
print(len(comm.get_comm_manager().comms), len(widget._instances),
      sum(len(kinds) for names in session._trait_notifiers.values() for kinds in names.values()))
"""


def test_a_cell_that_is_run_again_leaves_one_piece(notebook):
    cells = [PIECES[name] for name in ("timeline", "explore", "map", "table")]
    page = notebook.of(BEGIN, "%load_ext esnb", "%%esql log\nfrom events limit 5", *cells).page
    settled(page, 7)
    before = notebook.python("print(log.snapshot().next_position)")
    counts = None
    for run in range(10):
        page.evaluate(
            """async () => {
                 window.nb.content.activeCellIndex = 2;
                 await window.jupyterapp.commands.execute('notebook:run-all-below');
               }"""
        )
        notebook.idle()
        settled(page, 7)
        expect(page.locator(".esnb-fallback:visible")).to_have_count(0)
        told = notebook.python(COUNTS)
        assert counts is None or told == counts, run
        counts = told
    # One that is shown elsewhere stays, and so does what was asked for.
    assert notebook.python("print(len(panel.data()) > 0, table.data().shape[0] > 0)") == "True True"
    assert notebook.python("print(log.snapshot().next_position)") == before
    assert notebook.errors == []
