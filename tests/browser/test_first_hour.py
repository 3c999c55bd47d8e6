"""The notebook of the first hour, as a user sees it."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_the_first_hour_in_the_lab(notebook):
    page = notebook.open("notebooks/01_first_hour.ipynb").run_all().page
    assert notebook.cell_errors() == []

    charts = page.locator(".jp-OutputArea-output .vega-embed svg.marks")
    expect(charts).to_have_count(2)
    for title in ("Events over time by event_type", "States over time by status"):
        expect(charts.filter(has_text=title)).to_be_visible()
    assert page.locator(".mjx-container, mjx-container").count() == 0

    # All orders move by keyboard, and their counts follow.
    population = page.locator(".esnb-piece[aria-label^='Replay of all']")
    summary = population.locator(".esnb-population-summary")
    expect(summary).to_contain_text("2025-12-24")
    population.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(summary).to_contain_text("2025-12-27")
    page.keyboard.press("ArrowLeft")
    expect(summary).to_contain_text("2025-12-26")

    # The panel is whole, and the suspect can be stepped through.
    expect(page.locator(".esnb-map-box").first).to_be_visible()
    replay = page.locator(".esnb-piece[aria-label='Replay of one stream']")
    expect(replay.locator(".esnb-status")).to_contain_text("event 12 of 12")
    replay.focus()
    page.keyboard.press("k")
    expect(replay.locator(".esnb-status")).to_contain_text("event 11 of 12")
    expect(replay).to_contain_text("OrderCorrected")

    # Ink follows the theme while one looks on.
    label = charts.first.locator(".role-axis-label text").first
    ink = {}
    parts = {
        "events": page.locator(".jp-RenderedVegaCommon5").nth(0),
        "states": page.locator(".jp-RenderedVegaCommon5").nth(1),
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
