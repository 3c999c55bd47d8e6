"""The investigation, as a user goes through it: every piece does what the text says."""

import pytest
from playwright.sync_api import expect

from tests.browser.pieces import named, pictures, piece

pytestmark = pytest.mark.browser


def test_the_investigation_in_the_lab(notebook):
    page = notebook.open("notebooks/05_investigate.ipynb").run_all().page
    assert notebook.cell_errors() == []
    # A warning would stand here.
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    expect(page.get_by_text("45 orders, 10,610.94 missing in the books.")).to_be_visible()

    # Stepping to the event that cut the total tells the session which one it is.
    replay = piece(page, "Replay of one stream")
    status = replay.locator(".esnb-status")
    expect(status).to_contain_text("event 12 of 12")
    replay.focus()
    page.keyboard.press("k")
    changes = replay.get_by_role("table", name="Changed by this event")
    expect(changes.locator("tbody tr")).to_have_text('~total"1065.00""447.30"')
    notebook.tells("print(session.event_id == event_id, replay.stream)", "True order-2514")
    chips = piece(page, "What narrows the view").locator(".esnb-chip")
    expect(chips.filter(has_text="45")).to_have_count(1)

    # What the hand did: sorted, a row looked at, only rows like it, and back.
    hand, evidence = piece(page, "Table of rows").first, piece(page, "Table of rows").last
    expect(hand.locator(".esnb-status")).to_contain_text("45 of 45 rows")
    named(notebook, "hand_table", "EventTable")
    heading = hand.get_by_role("columnheader", name="occurred_on")
    heading.click()
    heading.click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    newest = notebook.python(
        "print(hand.order('occurred_on desc').project('stream').fetchone()[0])"
    )
    expect(hand.locator(".esnb-row").first).to_contain_text(newest)
    hand.locator(".esnb-row").first.click()
    details = hand.get_by_role("region", name="Details of the row")
    expect(details).to_contain_text(newest)
    notebook.tells("print(hand_table.selected['stream'])", newest)
    details.get_by_role("button", name="Only rows with this stream").click()
    expect(hand.locator(".esnb-status")).to_contain_text("1 of 45 rows")
    notebook.tells("print(len(hand_table.data()))", "1")
    hand.get_by_role("button", name="Take back: stream").click()
    expect(hand.locator(".esnb-status")).to_contain_text("45 of 45 rows")
    # No time and no name is cut.
    cut = hand.locator(".esnb-grid-view .esnb-cell").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
    )
    assert cut == []
    pictures(notebook, table=hand)

    # A window, its chip, and the way back.
    timeline = piece(page, "Timeline")
    expect(timeline.locator(".esnb-status")).to_contain_text("348 of 25,705 events")
    notebook.drag(timeline.locator(".esnb-timeline-over"), 400, 520, 30)
    expect(chips).to_have_count(4)
    notebook.tells("print(session.window is None, len(session.events()) < 348)", "False True")
    timeline.get_by_role("button", name="All time").click()
    expect(timeline.locator(".esnb-status")).to_contain_text("348 of 25,705 events")
    notebook.tells("print(session.window)", "None")

    # What changed in the month: a field, and the deepest cut first.
    diff = piece(page, "Difference")
    expect(diff.locator(".esnb-diff-total")).to_contain_text("differ")
    named(notebook, "difference", "StateDiff")
    diff.get_by_role("button", name="total:").click()
    diff.get_by_role("group", name="Kind of change").get_by_role("button", name="changed").click()
    expect(diff.locator(".esnb-row").first).to_contain_text("order-2514")
    diff.locator(".esnb-row").first.click()
    expect(diff.locator(".esnb-diff-table")).to_contain_text("r.voss")
    notebook.tells("print(*map(difference.settings.get, ('field', 'stream')))", "total order-2514")

    # A box of the map chooses among the corrected orders.
    flow_map = piece(page, "Flow map")
    start = flow_map.locator(".esnb-map-end").first
    expect(start).to_have_text("start 45")
    named(notebook, "corrected_map", "FlowMap")
    flow_map.locator(".esnb-map-box").filter(has_text="PaymentFailed").click()
    flow_map.get_by_role("menuitem").first.click()
    failed = notebook.python("print(len(corrected.only(with_='PaymentFailed').streams()))")
    expect(start).to_have_text(f"start {failed}")
    notebook.tells("print(len(corrected_map.streams()))", failed)
    flow_map.locator(".esnb-chip").get_by_role("button").click()
    expect(start).to_have_text("start 45")

    # The evidence is searched.
    expect(evidence.locator(".esnb-status")).to_contain_text("45 of 45 rows")
    evidence.focus()
    page.keyboard.press("/")
    page.keyboard.type("order-2514")
    expect(evidence.locator(".esnb-status")).to_contain_text("1 of 45 rows")
    named(notebook, "evidence_table", "EventTable", -1)
    notebook.tells(
        "print(evidence_table.data().project('event_id').fetchone()[0] == event_id)", "True"
    )
    assert page.locator(".progress-bar-danger, .bar-danger").count() == 0
    for output in page.locator(".jp-OutputArea-output").all():
        wide = output.evaluate("node => node.scrollWidth - node.clientWidth")
        assert wide <= 0, output.inner_text()[:200]
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.picture(f"investigate-{name}")
    assert notebook.errors == []
