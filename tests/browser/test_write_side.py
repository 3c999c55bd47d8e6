"""The notebook of the write side, as a user sees it."""

import pytest
from playwright.sync_api import expect

from tests.browser.pieces import named, piece, standing

pytestmark = pytest.mark.browser


def test_the_write_side_in_the_lab(notebook):
    page = notebook.open("notebooks/04_write_side.ipynb").run_all().page
    assert notebook.cell_errors() == []
    # A warning would stand here.
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

    # What was refused, and what happened once.
    said = page.locator(".jp-OutputArea-output")
    for text in (
        "refused: a job is collected when all is mended",
        "again accepted: JobCollected",
        "other events happened",
        "1 event behind before, 0 after",
        "only what is in stock is reserved",
        "45 of 156 would have been refused",
    ):
        expect(page.locator(".jp-OutputArea").filter(has_text=text).first).to_be_visible()

    # How the sagas stood at last, row by row.
    last = page.locator(".jp-OutputArea-output table").filter(has_text="order is").last
    rows = [row.split() for row in last.locator("tbody tr").all_inner_texts()]
    assert [row[1:4] for row in rows] == [
        ["1", "running", "shipped"],
        ["2", "running", "shipped"],
        ["3", "done", "refunded"],
        ["4", "done", "cancelled"],
    ]

    charts = page.locator(".jp-OutputArea-output .vega-embed svg.marks")
    expect(charts).to_have_count(1)
    expect(charts).to_contain_text("Flow map")
    expect(charts).to_contain_text("ParcelSent")
    assert page.locator(".progress-bar-danger, .bar-danger").count() == 0
    texts = page.locator(".jp-RenderedText pre").all_inner_texts()
    assert texts
    assert [text for text in texts if "│ … │" in text] == []
    # A table of text that is too wide is broken, line by line.
    assert max(len(line) for text in texts for line in text.splitlines()) <= 118
    for output in said.all():
        wide = output.evaluate("node => node.scrollWidth - node.clientWidth")
        assert wide <= 0, output.inner_text()[:200]

    # The saga is stepped through: what it was refused, and how it stood then.
    replay = piece(page, "Replay of one stream")
    status = replay.locator(".esnb-status")
    expect(status).to_contain_text("event 12 of 12")
    named(notebook, "saga_replay", "Replay")
    replay.focus()
    page.keyboard.press("/")
    page.keyboard.type("refused")
    expect(status).to_contain_text("3 in sight, the hidden ones apply")
    page.keyboard.press("Escape")
    page.keyboard.press("Home")
    expect(status).to_contain_text("event 6 of 12")
    state = replay.get_by_role("tree")
    expect(state.get_by_role("treeitem", name="status: running")).to_be_visible()
    notebook.tells(
        standing("little", "saga_replay", "event_type, stream"), "SagaRefused fulfilment-3"
    )
    page.keyboard.press("j")
    expect(status).to_contain_text("event 7 of 12")
    notebook.tells(standing("little", "saga_replay", "revision"), "6")

    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.picture(f"write-side-{name}")
    assert notebook.errors == []
