"""The bar of a session, as a user sees it: chips that come from Python, and go with a click."""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """
import esnb
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order", window=("2026-01-01", "2026-02-01"))
esnb.widget.Chips(session)
"""


def test_a_session_is_told_and_taken_back(notebook):
    page = notebook.of(CELL).page
    assert notebook.cell_errors() == []
    chips = page.locator(".esnb-chip")
    expect(chips).to_have_text(["2026-01-01 to 2026-02-01 (occurred, Europe/Berlin)×"])
    # What stands for it without a kernel is there, and not seen.
    expect(page.locator(".esnb-fallback")).to_have_count(1)
    expect(page.locator(".esnb-fallback")).to_be_hidden()

    notebook.python("session.event_types = ['<img src=x onerror=\"window.__x=1\">']")
    expect(chips).to_have_count(2)
    expect(chips.nth(1)).to_contain_text('<img src=x onerror="window.__x=1">')
    assert page.evaluate("window.__x") is None

    page.get_by_role("button", name="Take back: 2026").click()
    expect(chips).to_have_count(1)
    assert json.loads(notebook.python("import json; print(json.dumps(session.chips()))")) == [
        {"trait": "event_types", "words": '<img src=x onerror="window.__x=1">'}
    ]
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".esnb-status")).to_contain_text("everything")
    notebook.tells("print(session)", "Session(order: everything)")
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(page.locator(".esnb-piece"), f"session-{name}")
    assert notebook.errors == []
