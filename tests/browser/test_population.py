"""All aggregates over time, as a user moves through them: counts, exact states, the session."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.test_replay import LONG, pictures, told

pytestmark = pytest.mark.browser

CELL = """
import esnb
from esnb.examples.shop import Order
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order")
orders = log.timeline(Order)
population = esnb.widget.Population(orders, "status", session=session, key="all")
population
"""
CHIPS = "esnb.widget.Chips(session)"
COUNTS = (
    "dict(orders.as_of('{}').aggregate('status, count(*)', 'status').order('status').fetchall())"
)


def shown(piece):
    rows = piece.get_by_role("table", name="Aggregates by value").locator("tbody tr")
    cells = rows.evaluate_all(
        "rows => rows.map(row => [row.children[0].textContent, row.children[2].textContent])"
    )
    return {name: int(count.replace(",", "")) for name, count in cells if count != "0"}


def test_time_moves_counts_and_rows_together(notebook):
    page = notebook.of(CELL, CHIPS).page
    assert notebook.cell_errors() == []
    piece = page.get_by_role("group", name="Replay of all aggregates")
    status = piece.locator(".esnb-status")
    expect(status).to_contain_text("tick 214 of 214", timeout=LONG)
    expect(status).to_contain_text("· exact ·", timeout=LONG)
    rows = piece.get_by_role("table", name="Aggregates at this time")
    expect(rows.locator("tbody tr")).to_have_count(50)
    assert shown(piece) == told(notebook, COUNTS.format("2026-04-02"))

    # One goes back by keys; the counts come from what is in the page.
    piece.focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    page.keyboard.press("k")
    expect(status).to_contain_text("tick 183 of 214")
    summary = piece.locator(".esnb-population-summary")
    expect(summary).to_contain_text("2026-03-02 00:00")
    expect(status).to_contain_text("· exact ·", timeout=LONG)
    assert shown(piece) == told(notebook, COUNTS.format("2026-03-02"))
    chips = page.locator(".esnb-chip")
    expect(chips).to_have_text("as of 2026-03-02×")

    # A value, its aggregates, and those as the streams of the session.
    values = piece.get_by_role("table", name="Aggregates by value")
    values.get_by_role("row", name="cancelled").click()
    expect(piece.locator(".esnb-population-rows-head")).to_contain_text("status cancelled")
    cancelled = told(notebook, COUNTS.format("2026-03-02"))["cancelled"]
    pictures(notebook, piece, "population")
    piece.get_by_role("button", name="Take these streams").click()
    expect(chips.nth(1)).to_have_text(
        f"status cancelled as of 2026-03-02 00:00 ({cancelled:,})×", timeout=LONG
    )
    assert json.loads(notebook.python("print(len(session.streams))")) == cancelled
    page.set_viewport_size({"width": 900, "height": 1500})
    pictures(notebook, piece, "population-900")
    page.set_viewport_size({"width": 1100, "height": 1500})

    # A drag writes the moment when it ends, not before.
    chart = piece.get_by_role("slider", name="Time")
    box = chart.bounding_box()
    chart.hover(position={"x": box["width"] - 30, "y": 60})
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=5)
    expect(status).not_to_contain_text("exact ·")
    expect(chips.first).to_have_text("as of 2026-03-02×")
    page.mouse.up()
    expect(status).to_contain_text("· exact ·", timeout=LONG)
    expect(chips.first).not_to_have_text("as of 2026-03-02×")

    # Any time, not only ticks.
    piece.focus()
    page.keyboard.press("g")
    page.keyboard.type("2025-12-24 17:30")
    page.keyboard.press("Enter")
    expect(summary).to_contain_text("2025-12-24 17:30", timeout=LONG)
    assert shown(piece) == told(notebook, COUNTS.format("2025-12-24 17:30"))
    # The session goes first here.
    notebook.python("session.as_of = '2025-10-05'")
    expect(summary).to_contain_text("2025-10-05 00:00", timeout=LONG)
    assert notebook.errors == []


def test_other_fields_other_ticks_and_playing(notebook):
    page = notebook.of(CELL).page
    piece = page.get_by_role("group", name="Replay of all aggregates")
    status = piece.locator(".esnb-status")
    expect(status).to_contain_text("tick 214 of 214", timeout=LONG)
    piece.get_by_role("combobox", name="Ticks").select_option("week")
    # The moment stays; it lies behind this tick.
    expect(status).to_contain_text("tick 31 of 32, one every week", timeout=LONG)
    expect(piece.locator(".esnb-population-summary")).to_contain_text("2026-04-02 00:00")
    piece.get_by_role("combobox", name="Count by").select_option("city")
    values = piece.get_by_role("table", name="Aggregates by value")
    expect(values.get_by_role("row", name="Berlin")).to_be_visible(timeout=LONG)
    expect(status).to_contain_text("values drawn apart")
    # Names in the areas, none over another one.
    labels = piece.locator(".esnb-population-label")
    over, named = labels.evaluate_all(
        """all => {
             const boxes = all.map(label => label.getBoundingClientRect());
             const pairs = boxes.flatMap((a, i) => boxes.slice(i + 1).map(b => [a, b]));
             return [pairs.filter(([a, b]) => a.left < b.right && b.left < a.right
               && a.top < b.bottom && b.top < a.bottom).length, all.length];
           }"""
    )
    assert over == 0
    assert named > 0
    pictures(notebook, piece, "population-city")
    notebook.tells("print(repr('city') in population.code)", "True")
    ticks = piece.get_by_role("combobox", name="Ticks")
    ticks.select_option("hour")
    expect(status).to_contain_text("one every hour", timeout=LONG)
    expect(status).to_contain_text("the chart shows")
    piece.get_by_role("combobox", name="Count by").select_option("items")
    expect(piece.get_by_role("alert")).to_contain_text("too many to draw", timeout=LONG)
    expect(piece.get_by_role("combobox", name="Count by")).to_have_value("city")
    piece.get_by_role("button", name="Close", exact=True).click()
    ticks.select_option("week")
    expect(status).to_contain_text("one every week", timeout=LONG)

    piece.get_by_role("button", name="10×").click()
    piece.focus()
    page.keyboard.press("Home")
    expect(status).to_contain_text("tick 1 of 32")
    page.keyboard.press("Space")
    expect(status).to_contain_text("tick 32 of 32", timeout=LONG)
    expect(piece.get_by_role("button", name="▶ Play")).to_be_visible()
    expect(status).to_contain_text("· exact ·", timeout=LONG)
    # Run again, it is where it was.
    notebook.run_all()
    expect(piece).to_have_count(1)
    expect(status).to_contain_text("tick 32 of 32, one every week", timeout=LONG)
    assert notebook.errors == []
