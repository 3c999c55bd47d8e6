"""Differences of two states, as a user sees them."""

import json

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """
import esnb
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order", window=("2026-01-01", "2026-02-01"))
diff = esnb.widget.StateDiff(session)
diff
"""
HOSTILE = """
import tempfile, esnb
bad = '<img src=x onerror="window.__x=1">\\u202e$x$</script>'
log = esnb.create(tempfile.mkdtemp() + "/log", zone="UTC")
log.append("order-" + bad, [esnb.DomainEvent(bad, {bad: {bad: bad}, "n": 2**60}, actor=bad)])
diff = esnb.widget.StateDiff(log, None, None, of="order", raw=True)
diff
"""


def cause(notebook, stream, name):
    """What Python says of the first event behind a difference of an aggregate."""
    asked = f"diff._answered('one', {{'stream': {stream!r}}}).content"
    return notebook.python(f"print({asked}['events'][0][{name!r}])")


def test_from_the_population_to_the_event(notebook):
    page = notebook.of(CELL).page
    assert notebook.cell_errors() == []
    piece = page.locator(".esnb-piece")
    # As many as Python counts.
    counts = json.loads(
        notebook.python(
            "import json; told = diff._answered('open', {}).content;"
            "print(json.dumps([told['population'], told['streams']]))"
        )
    )
    differ = sum(counts[1].values())
    expect(piece.locator(".esnb-diff-total")).to_have_text(f"{differ:,} of {counts[0]:,} differ")
    kinds = piece.get_by_role("group", name="Kind of change")
    expect(kinds).to_contain_text(f"+ added {counts[1]['added']:,}")
    expect(piece.locator(".esnb-status")).to_contain_text(f"{differ:,} of {counts[0]:,} listed")
    expect(piece.locator(".esnb-status")).to_contain_text("times in Europe/Berlin")
    notebook.part(piece, "population")

    # A field: what went over into what, the largest first; the session looks at them.
    piece.get_by_role("button", name="total:").click()
    expect(piece.locator(".esnb-status")).to_contain_text("largest difference first")
    notebook.tells(
        "print(session.streams is not None and session.streams.label)",
        "total differs: 2026-01-01 to 2026-02-01",
    )
    kinds.get_by_role("button", name="changed").click()
    listed, first = notebook.python(
        "found = diff.timeline.compare('2026-01-01', '2026-02-01').streams('total', 'changed');"
        "rows = found.fetchall(); print(len(rows), rows[0][0])"
    ).split()
    expect(piece.locator(".esnb-status")).to_contain_text(f"{listed} of {counts[0]:,} listed")
    expect(piece.locator(".esnb-row").first).to_contain_text(first)

    # The keys: next, before, unified, raw; the notebook's own keys are left alone.
    cells = len(notebook.cells())
    piece.focus()
    piece.press("n")
    expect(piece.locator(".esnb-diff-stream")).to_have_text(first)
    total = piece.locator(".esnb-diff-table tr").filter(has_text="total")
    event = cause(notebook, first, "type")
    expect(piece.locator(".esnb-diff-table")).to_contain_text(event)
    expect(total.first).to_be_visible()
    piece.press("n")
    expect(piece.locator(".esnb-diff-stream")).not_to_have_text(first)
    piece.press("p")
    expect(piece.locator(".esnb-diff-stream")).to_have_text(first)
    piece.press("u")
    expect(piece.locator(".esnb-diff-unified")).to_contain_text("total")
    piece.press("r")
    expect(piece.locator(".esnb-diff-raw")).to_contain_text('"total"')
    piece.press("u")
    expect(piece.locator(".esnb-diff-two")).to_contain_text('"total"')
    notebook.tells(
        "print(*map(diff.settings.get, ('view', 'raw', 'stream')))", f"side True {first}"
    )
    assert len(notebook.cells()) == cells

    # The event behind a value goes to the session.
    piece.locator(".esnb-diff-event").first.click()
    notebook.tells("print(session.event_id)", cause(notebook, first, "id"))
    notebook.tells("print(session.streams.label)", first)

    # A file, from the keyboard.
    piece.focus()
    piece.press("x")
    expect(piece.get_by_role("menuitem").first).to_be_focused()
    with page.expect_download() as started:
        page.keyboard.press("Enter")
    assert started.value.suggested_filename == "diff-order.csv"
    expect(piece.locator(".esnb-status")).to_contain_text("diff-order.csv")

    # The window of the session is A and B; what is typed is the window.
    notebook.python("session.window = ('2025-12-01', '2025-12-24')")
    ends = piece.locator("input.esnb-diff-end")
    expect(ends.nth(0)).to_have_value("2025-12-01")
    ends.nth(1).fill("2025-12-20 12:00")
    ends.nth(1).press("Enter")
    expect(piece.locator(".esnb-problem")).to_be_hidden()
    notebook.tells("print(session.window[1])", "2025-12-20 11:00:00+00:00")
    ends.nth(0).fill("someday")
    ends.nth(0).press("Enter")
    expect(piece.locator(".esnb-problem")).to_contain_text("someday")
    piece.get_by_role("button", name="Close").click()
    ends.nth(0).fill("2025-12-20 12:00")
    ends.nth(0).press("Enter")
    expect(piece.locator(".esnb-empty")).to_contain_text("Nothing differs between")
    notebook.part(piece, "empty")

    notebook.python("diff.change(a='2026-01-01', b='2026-02-01', field=None, change=None)")
    expect(piece.locator(".esnb-diff-total")).to_contain_text(f"{differ:,} of")
    expect(piece.locator(".esnb-diff-raw")).to_be_visible()
    for wide in (1100, 900):
        page.set_viewport_size({"width": wide, "height": 1500})
        for name in ("light", "dark"):
            notebook.theme(name)
            notebook.part(piece, f"diff-{wide}-{name}")
        beyond = piece.evaluate("node => node.scrollWidth - node.clientWidth")
        assert beyond <= 0, wide
    assert notebook.errors == []


def test_another_category_is_chosen(notebook):
    cell = CELL.replace('log, "order", window', "log, window")
    page = notebook.of(cell.replace("StateDiff(session)", 'StateDiff(session, of="order")')).page
    assert notebook.cell_errors() == []
    piece = page.locator(".esnb-piece")
    total = piece.locator(".esnb-diff-total")
    expect(total).to_contain_text("differ")
    piece.get_by_role("button", name="total:").click()
    piece.locator(".esnb-row").first.click()
    expect(piece.locator(".esnb-diff-stream")).to_contain_text("order-")
    category = piece.get_by_role("combobox", name="Category")
    category.select_option("payment")
    payments = notebook.python('print(f\'{len(log.timeline("payment").as_of("2026-02-01")):,}\')')
    expect(total).to_contain_text(f"of {payments} differ")
    expect(piece.locator(".esnb-diff-one")).to_be_hidden()
    expect(piece.get_by_role("button", name="amount:")).to_be_visible()
    notebook.tells("print(diff.timeline.category, diff.settings['field'])", "payment None")
    notebook.tells("print(diff.code.endswith(\"of='payment')\"))", "True")
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.part(piece, f"diff-category-{name}")
    assert notebook.errors == []


def test_a_click_while_the_list_changes_is_not_lost(notebook):
    page = notebook.of(CELL).page
    piece = page.locator(".esnb-piece")
    expect(piece.locator(".esnb-status")).to_contain_text("listed")
    for milliseconds in range(0, 160, 20):
        expect(piece.locator(".esnb-row").first).to_contain_text("order-")
        # Two fields, one after the other, and a row before the list of the second has come.
        page.evaluate(
            """async (milliseconds) => {
              const rest = (time) => new Promise((go) => setTimeout(go, time));
              const field = (name) => document.querySelector(`[aria-label^="${name}"]`);
              field("any field").click();
              await rest(30);
              field("total").click();
              document.querySelector(".esnb-diff-one").hidden = true;
              await rest(milliseconds);
              document.querySelector(".esnb-row").click();
            }""",
            milliseconds,
        )
        expect(piece.locator(".esnb-diff-one")).to_be_visible()
        expect(piece.locator(".esnb-status")).to_contain_text("largest difference first")
    assert notebook.errors == []


def test_what_was_true_and_hostile_texts(notebook):
    page = notebook.of(HOSTILE).page
    assert notebook.cell_errors() == []
    piece = page.locator(".esnb-piece")
    row = piece.locator(".esnb-row").first
    expect(row).to_contain_text("order-<img src=x")
    row.click()
    expect(piece.locator(".esnb-diff-raw")).to_contain_text("U+202E$x$</script>")
    expect(piece.locator(".esnb-diff-raw")).to_contain_text(str(2**60))
    piece.get_by_role("button", name="as it was true").click()
    expect(piece.locator(".esnb-status")).to_contain_text("as it was true")
    expect(piece.locator(".esnb-diff-event").first).to_contain_text("<img src=x")
    notebook.part(piece, "hostile")
    assert page.evaluate("window.__x") is None
    assert page.locator("mjx-container").count() == 0
    assert notebook.errors == []
