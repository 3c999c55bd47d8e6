"""The map of a flow, as a user sees it: arrows choose cases, by mouse and by keyboard."""

import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """
import esnb
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order")
flow_map = esnb.widget.FlowMap(session)
flow_map
"""
STREAMS = (
    "print(None if session.streams is None else (session.streams.label, len(session.streams)))"
)


def test_the_map_chooses_cases_and_follows_the_session(notebook):
    page = notebook.of(CELL).page
    assert notebook.cell_errors() == []
    piece = page.locator(".esnb-piece")
    status = piece.locator(".esnb-status")
    expect(status).to_contain_text("of 45 edges")
    expect(status).to_contain_text("of 29,705 transitions")
    edges, boxes = piece.locator(".esnb-map-edge"), piece.locator(".esnb-map-box")
    shown = json.loads(notebook.python("import json; print(json.dumps(len(flow_map.data())))"))
    expect(edges).to_have_count(shown)
    expect(piece.locator(".esnb-map-end")).to_have_text(["start 4,000", "end 4,000"])
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(piece, f"map-{name}")
    notebook.theme("light")
    page.set_viewport_size({"width": 900, "height": 1500})
    notebook.part(piece, "map-900")
    page.set_viewport_size({"width": 1100, "height": 1500})

    # Details under the pointer.
    boxes.first.hover()
    expect(piece.locator(".esnb-map-tip")).to_contain_text("OrderPlaced")
    notebook.part(piece, "map-hover")

    # More arrows, and they are kept.
    slider = piece.get_by_role("slider")
    slider.fill("100")
    expect(edges).to_have_count(45)
    expect(status).to_contain_text("45 of 45 edges, 100.0 %")
    notebook.tells("print(flow_map.settings['coverage'], len(flow_map.data()))", "1 45")
    notebook.part(piece, "map-all")
    slider.fill("80")
    expect(status).not_to_contain_text("45 of 45")

    # A click asks which cases.
    boxes.filter(has_text="PaymentFailed").click()
    menu = piece.get_by_role("menu")
    expect(menu.get_by_role("menuitem")).to_have_text([
        "Cases with PaymentFailed", "Cases without PaymentFailed",
        "Cases starting with PaymentFailed", "Cases ending with PaymentFailed",
    ])  # fmt: skip
    notebook.part(piece, "map-menu")
    menu.get_by_role("menuitem").first.click()
    chip = piece.locator(".esnb-chip")
    expect(chip).to_contain_text("with PaymentFailed")
    label, count = eval(notebook.python(STREAMS))  # noqa: S307 (a tuple that we print)
    assert label == "with PaymentFailed"
    assert count == int(
        notebook.python("print(len(log.flow('order').streams(with_='PaymentFailed')))")
    )
    expect(piece.locator(".esnb-map-end").first).to_have_text(f"start {count:,}")
    chip.get_by_role("button").click()
    expect(piece.locator(".esnb-map-end").first).to_have_text("start 4,000")
    notebook.tells(STREAMS, "None")

    # The window of the session.
    notebook.python("session.window = ('2026-01-01', '2026-02-01')")
    expect(status).to_contain_text("of 3,686 transitions")
    piece.get_by_role("button", name="Compare with before").click()
    expect(status).to_contain_text("(3,686 transitions) against 2025-12-01 to 2026-01-01")
    expect(piece.locator(".esnb-map-label").first).to_contain_text("pp")
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(piece, f"map-difference-{name}")
    notebook.theme("light")
    piece.get_by_role("button", name="Compare with before").click()
    notebook.python("session.window = ('2016-01-01', '2016-02-01')")
    expect(piece).to_contain_text("No events in this window")
    notebook.part(piece, "map-empty")
    assert notebook.errors == []


def test_the_map_by_keyboard_and_as_a_table(notebook):
    page = notebook.of(CELL).page
    piece = page.locator(".esnb-piece")
    expect(piece.locator(".esnb-map-edge").first).to_be_visible()
    cells = len(notebook.cells())
    piece.focus()
    focused = page.locator(".esnb-piece [data-key]:focus")
    page.keyboard.press("ArrowDown")
    expect(focused).to_have_attribute("aria-label", "start 4,000")
    page.keyboard.press("ArrowDown")
    expect(focused).to_have_attribute("data-key", "e0")
    page.keyboard.press("ArrowDown")
    expect(focused).to_contain_text("OrderPlaced")
    page.keyboard.press("ArrowDown")
    first = focused.get_attribute("data-key")
    page.keyboard.press("ArrowRight")
    expect(focused).not_to_have_attribute("data-key", first)
    page.keyboard.press("ArrowLeft")
    expect(focused).to_have_attribute("data-key", first)
    notebook.part(piece, "map-keys")
    page.keyboard.press("Enter")
    menu = piece.get_by_role("menu")
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(focused).to_have_attribute("data-key", first)
    words = focused.get_attribute("aria-label")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(piece.locator(".esnb-chip")).to_have_count(1)
    # The map is another one; what had the focus has it still.
    expect(focused).to_have_attribute("aria-label", re.compile(words.split(":")[0] + ": count"))
    label, _ = eval(notebook.python(STREAMS))  # noqa: S307 (a tuple that we print)
    source, target = label.split(" → ")
    assert words.startswith(f"From {source} to {target}: count")

    # Keys of the notebook are left alone: b would make a cell.
    before = piece.locator("svg.esnb-map-svg").get_attribute("width")
    page.keyboard.press("b")
    page.keyboard.press("+")
    expect(piece.locator("svg.esnb-map-svg")).not_to_have_attribute("width", before)
    page.keyboard.press("0")
    notebook.part(piece, "map-fit")
    assert len(notebook.cells()) == cells

    page.keyboard.press("t")
    grid = piece.get_by_role("grid")
    expect(grid.get_by_role("row").nth(1)).to_contain_text("start")
    grid.get_by_role("row").nth(2).click()
    notebook.part(piece, "map-table")
    page.keyboard.press("Enter")
    expect(menu.get_by_role("menuitem").first).to_contain_text("Cases that go")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    notebook.tells("print(flow_map.settings['view'])", "table")
    assert notebook.errors == []
