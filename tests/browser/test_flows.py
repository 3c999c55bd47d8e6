"""The notebook of flows, as a user sees it."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

TITLES = (
    "Flow map", "From PaymentReceived to OrderShipped", "Durations of cases", "Variants",
    "Steps of the cases", "Funnel", "Difference", "Dotted chart",
)  # fmt: skip


def test_flows_in_the_lab(notebook):
    page = notebook.open("notebooks/03_flows.ipynb").run_all().page
    assert notebook.cell_errors() == []
    # A warning would stand here.
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

    charts = page.locator(".jp-OutputArea-output .vega-embed svg.marks")
    for title in TITLES:
        expect(charts.filter(has_text=title).first).to_be_visible()
    assert charts.count() >= len(TITLES) + 1

    # What Vega draws is in the frame: no box, label or legend is cut off.
    for number in range(charts.count()):
        wide = charts.nth(number).evaluate(
            """svg => {
                 const frame = svg.getBoundingClientRect();
                 return [...svg.querySelectorAll('text')].filter(text => {
                   const box = text.getBoundingClientRect();
                   return box.width && (box.left < frame.left - 1 || box.right > frame.right + 1
                     || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
                 }).map(text => text.textContent);
               }"""
        )
        assert wide == [], f"chart {number}"

    # The words of a box fit into it, in the font that this browser has.
    flow_map = charts.filter(has_text="Flow map").first
    boxes = flow_map.evaluate(
        """svg => {
             const boxes = [...svg.querySelectorAll('g.mark-rect path')]
               .map(path => path.getBoundingClientRect());
             const words = [...svg.querySelectorAll('g.mark-text text')]
               .filter(text => text.querySelector('tspan'))
               .map(text => text.getBoundingClientRect());
             return [boxes.length, words.filter(word => boxes.some(box =>
               word.left >= box.left && word.right <= box.right &&
               word.top >= box.top - 1 && word.bottom <= box.bottom + 1)).length];
           }"""
    )
    assert boxes[0] == boxes[1] == 9

    # An arrow says what it stands for, to the mouse and to a screen reader; a click picks it.
    arrow = flow_map.locator("path[aria-label*='from PaymentReceived, to OrderShipped']").first
    arrow.scroll_into_view_if_needed()
    # In the middle of its box, which an almost straight line fills.
    arrow.hover(force=True)
    tooltip = page.locator("#vg-tooltip-element.visible")
    expect(tooltip).to_contain_text("OrderShipped")
    expect(tooltip).to_contain_text("3,241")
    other = flow_map.locator("path[aria-label*='from OrderPlaced, to ItemAdded']").first
    before = float(other.get_attribute("opacity"))
    arrow.click(force=True)
    page.wait_for_function(
        "([node, before]) => Number(node.getAttribute('opacity')) < before",
        arg=[other.element_handle(), before],
    )
    # A click beside all arrows gives them back.
    flow_map.click(position={"x": 6, "y": 90})
    page.wait_for_function(
        "([node, before]) => Number(node.getAttribute('opacity')) === before",
        arg=[other.element_handle(), before],
    )
    page.mouse.move(0, 0)

    for output in page.locator(".jp-OutputArea-output").all():
        beyond = output.evaluate("node => node.scrollWidth - node.clientWidth")
        assert beyond <= 0, output.inner_text()[:200]
    texts = page.locator(".jp-RenderedText pre").all_inner_texts()
    assert [text for text in texts if "│ … │" in text] == []

    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.picture(f"flows-{name}")
        notebook.part(page.locator(".jp-RenderedVegaCommon5").first, f"flow-map-{name}")
    assert notebook.errors == []
