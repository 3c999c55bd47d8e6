"""The notebook of flows, as a user sees it."""

import pytest
from playwright.sync_api import expect

from tests.browser.pieces import named, pictures, piece

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

    # The map chooses cases, the chips say so, the variants are those of the choice.
    chips = piece(page, "What narrows the view").locator(".esnb-chip")
    chosen_map, variants = piece(page, "Flow map"), piece(page, "Variants")
    start = chosen_map.locator(".esnb-map-end").first
    expect(start).to_have_text("start 4,000")
    expect(chips).to_have_count(0)
    chosen_map.locator(".esnb-map-box").filter(has_text="PaymentFailed").click()
    chosen_map.get_by_role("menuitem").first.click()
    expect(chips).to_contain_text("with PaymentFailed (1,051)")
    expect(start).to_have_text("start 1,051")
    expect(variants.locator(".esnb-status")).to_contain_text("of 1,051 cases")
    notebook.tells("print(session.streams.label, len(session.streams))", "with PaymentFailed 1051")
    page.get_by_role("button", name="Take back: with PaymentFailed").last.click()
    expect(start).to_have_text("start 4,000")
    notebook.tells("print(session.streams)", "None")

    # A variant chooses its cases, for the map too.
    rows = variants.locator("[data-place]")
    expect(variants.locator(".esnb-status")).to_contain_text("of 4,000 cases")
    rows.nth(1).click()
    expect(start).to_have_text("start 509")
    notebook.tells("print(len(session.streams))", "509")
    rows.nth(1).click()
    expect(start).to_have_text("start 4,000")
    # More arrows, and by keyboard as a table.
    named(notebook, "chosen_map", "FlowMap")
    chosen_map.get_by_role("slider").fill("100")
    expect(chosen_map.locator(".esnb-map-edge")).to_have_count(45)
    notebook.tells("print(chosen_map.settings['coverage'], len(chosen_map.data()))", "1 45")
    chosen_map.focus()
    page.keyboard.press("t")
    expect(chosen_map.get_by_role("grid")).to_be_visible()
    page.keyboard.press("t")
    chosen_map.get_by_role("slider").fill("90")
    expect(chosen_map.locator(".esnb-map-edge")).to_have_count(16)
    chosen_map.get_by_role("slider").blur()
    page.mouse.move(0, 0)

    for output in page.locator(".jp-OutputArea-output").all():
        beyond = output.evaluate("node => node.scrollWidth - node.clientWidth")
        assert beyond <= 0, output.inner_text()[:200]
    texts = page.locator(".jp-RenderedText pre").all_inner_texts()
    assert [text for text in texts if "│ … │" in text] == []

    pictures(notebook, flow_map=chosen_map, variants=variants)
    for name in ("light", "dark"):
        notebook.theme(name)
        notebook.picture(f"flows-{name}")
    assert notebook.errors == []
