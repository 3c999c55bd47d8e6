"""A report, opened from its file: pictures are there, nothing runs, nothing is asked for."""

import os
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from esnb.cli import main
from tests.report.test_report import ATTACK

pytestmark = pytest.mark.browser
v4 = nbformat.v4
CELLS = [
    v4.new_markdown_cell("# Orders of a month\n\nWhat changed, and by whom."),
    v4.new_code_cell('import esnb\n%load_ext esnb\nmonth, until = "2026-01-01", "2026-02-01"'),
    v4.new_code_cell('place = "../data/shop"\nmost = 5', metadata={"tags": ["parameters"]}),
    v4.new_code_cell(
        "log = esnb.open(place, read_only=True)\n"
        'session = esnb.widget.Session(log, "order", window=(month, until))\n'
        "esnb.widget.StateDiff(session)"
    ),
    v4.new_code_cell("esnb.chart.flow_map(session.flow(), coverage=0.8)"),
    v4.new_code_cell("%%esql\nselect stream, event_type from events where position < $most"),
    v4.new_code_cell(f"from IPython.display import HTML\nHTML({ATTACK!r})"),
    v4.new_markdown_cell(f"That was hostile, and so is this. {ATTACK}"),
]  # fmt: skip


@pytest.fixture(scope="module")
def made(lab, tmp_path_factory):
    path = lab.root / "notebooks" / "report.ipynb"
    nbformat.write(v4.new_notebook(cells=CELLS), path)
    target = tmp_path_factory.mktemp("report") / "month.html"
    try:
        assert main(["report", str(path), "-p", "most=3", "-o", str(target)]) == 0
    finally:
        path.unlink()
    return target


def test_a_report_from_its_file(made, context):
    folder = os.environ.get("SCREENSHOTS")
    pictures = Path(folder) if folder else None
    page = context.new_page()
    asked, told = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.goto(made.as_uri())
    expect(page).to_have_title("Orders of a month")
    shown = page.locator("img[src]")
    expect(shown).to_have_count(2)
    for place in range(2):
        wide = shown.nth(place).evaluate("node => [node.complete, node.naturalWidth]")
        assert wide[0]
        assert wide[1] > 200
    expect(page.locator("dl.facts")).to_contain_text("Parameter most")
    expect(page.locator("dl.facts")).to_contain_text("up to position 50,")
    expect(page.locator("table").last).to_contain_text("event_type")
    assert page.locator("table").last.locator("tbody tr").count() == 3
    # Nothing ran, and nothing but the file itself and its own pictures was asked for.
    assert page.evaluate("window.__x") is None
    assert page.locator("script, iframe, link, object").count() == 0
    assert [url for url in asked if not url.startswith(("data:", made.as_uri()))] == []
    assert told == []
    # The code is there, folded.
    code = page.locator("details.code pre").first
    expect(code).to_be_hidden()
    page.locator("details.code summary").first.click()
    expect(code).to_be_visible()
    for wide in (1100, 600):
        page.set_viewport_size({"width": wide, "height": 1200})
        beyond = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert beyond <= 0, wide
        if pictures is not None:
            page.screenshot(path=pictures / f"report-{wide}.png", full_page=True)
            if wide == 1100:
                page.screenshot(path=pictures / "report.png")
    # On paper: black on white, without the code.
    page.emulate_media(media="print")
    expect(page.locator("details.code").first).to_be_hidden()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    if pictures is not None:
        page.pdf(path=pictures / "report.pdf")
    page.close()
