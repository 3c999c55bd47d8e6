"""The notebook of time travel, as a user sees it."""

import pytest
from playwright.sync_api import expect

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

    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.picture(f"time-travel-{name}")
    assert notebook.errors == []
