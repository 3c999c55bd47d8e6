"""The timeline in a real JupyterLab: brushed, clicked, stepped by keyboard, noted at."""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """
import esnb
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order")
timeline = esnb.widget.Timeline(session)
timeline
"""
HOSTILE = '''
import esnb, tempfile
bad = """<img src=x onerror="window.__x=1"><script>window.__x=1</script>"""
log = esnb.create(tempfile.mkdtemp() + "/log", zone="UTC")
with log.batch():
    for number in range(30):
        log.append(f"{bad}-{number}", esnb.DomainEvent(bad + str(number), {"text": bad},
            occurred_on=f"2026-01-{number + 1:02}T00:00Z"))
timeline = esnb.widget.Timeline(log, lanes="stream", notes=[{"at": "2026-01-03", "text": bad}])
timeline
'''
EMPTY = """
import esnb, tempfile
esnb.widget.Timeline(esnb.create(tempfile.mkdtemp() + "/log", zone="UTC"))
"""


def drawn(page, number=0):
    """Return whether there is anything on the canvas."""
    return (
        page.locator(".esnb-timeline-canvas")
        .nth(number)
        .evaluate(
            "node => node.getContext('2d').getImageData(0, 0, node.width, node.height)"
            ".data.some(value => value > 0)"
        )
    )


def test_a_window_is_drawn_moved_and_taken_back(notebook):
    page = notebook.of(CELL).page
    assert notebook.cell_errors() == []
    status = page.locator(".esnb-status")
    expect(status).to_contain_text("density")
    expect(status).to_contain_text("Europe/Berlin")
    total = notebook.python("print(f'{len(session.events()):,} of {len(session.events()):,}')")
    expect(status).to_contain_text(total)
    assert drawn(page)
    expect(page.locator(".esnb-fallback")).to_be_hidden()
    notebook.part(page.locator(".esnb-piece"), "all-light")

    overview = page.locator(".esnb-timeline-over")
    notebook.drag(overview, 500, 510, 30)
    expect(status).to_contain_text("window")
    notebook.tells("print(session.window is None)", "False")
    notebook.python("first = session.window")
    # The window is moved by its middle, and Python hears it.
    notebook.drag(overview, 505, 565, 30)
    expect(status).not_to_contain_text("density")
    notebook.tells("print(session.window[0] > first[1])", "True")
    notebook.part(page.locator(".esnb-piece"), "window-light")
    # Keys: on by a step, and an end nearer.
    notebook.python("second = session.window")
    page.locator(".esnb-piece").focus()
    page.keyboard.press("Shift+ArrowRight")
    notebook.tells(
        "print(session.window[0] > second[0], session.window[1] > second[1])", "True True"
    )
    notebook.python("third = session.window")
    page.get_by_role("slider", name="End of the window").focus()
    page.keyboard.press("ArrowLeft")
    notebook.tells(
        "print(session.window[0] == third[0], session.window[1] < third[1])", "True True"
    )
    page.get_by_role("button", name="All time").click()
    expect(status).to_contain_text("density")
    notebook.tells("print(session.window)", "None")


def test_events_are_stepped_through_and_noted(notebook):
    cell = CELL.replace('"order")', '"order", window=("2025-12-24 10:00", "2025-12-24 11:00"))')
    page = notebook.of(cell).page
    status = page.locator(".esnb-status")
    expect(status).to_contain_text("window 2025-12-24 10:00 to 2025-12-24 11:00 (1 h)")
    events = json.loads(
        notebook.python(
            "import json; print(json.dumps(session.events().order('occurred_on, position')"
            ".project('event_id, event_type').fetchall()))"
        )
    )
    assert len(events) > 3
    cells = len(notebook.cells())
    page.locator(".esnb-piece").focus()
    told = page.locator(".esnb-timeline-event")
    page.keyboard.press("ArrowRight")
    expect(told).to_contain_text(events[0][1])
    page.keyboard.press("ArrowRight")
    expect(told).to_contain_text(events[1][1])
    notebook.tells("print(session.event_id)", events[1][0])
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(status).to_have_text("first event in sight")

    # A star, and a note, in which b and x are letters and do nothing to the cell.
    page.keyboard.press("s")
    notes = page.locator(".esnb-timeline-notes li")
    expect(notes).to_have_count(1)
    page.keyboard.press("n")
    expect(page.get_by_label("Text of the note")).to_be_focused()
    page.keyboard.type("bxs: look here")
    page.keyboard.press("Enter")
    expect(notes).to_have_count(2)
    page.keyboard.press("b")
    page.keyboard.press("x")
    assert len(notebook.cells()) == cells
    notebook.tells(
        "print([[n['text'], n['star'], n['event_id']] for n in timeline.notes])",
        str([["", True, events[0][0]], ["bxs: look here", False, events[0][0]]]),
    )

    # The session is changed from Python; the timeline follows.
    notebook.python(f"session.event_id = {events[2][0]!r}")
    expect(told).to_contain_text(events[2][1])
    page.get_by_role("button", name=f"Only {events[0][1]}").click()
    expect(page.locator(".esnb-timeline-label")).to_have_count(1)
    expect(page.locator(".esnb-timeline-over")).to_contain_text("in the choice")
    notebook.python("session.clear('window')\nsession.event_types = ()")
    expect(status).to_contain_text("density")
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(page.locator(".esnb-piece"), f"noted-{name}")
    page.set_viewport_size({"width": 900, "height": 1500})
    notebook.python("session.streams = ['order-2514', 'order-17']")
    expect(page.locator(".esnb-timeline-label")).to_have_count(2)
    notebook.part(page.locator(".esnb-piece"), "narrow-dark")
    page.set_viewport_size({"width": 1100, "height": 1500})
    notebook.theme("light")
    assert notebook.errors == []


def test_a_mark_is_hovered_and_clicked(notebook):
    page = notebook.of(HOSTILE).page
    expect(page.locator(".esnb-status")).to_contain_text("24 of 30 streams")
    canvas = page.locator(".esnb-timeline-canvas")
    canvas.hover(position={"x": 8, "y": 11})
    tip = page.locator(".esnb-timeline-tip")
    expect(tip).to_contain_text('<img src=x onerror="window.__x=1">')
    canvas.click(position={"x": 8, "y": 11})
    expect(page.locator(".esnb-timeline-event")).to_contain_text("<script>window.__x=1</script>")
    notebook.part(page.locator(".esnb-piece"), "hostile-light")
    assert page.evaluate("window.__x") is None
    notebook.tells("print(timeline.session.event_id == next(iter(log.read())).event_id)", "True")
    assert notebook.errors == []


def test_an_empty_log_is_said_to_be(notebook):
    page = notebook.of(EMPTY).page
    expect(page.locator(".esnb-empty")).to_have_text("No events in this log yet.")
    notebook.part(page.locator(".esnb-piece"), "empty-light")
    assert notebook.errors == []
