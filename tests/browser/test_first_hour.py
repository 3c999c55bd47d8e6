"""The notebook of the first hour, as a user sees it."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_the_first_hour_in_the_lab(notebook):
    page = notebook.open("notebooks/01_first_hour.ipynb").run_all().page
    assert notebook.cell_errors() == []

    charts = page.locator(".jp-OutputArea-output .vega-embed svg.marks")
    expect(charts).to_have_count(3)
    for title in ("Events over time by event_type", "States over time by status"):
        expect(charts.filter(has_text=title)).to_be_visible()
    assert page.locator(".mjx-container, mjx-container").count() == 0

    # The slider moves by keyboard, and the chart follows.
    followed = page.locator(".jupyter-widgets .vega-embed svg.marks")
    reading = page.locator(".widget-slider .widget-readout")
    handle = page.locator(".widget-slider .noUi-handle")
    expect(reading).to_have_text("2025-12-24")
    expect(followed).to_contain_text("24 December 2025: 2,459 orders")
    handle.focus()
    for _ in range(3):
        handle.press("ArrowRight")
    expect(reading).to_have_text("2025-12-27")
    expect(followed).to_contain_text(re.compile(r"27 December 2025: 2,[45]\d\d orders"))
    handle.press("ArrowLeft")
    expect(followed).to_contain_text("26 December 2025")
    expect(followed).to_have_count(1)

    # Ink follows the theme while one looks on.
    label = charts.first.locator(".role-axis-label text").first
    ink = {}
    parts = {
        "events": page.locator(".jp-RenderedVegaCommon5").nth(0),
        "states": page.locator(".jp-RenderedVegaCommon5").nth(1),
        "slider": page.locator(".widget-vbox").first,
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
