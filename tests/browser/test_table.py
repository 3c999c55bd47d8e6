"""The table of rows, as a user has it under the hand: keys, headings, search, a session."""

import json
import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """
import esnb
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order")
table = esnb.widget.EventTable(session)
table
"""
HOSTILE = """
import esnb, pyarrow as pa
evil = ['<img src=x onerror="window.__x=1">', "</script><script>window.__x=1</script>",
        "javascript:alert(1)", "$x^2$", "\\u202eabc\\x1b[31m", "a\\nb", None, "x" * 1_000_000]
rows = esnb.widget.EventTable(pa.table({
    '<b onclick="window.__x=1">': evil, "event_id": [str(n) for n in range(8)],
    "data": ['{"<i>k</i>": "<img src=x onerror=window.__x=1>", "n": 12345678901234567.890}'] * 8,
}))
rows
"""


def count(page, text):
    # The first one waits for the kernel to send the code of the widget.
    expect(page.locator(".esnb-status")).to_contain_text(text, timeout=60_000)


def value(notebook, text):
    return json.loads(notebook.python(f"import json; print(json.dumps({text}, default=str))"))


def test_a_table_under_the_hand(notebook):
    page = notebook.of(CELL, "session.event_id").page
    assert notebook.cell_errors() == []
    count(page, "50,597 events; times in Europe/Berlin")
    grid = page.get_by_role("grid")
    rows = grid.locator(".esnb-row")
    # The first event of an order, in the middle of the log; never more than what is in sight.
    expect(rows.first).to_contain_text("order-")
    assert rows.count() < 20
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(page.locator(".esnb-piece"), f"table-{name}")

    # A heading sorts, up, down, and not at all; with the keyboard too.
    heading = grid.get_by_role("columnheader", name="event_type")
    heading.click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    expect(rows.first).to_contain_text("AddressChanged")
    heading.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    count(page, "by event_type, descending")
    notebook.tells("print(table.settings['descending'])", "True")

    # The end, and back, with keys that the notebook would take for its own.
    cells = page.evaluate("window.nb.content.widgets.length")
    grid.focus()
    page.keyboard.press("End")
    expect(grid.locator('.esnb-row[aria-selected="true"]')).to_have_attribute(
        "aria-rowindex", str(value(notebook, "table.ask_open()['count']"))
    )
    details = page.get_by_role("region", name="Details of the row")
    expect(details).to_contain_text("event_id")
    for key in ("Home", "ArrowDown", "ArrowDown", "b", "x", "c"):
        page.keyboard.press(key)
    expect(details).to_contain_text("Row 3 of")
    assert page.evaluate("window.nb.content.widgets.length") == cells
    shown = re.search(r"event_id\W*([0-9a-f-]{36})", details.text_content())[1]
    notebook.tells("print(session.event_id, table.selected['event_id'])", f"{shown} {shown}")
    chosen = value(notebook, "table.selected")
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(page.locator(".esnb-piece"), f"table-details-{name}")

    # Only rows with this value, and back.
    details.get_by_role("button", name="Only rows with this event_type").click()
    expect(page.locator(".esnb-chip")).to_have_text([f"event_type is {chosen['event_type']}×"])
    count(
        page,
        f"{value(notebook, 'table.ask_open()[chr(99)+chr(111)+chr(117)+chr(110)+chr(116)]'):,} of",
    )
    page.get_by_role("button", name="Take back: event_type").click()
    expect(page.locator(".esnb-chip")).to_have_count(0)

    # Find: '/' goes to the field, and letters stay letters there.
    grid.focus()
    page.keyboard.press("/")
    page.keyboard.type("ordercorrected")
    wanted = value(notebook, "len(log.events(category='order', event_type='OrderCorrected'))")
    count(page, f"{wanted} of 50,597")
    notebook.tells("print(table.settings['find'])", "ordercorrected")
    page.keyboard.press("Escape")

    # Columns.
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("checkbox", name="recorded_on").check()
    expect(grid.get_by_role("columnheader", name="recorded_on")).to_be_visible()
    notebook.part(page.locator(".esnb-piece"), "table-columns")
    page.get_by_role("button", name="The usual ones").click()
    expect(grid.get_by_role("columnheader", name="recorded_on")).to_have_count(0)

    # What others choose in the session is chosen here.
    notebook.python("table.change(find='', sort=None)")
    notebook.python("session.event_id = next(iter(log.events(stream='order-9').fetchall()))[1]")
    expect(details).to_contain_text("order-9")
    notebook.python("session.window = ('2026-01-01', '2026-02-01')")
    expect(page.locator(".esnb-table-fixed").nth(1)).to_contain_text("2026-01-01 to 2026-02-01")
    code = notebook.python("print(table.code)")
    assert code == "esnb.widget.EventTable(session)"
    assert notebook.errors == []


def test_a_menu_of_a_heading_and_of_a_cell(notebook):
    page = notebook.of(CELL).page
    count(page, "50,597 events")
    grid = page.get_by_role("grid")
    grid.get_by_role("columnheader", name="actor").click(button="right")
    page.get_by_role("menuitem", name="Hide actor").click()
    expect(grid.get_by_role("columnheader", name="actor")).to_have_count(0)
    first = grid.locator(".esnb-row").first.locator(".esnb-cell").nth(2)
    name = first.text_content()
    first.click(button="right")
    notebook.part(page.locator(".esnb-piece"), "table-menu")
    page.get_by_role("menuitem", name="Only rows with this stream").click()
    expect(page.locator(".esnb-chip")).to_have_text([f"stream is {name}×"])
    page.set_viewport_size({"width": 900, "height": 900})
    grid.locator(".esnb-row").first.click()
    expect(page.get_by_role("region", name="Details of the row")).to_contain_text(name)
    notebook.part(page.locator(".esnb-piece"), "table-900")
    page.set_viewport_size({"width": 1100, "height": 1500})
    notebook.python("table.change(filters=[('data', 'contains', 'no such text')])")
    expect(page.locator(".esnb-empty")).to_have_text("No events fulfil these conditions.")
    notebook.part(page.locator(".esnb-piece"), "table-empty")
    assert notebook.errors == []


def test_nothing_in_a_row_is_more_than_text(notebook):
    page = notebook.of(HOSTILE).page
    count(page, "8 of 8 rows")
    grid = page.get_by_role("grid")
    expect(grid.locator(".esnb-row").first).to_contain_text('<img src=x onerror="window.__x=1">')
    expect(grid.locator(".esnb-row").nth(4)).to_contain_text("U+202EabcU+001B[31m")
    expect(grid.locator(".esnb-row").nth(5)).to_contain_text("aU+000Ab")
    grid.locator(".esnb-row").first.click()
    details = page.get_by_role("region", name="Details of the row")
    expect(details).to_contain_text('<i>k</i>: "<img src=x onerror=window.__x=1>"')
    expect(details).to_contain_text("12345678901234567.890")
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(page.locator(".esnb-piece"), f"table-hostile-{name}")
    grid.locator(".esnb-row").nth(7).click()
    expect(details).to_contain_text("1,000,000 characters; Copy row has all of them")
    assert page.evaluate("window.__x") is None
    assert page.locator("mjx-container").count() == 0
    assert notebook.errors == []


def test_the_answer_to_a_question_is_a_table(notebook):
    page = notebook.of(
        'import esnb\n%load_ext esnb\nlog = esnb.open("../data/shop", read_only=True)',
        "%%esql\nSELECT stream, event_type, occurred_on, actor, data->>'$.total' AS total,\n"
        "       '$5 and $6' AS price\n"
        "FROM events WHERE category = 'order' ORDER BY position LIMIT 500",
        "_.attrs['sql'][:6], type(_).__name__, len(_)",
    ).page
    assert notebook.cell_errors() == []
    count(page, "500 of 500 rows")
    expect(page.locator(".esnb-row").first).to_contain_text("$5 and $6")
    expect(page.locator(".jp-OutputArea").nth(2)).to_contain_text("('SELECT', 'DataFrame', 500)")
    assert page.locator("mjx-container").count() == 0
    expect(page.locator(".esnb-fallback")).to_be_hidden()
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(page.locator(".jp-Notebook .jp-Cell").nth(1), f"esql-{name}")
    assert notebook.errors == []
