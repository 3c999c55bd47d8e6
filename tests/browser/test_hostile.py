"""Events whose every string is an attack, in all that shows events: text reads as it is."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, expect

pytestmark = pytest.mark.browser

BEGIN = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests import hostile
import esnb
from esnb import chart
chart.enable()
log = hostile.log(Path({folder!r}) / "hostile", big=1_000_000)
flow = log.flow("nasty")
line = log.timeline("nasty", fields=["status", "total", "tooltip", "image"])
"""
REPRS = (
    "log",
    "log.events()",
    "flow",
    "log.match('.', 'nasty')",
    "log.check(esnb.rules.existence('Step0'), 'nasty')",
    "line",
    "line.as_of('2026-02-01')",
    "line.when(\"status LIKE '%script%'\")",
    "log.df('SELECT * FROM events')",
    "next(log.read_stream(log.events().fetchone()[2]))",
    "log.object_flow()",
)
CHARTS = (
    "chart.flow_map(flow, coverage=1)",
    "chart.transition_matrix(flow)",
    "chart.variants_chart(flow)",
    "chart.durations_chart(flow)",
    "chart.alluvial_chart(flow)",
    "chart.dotted_chart(flow)",
    "chart.types_over_time(flow)",
    "chart.events_over_time(log.events())",
    "chart.states_over_time(line.counts('status', '1 hour'))",
    "chart.difference_map(flow.between(flow, flow))",
    "chart.funnel_chart(flow, ['Step0', 'Step2'])",
    "chart.spectrum_chart(flow, 'Step0', 'Step2')",
)
PIECES = (
    "esnb.widget.Timeline(log)",
    "esnb.widget.EventTable(log, columns=['stream', 'event_type', 'actor', 'data'])",
    "esnb.widget.EventTable(log.df('SELECT stream, data FROM events'))",
    "esnb.widget.Replay(line, log.events().order('position').fetchone()[2])",
    "esnb.widget.Population(line, 'status', every='hour')",
    "esnb.widget.StateDiff(line, 30, 150)",
    "esnb.widget.FlowMap(flow, coverage=1)",
    "esnb.widget.Variants(flow)",
    "esnb.widget.Chips(esnb.widget.Session(log, event_types=hostile.ATTACKS, streams=['nasty-x']))",
    "esnb.explore(log, 'nasty', pane='Query')",
)


@pytest.fixture
def hostile(notebook, tmp_path):
    """Open a notebook of such cells; nothing ran, was fetched or was typeset in the end."""
    from tests.browser.conftest import ROOT

    begin = BEGIN.format(root=str(ROOT), folder=str(tmp_path))

    def opened(*cells: str):
        dialogs: list[str] = []
        notebook.page.on(
            "dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss())
        )
        notebook.of(begin, *cells)
        assert notebook.cell_errors() == []
        return notebook

    yield opened
    page = notebook.page
    assert page.evaluate("() => window.__x") is None
    outputs = page.locator(".jp-OutputArea-output")
    for made in (
        "script",
        "iframe",
        "object",
        "embed",
        "form:not(.vega-bindings)",
        "base",
        "meta",
        "mjx-container",
    ):
        expect(outputs.locator(made)).to_have_count(0)
    # Pictures are ours: they hold their own bytes.
    sources = outputs.locator("img").evaluate_all("all => all.map(one => one.src.slice(0, 11))")
    assert {*sources} <= {"data:image/"}
    links = outputs.locator("a[href], [*|href]").evaluate_all(
        "all => all.map(one => one.getAttribute('href') ?? one.getAttribute('xlink:href'))"
    )
    assert [
        one for one in links if one and one.strip().lower().startswith(("java", "data:text"))
    ] == []
    assert notebook.outside == []


def test_reprs_and_tables(hostile):
    page = hostile(*REPRS).page
    expect(page.locator(".jp-OutputArea-output")).to_have_count(len(REPRS))
    expect(
        page.locator(".jp-OutputArea-output table").filter(has_text="<script>")
    ).not_to_have_count(0)


def test_charts(hostile):
    notebook = hostile(*CHARTS)
    charts = notebook.page.locator(".jp-OutputArea-output .vega-embed svg.marks")
    expect(charts).to_have_count(len(CHARTS))
    # Where one points at a mark its tip is text.
    for number in range(len(CHARTS)):
        mark = charts.nth(number).locator("[role='graphics-symbol'], path[aria-label]").first
        if mark.count():
            mark.scroll_into_view_if_needed()
            mark.hover(force=True)
    assert notebook.page.locator("#vg-tooltip-element img, #vg-tooltip-element a").count() == 0


def touch(one):
    """Point at something and press it; again, where a piece is just drawing it anew."""
    for left in reversed(range(5)):
        try:
            one.hover(force=True, timeout=5_000)
            one.click(force=True, timeout=5_000)
            return
        except Error:
            if not left:
                raise
            one.page.wait_for_timeout(200)


def test_pieces(hostile):
    notebook = hostile(*PIECES)
    page = notebook.page
    pieces = page.locator(".jp-OutputArea-output .esnb-piece")
    # The panel is three of them.
    expect(pieces).to_have_count(len(PIECES) + 2)
    expect(page.locator(".esnb-piece[data-busy]")).to_have_count(0, timeout=60_000)
    expect(page.locator(".esnb-problem:visible")).to_have_count(0)
    for rows in page.locator(".esnb-row").all()[:40:5]:
        touch(rows)
    for mark in ".esnb-map-box", ".esnb-map-edge", ".esnb-variants-row", ".esnb-timeline-glyph":
        for one in page.locator(mark).all()[:3]:
            touch(one)
            page.keyboard.press("Escape")
    expect(page.locator(".esnb-piece[data-busy]")).to_have_count(0, timeout=60_000)
    assert "<script>window.__x=1</script>" in "".join(pieces.all_inner_texts())
    assert page.locator(".esnb-piece").locator("img, a[href], iframe, script").count() == 0
    assert notebook.errors == []
