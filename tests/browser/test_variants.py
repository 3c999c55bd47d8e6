"""Variants, as a user sees them: rows of steps, of which one chooses its cases."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """
import esnb
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order")
variants = esnb.widget.Variants(session, key="mine")
variants
"""
STREAMS = "print(None if session.streams is None else len(session.streams))"


def test_a_row_chooses_its_cases(notebook):
    page = notebook.of(CELL).page
    assert notebook.cell_errors() == []
    piece = page.locator(".esnb-piece")
    rows = piece.locator("[data-place]")
    expect(rows).to_have_count(50)
    expect(piece.locator(".esnb-status")).to_contain_text(
        "50 of 227 variants, 85.7 % of 4,000 cases"
    )
    first = rows.first
    expect(first.locator(".esnb-step")).to_have_text(
        ["OrderPlaced", "OrderConfirmed", "PaymentReceived", "OrderShipped", "OrderDelivered"]
    )
    expect(first).to_contain_text("631")
    expect(first).to_contain_text("15.8 %")
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(piece, f"variants-{name}")
    notebook.theme("light")
    page.set_viewport_size({"width": 900, "height": 1500})
    notebook.part(piece, "variants-900")
    page.set_viewport_size({"width": 1100, "height": 1500})

    rows.nth(2).click()
    expect(rows.nth(2)).to_have_attribute("aria-selected", "true")
    notebook.tells(STREAMS, "280")
    # The list goes on showing all variants.
    expect(rows).to_have_count(50)
    notebook.part(piece, "variants-chosen")

    # By keyboard: another row, and given back by Enter.
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(rows.nth(3)).to_have_attribute("aria-selected", "true")
    expect(rows.nth(3)).to_be_focused()
    page.keyboard.press("Enter")
    expect(piece.locator("[aria-selected=true]")).to_have_count(0)
    notebook.tells(STREAMS, "None")

    # Sorted by a heading, of all variants; short words; more rows.
    piece.get_by_role("button", name="Median").click()
    expect(piece.locator(".esnb-status")).to_contain_text("by median")
    notebook.tells("print(variants.settings['sort'])", "median_duration")
    longest = notebook.python(
        "print(log.flow('order').variants().order('median_duration desc').fetchone()[1])"
    )
    expect(rows.first.locator(".esnb-variants-length")).to_have_text(longest)
    piece.get_by_role("button", name="Short").click()
    expect(piece.locator(".esnb-map-legend")).to_contain_text("PaymentFailed")
    notebook.part(piece, "variants-short")
    piece.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(100)

    # A cell that is run again finds its settings; the window narrows the list.
    notebook.run_all()
    expect(rows).to_have_count(100)
    expect(piece.locator(".esnb-status")).to_contain_text("by median")
    notebook.python("session.window = ('2026-01-01', '2026-02-01')")
    expect(piece.locator(".esnb-status")).to_contain_text("100 of 133 variants")
    notebook.python("session.window = ('2016-01-01', '2016-02-01')")
    expect(piece).to_contain_text("No events in this window")
    assert notebook.errors == []
