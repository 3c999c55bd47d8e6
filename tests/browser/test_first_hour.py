"""The notebook of the first hour, as a user sees it."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.pieces import named, pictures, piece, standing

pytestmark = pytest.mark.browser


def test_the_first_hour_in_the_lab(notebook):
    page = notebook.open("notebooks/01_first_hour.ipynb").run_all().page
    assert notebook.cell_errors() == []

    charts = page.locator(".jp-OutputArea-output .vega-embed svg.marks")
    expect(charts).to_have_count(2)
    for title in ("Events over time by event_type", "States over time by status"):
        expect(charts.filter(has_text=title)).to_be_visible()
    assert page.locator(".mjx-container, mjx-container").count() == 0

    # A window is drawn on the timeline, and its events are stepped through.
    timeline = piece(page, "Timeline").first
    status = timeline.locator(".esnb-status")
    expect(status).to_contain_text("density")
    named(notebook, "timeline", "Timeline")
    notebook.drag(timeline.locator(".esnb-timeline-over"), 770, 776, 30)
    expect(status).to_contain_text("window")
    expect(status).not_to_contain_text("density")
    timeline.focus()
    page.keyboard.press("ArrowRight")
    first_event = "timeline.session.events().order('occurred_on, position').project('event_id')"
    notebook.tells(f"print(timeline.session.event_id == {first_event}.fetchone()[0])", "True")
    kind = notebook.python("print(log.event(timeline.session.event_id).event_type)")
    expect(timeline.locator(".esnb-timeline-event")).to_contain_text(kind)

    # All orders move by hand and by keyboard, and their counts follow.
    population = piece(page, "Replay of all")
    summary = population.locator(".esnb-population-summary")
    expect(summary).to_contain_text("2025-12-24")
    named(notebook, "population", "Population")
    notebook.drag(population.get_by_role("slider", name="Time"), 300, 620, 60)
    expect(population.locator(".esnb-status")).to_contain_text("· exact ·")
    reached = summary.locator("strong").text_content()
    notebook.tells(
        "print(esnb.instants.instant(population.settings['at'])"
        ".astimezone(esnb.instants.zone('Europe/Berlin')).strftime('%Y-%m-%d %H:%M'))",
        reached,
    )
    delivered = notebook.python(
        f"found = orders.as_of({reached!r}).filter(\"status = 'delivered'\");"
        "print(f'{len(found):,}')"
    )
    values = population.get_by_role("table", name="Aggregates by value")
    expect(values.get_by_role("row", name="delivered")).to_contain_text(delivered)
    population.get_by_role("textbox", name="Go to time").fill("2025-12-24")
    page.keyboard.press("Enter")
    expect(summary).to_contain_text("2025-12-24")
    population.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(summary).to_contain_text("2025-12-27")
    page.keyboard.press("ArrowLeft")
    expect(summary).to_contain_text("2025-12-26")
    expect(population.locator(".esnb-status")).to_contain_text("· exact ·")

    # The suspect is stepped through.
    replay = piece(page, "Replay of one stream")
    expect(replay.locator(".esnb-status")).to_contain_text("event 12 of 12")
    named(notebook, "replay", "Replay")
    replay.focus()
    page.keyboard.press("k")
    expect(replay.locator(".esnb-status")).to_contain_text("event 11 of 12")
    expect(replay).to_contain_text("OrderCorrected")
    notebook.tells(standing("log", "replay"), "OrderCorrected")

    # The panel: a window narrows the map, an arrow the streams.
    named(notebook, "panel", "Explore")
    explore = page.locator(".jp-OutputArea-output").filter(has=page.get_by_role("tab"))
    expect(explore.locator(".esnb-map-box").first).to_be_visible()
    transitions = explore.locator(".esnb-status").filter(has_text="transitions").first
    expect(transitions).to_contain_text("of 29,705 transitions")
    expect(explore.locator(".esnb-status").filter(has_text="density")).to_be_visible()
    notebook.drag(explore.locator(".esnb-timeline-over"), 560, 640, 30)
    chips = explore.locator(".esnb-chip")
    expect(chips).to_have_count(1)
    expect(transitions).not_to_contain_text("29,705")
    arrow = explore.get_by_role("button", name="From OrderConfirmed to PaymentFailed")
    arrow.focus()
    page.keyboard.press("Enter")
    explore.get_by_role("menuitem").first.click()
    expect(chips.nth(1)).to_contain_text("OrderConfirmed → PaymentFailed")
    few = notebook.python("print(len(panel.session.streams))")
    assert 0 < int(few) < 1_051
    explored = explore.get_by_role("tab")
    explored.filter(has_text="Streams").click()
    expect(explore.get_by_role("grid").last).to_have_attribute("aria-rowcount", few)
    pictures(notebook, explore=explore)
    explored.filter(has_text="Flow").click()
    expect(explore.locator(".esnb-map-box").first).to_be_visible()

    # Ink follows the theme while one looks on.
    label = charts.first.locator(".role-axis-label text").first
    ink = {}
    parts = {
        "events": page.locator(".jp-RenderedVegaCommon5").nth(0),
        "states": page.locator(".jp-RenderedVegaCommon5").nth(1),
        "timeline": timeline,
        "population": population,
        "replay": replay,
    }
    for name in ("light", "dark"):
        notebook.theme(name)
        ink[name] = label.evaluate("node => getComputedStyle(node).fill")
        notebook.picture(f"first-hour-{name}")
        for part, locator in parts.items():
            notebook.part(locator, f"{part}-{name}")
    assert brightness(ink["light"]) < 100 < 160 < brightness(ink["dark"])
    assert notebook.errors == []


def brightness(color: str) -> float:
    """Return the brightness of an rgb() or rgba() colour on its ground, 0 to 255."""
    red, green, blue, *alpha = (float(part) for part in re.findall(r"[\d.]+", color))
    shade = 0.299 * red + 0.587 * green + 0.114 * blue
    opaque = alpha[0] if alpha else 1
    return shade * opaque + (255 - shade) * (1 - opaque)


def test_what_a_page_asks_of_other_hosts_is_noticed(notebook):
    """Guard the guard: a request to the outside must not go by unseen."""
    page = notebook.open("notebooks/01_first_hour.ipynb").page
    page.evaluate("() => fetch('https://example.org/seen').catch(() => null)")
    assert notebook.outside == ["https://example.org/seen"]
    notebook.outside.clear()
