"""The notebook of time travel, as a user sees it."""

import pytest
from playwright.sync_api import expect

from tests.browser.pieces import named, pictures, piece, standing

pytestmark = pytest.mark.browser


def test_time_travel_in_the_lab(notebook):
    page = notebook.open("notebooks/02_time_travel.ipynb").run_all().page
    assert notebook.cell_errors() == []
    # A warning would stand here.
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

    chart = page.locator(".jp-OutputArea-output .vega-embed svg.marks")
    expect(chart).to_have_count(1)
    expect(chart).to_contain_text("How long orders waited for their money")
    expect(chart).to_contain_text("still waiting")

    # Explanation, periods and what if are tables of their own.
    tables = page.locator(".jp-OutputArea-output table")
    for caption in (
        "Order: how each field is folded",
        "still going on; the first 10",
        "aggregates that differ",
    ):
        expect(tables.filter(has_text=caption).first).to_be_visible()
    expect(page.get_by_text("45 events taken out, 0 put in; 45 aggregates touched")).to_be_visible()
    # A bar that is done is gone; a red one says that something went wrong.
    assert page.locator(".progress-bar-danger, .bar-danger").count() == 0
    assert page.locator(".jp-OutputArea .widget-hbox:visible").count() == 0
    # Nothing is cut off in tables of text: no column gives way to an ellipsis.
    texts = page.locator(".jp-RenderedText pre").all_inner_texts()
    assert texts
    assert [text for text in texts if "│ … │" in text] == []
    for output in page.locator(".jp-OutputArea-output").all():
        wide = output.evaluate("node => node.scrollWidth - node.clientWidth")
        assert wide <= 0, output.inner_text()[:200]

    # One order, on the clock by which things happened.
    replay = piece(page, "Replay of one stream")
    status = replay.locator(".esnb-status")
    expect(status).to_contain_text("event 9 of 9")
    named(notebook, "replay", "Replay")
    replay.get_by_role("button", name="occurred", exact=True).click()
    expect(status).to_contain_text("in the order in which they happened")
    replay.focus()
    page.keyboard.press("Home")
    page.keyboard.press("j")
    expect(status).to_contain_text("event 2 of 9")
    notebook.tells(standing("log", "replay", "revision"), "1")
    notebook.tells("print(replay.clock)", "occurred")

    # From a field to the orders that differ in it, and to the event behind the difference.
    diff = piece(page, "Difference")
    expect(diff.locator(".esnb-diff-total")).to_contain_text("of 3,073 differ")
    named(notebook, "difference", "StateDiff")
    diff.get_by_role("button", name="total:").click()
    expect(diff.locator(".esnb-status")).to_contain_text("largest difference first")
    diff.get_by_role("group", name="Kind of change").get_by_role("button", name="changed").click()
    expect(diff.locator(".esnb-row").first).to_contain_text("order-1647")
    diff.focus()
    page.keyboard.press("n")
    expect(diff.locator(".esnb-diff-stream")).to_have_text("order-1647")
    cause = diff.locator(".esnb-diff-table tr").filter(has_text="726.1")
    expect(cause).to_contain_text("OrderCorrected")
    expect(cause).to_contain_text("r.voss")
    notebook.tells(
        "print(*map(difference.settings.get, ('field', 'change', 'stream')))",
        "total changed order-1647",
    )

    # The answer of a cell in SQL is sorted and searched.
    table = piece(page, "Table of rows")
    rows = table.locator(".esnb-row")
    expect(rows.first).to_contain_text("Berlin")
    named(notebook, "table", "EventTable")
    table.get_by_role("columnheader", name="city").click()
    table.get_by_role("columnheader", name="city").click()
    expect(rows.first).to_contain_text("Łódź")
    notebook.tells("print(table.settings['sort'], table.settings['descending'])", "city True")
    notebook.tells("print(table.data().fetchone()[0])", "Łódź")
    table.focus()
    page.keyboard.press("/")
    page.keyboard.type("wien")
    expect(table.locator(".esnb-status")).to_contain_text("1 of 11 rows")
    notebook.tells("print(len(table.data()))", "1")
    # No name is cut where there is room.
    cut = table.locator(".esnb-cell").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
    )
    assert cut == []

    pictures(notebook, state_diff=diff)
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.picture(f"time-travel-{name}")
    assert notebook.errors == []
