"""The panel in a real JupyterLab: one part narrows the others."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

SLOW = 60_000  # milliseconds: the first question of a kind reads the log

CELL = """
import esnb
log = esnb.open("../data/shop", read_only=True)
panel = esnb.explore(log, "order")
panel
"""


def part(page, name):
    """Return a piece by the words it is labelled with."""
    return page.locator(f".esnb-piece[aria-label^='{name}']")


def pane(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def brushed(notebook, first, last):
    """Draw a window on the overview, between two pixels."""
    page = notebook.page
    # Until all has been drawn that stands above it, it moves.
    expect(part(page, "Timeline").locator(".esnb-status")).to_contain_text("events", timeout=SLOW)
    expect(part(page, "What narrows the view")).to_be_visible(timeout=SLOW)
    notebook.drag(page.locator(".esnb-timeline-over"), first, last, 30)


def shown(notebook, name):
    for theme in ("light", "dark"):
        notebook.theme(theme)
        notebook.part(notebook.page.locator(".jp-OutputArea-output").first, f"{name}-{theme}")
    notebook.theme("light")


def test_a_window_narrows_the_map_and_the_table(notebook):
    page = notebook.of(CELL).page
    assert notebook.cell_errors() == []
    timeline = part(page, "Timeline")
    expect(timeline.locator(".esnb-status")).to_contain_text("density", timeout=SLOW)
    table = page.get_by_role("grid").first
    total = notebook.python("print(len(panel.data()))")
    expect(table).to_have_attribute("aria-rowcount", total, timeout=SLOW)
    expect(page.locator(".esnb-fallback")).to_be_hidden(timeout=SLOW)
    shown(notebook, "events")

    brushed(notebook, 480, 500)
    expect(part(page, "What narrows the view").locator(".esnb-chip")).to_have_count(1, timeout=SLOW)
    notebook.idle()
    some = notebook.python("print(len(panel.data()))")
    assert 0 < int(some) < int(total)
    expect(table).to_have_attribute("aria-rowcount", some, timeout=SLOW)

    pane(page, "Flow")
    flow = page.locator(".esnb-piece", has_text="transitions").first
    words = flow.locator(".esnb-status").first
    expect(words).to_contain_text("transitions", timeout=SLOW)
    before = words.text_content()
    shown(notebook, "flow")
    brushed(notebook, 600, 640)
    expect(words).not_to_have_text(before, timeout=SLOW)
    # Hidden panes have no views, and nothing was asked for them.
    expect(page.get_by_role("grid", name=re.compile("Events"))).to_have_count(0, timeout=SLOW)
    page.get_by_role("button", name=re.compile("Take back: 2")).click()
    expect(part(page, "What narrows the view").locator(".esnb-chip")).to_have_count(0, timeout=SLOW)
    assert notebook.errors == []


def test_an_edge_fills_the_table_of_streams(notebook):
    page = notebook.of(CELL.replace('"order")', '"order", pane="Flow")')).page
    edge = page.get_by_role("button", name="From OrderConfirmed to PaymentFailed")
    expect(edge).to_be_attached(timeout=SLOW)
    edge.focus()
    page.keyboard.press("Enter")
    page.locator(".esnb-menu").get_by_role("menuitem").first.click()
    expect(part(page, "What narrows the view").locator(".esnb-chip")).to_have_count(1, timeout=SLOW)
    notebook.idle()
    many = notebook.python("print(len(panel.session.streams))")
    assert 0 < int(many) < 4_000
    pane(page, "Streams")
    streams = page.get_by_role("grid").last
    expect(streams).to_have_attribute("aria-rowcount", many, timeout=SLOW)
    shown(notebook, "streams")
    # A stream that is clicked is the one that is replayed.
    first = page.locator(".esnb-row[data-place='0'] .esnb-cell").first
    name = first.text_content()
    first.click()
    expect(page.locator(".esnb-timeline-event")).to_contain_text(name, timeout=SLOW)
    pane(page, "Replay")
    replay = part(page, "Replay")
    expect(replay.get_by_label("Stream", exact=True)).to_have_value(name, timeout=SLOW)
    expect(replay.locator(".esnb-status").last).to_contain_text("event", timeout=SLOW)
    shown(notebook, "replay")
    assert notebook.errors == []


def test_questions_are_typed_and_answered(notebook):
    page = notebook.of(CELL).page
    cells = len(notebook.cells())
    pane(page, "Query")
    box = page.get_by_label("SQL, one SELECT")
    box.fill("select nothing from events")
    box.press("Shift+Enter")
    expect(page.get_by_role("alert").filter(has_text="nothing")).to_be_visible(timeout=SLOW)
    box.fill("")
    # b and x are letters here, and no cell comes or goes.
    box.type("select 'b x' as bx from events limit 3")
    box.press("Shift+Enter")
    expect(page.get_by_role("grid").last).to_have_attribute("aria-rowcount", "3", timeout=SLOW)
    assert len(notebook.cells()) == cells
    shown(notebook, "query")
    assert notebook.errors == [] or all("QueryError" in one for one in notebook.errors)


def test_it_stays_whole_when_run_again_and_fits_small_windows(notebook):
    page = notebook.of(CELL).page
    page.set_viewport_size({"width": 900, "height": 1500})
    brushed(notebook, 400, 420)
    expect(part(page, "What narrows the view").locator(".esnb-chip")).to_have_count(1, timeout=SLOW)
    notebook.run_all()
    expect(part(page, "Timeline").locator(".esnb-status")).to_contain_text("density", timeout=SLOW)
    expect(page.locator(".esnb-timeline-over")).to_have_count(1, timeout=SLOW)
    expect(page.locator(".jp-OutputArea-output").get_by_role("tab")).to_have_count(6, timeout=SLOW)
    expect(page.locator(".esnb-fallback")).to_be_hidden(timeout=SLOW)
    pane(page, "Changes")
    expect(page.locator(".esnb-piece").last).to_contain_text("of", timeout=SLOW)
    shown(notebook, "changes-900")
    pane(page, "Flow")
    expect(page.locator("[data-key='e0']").first).to_be_attached(timeout=SLOW)
    shown(notebook, "flow-900")
    # A zoom of 200 % leaves half the pixels.
    page.set_viewport_size({"width": 550, "height": 1500})
    pane(page, "Events")
    expect(page.get_by_role("grid").first).to_be_visible(timeout=SLOW)
    wide = page.locator(".esnb-piece").evaluate_all(
        "all => all.every(one => one.scrollWidth <= one.clientWidth + 1)"
    )
    shown(notebook, "events-550")
    page.set_viewport_size({"width": 1100, "height": 1500})
    assert wide
    assert notebook.errors == []
