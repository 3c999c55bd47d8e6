"""Replay, as a user drives it: keys, scrubber, filter, pin, both clocks, the session."""

import json
import re

import pytest
from playwright.sync_api import expect

LONG = 30_000  # milliseconds, for what builds a timeline first
pytestmark = pytest.mark.browser

CELL = """
import esnb
from esnb.examples.shop import Order
log = esnb.open("../data/shop", read_only=True)
session = esnb.widget.Session(log, "order")
replay = esnb.widget.Replay(log.timeline(Order), "order-2514", session=session, key="one")
replay
"""
CHIPS = "esnb.widget.Chips(session)"


def told(notebook, what):
    return json.loads(notebook.python(f"import json; print(json.dumps({what}, default=str))"))


def pictures(notebook, piece, name):
    for theme in ("light", "dark"):
        notebook.theme(theme)
        notebook.part(piece, f"{name}-{theme}")


def test_stepping_shows_state_and_changes_and_leaves_the_notebook_alone(notebook):
    page = notebook.of(CELL, CHIPS).page
    assert notebook.cell_errors() == []
    piece = page.get_by_role("group", name="Replay of one stream")
    status = piece.locator(".esnb-status")
    expect(status).to_contain_text("event 12 of 12", timeout=LONG)
    tree = piece.get_by_role("tree")
    expect(tree.get_by_role("treeitem", name="status: delivered")).to_be_visible()
    changes = piece.get_by_role("table", name="Changed by this event")
    expect(changes.locator("tbody tr")).to_have_text("~statusshippeddelivered")

    cells = len(notebook.cells())
    piece.focus()
    page.keyboard.press("Home")
    expect(status).to_contain_text("event 1 of 12")
    expect(tree.get_by_role("treeitem", name="status: placed")).to_be_visible()
    page.keyboard.press("j")
    expect(changes.locator("tbody tr").first).to_contain_text("items › 1")
    # Keys that would insert, cut and run cells.
    for key in ("b", "x", "a", "m", "z"):
        page.keyboard.press(key)
    assert len(notebook.cells()) == cells
    page.keyboard.press("End")
    page.keyboard.press("k")
    expect(status).to_contain_text("event 11 of 12")
    expect(changes.locator("tbody tr")).to_have_text("~total1065.00447.30")
    expect(tree.locator(".esnb-replay-new")).to_contain_text("total447.30")
    # The session is told when one rests, and its bar shows it.
    position, event_id = told(
        notebook,
        "log.events(stream='order-2514').filter('revision = 10')"
        ".project('position, event_id').fetchone()",
    )
    chips = page.locator(".esnb-chip")
    expect(chips.filter(has_text=f"as of position {position:,}")).to_have_count(1)
    expect(chips.filter(has_text=event_id)).to_have_count(1)
    notebook.tells("print(replay.settings['at'])", str(position))
    assert f"at={position}" in notebook.python("print(replay.code)")

    piece.get_by_text("The event itself").click()
    expect(piece.locator(".esnb-replay-event")).to_contain_text(event_id)
    expect(piece.locator(".esnb-replay-event pre").first).to_contain_text('"total": "447.30"')
    pictures(notebook, piece, "replay")
    page.set_viewport_size({"width": 900, "height": 1500})
    pictures(notebook, piece, "replay-900")
    page.set_viewport_size({"width": 1100, "height": 1500})
    assert notebook.errors == []


def test_filter_pin_time_and_clock(notebook):
    page = notebook.of(CELL).page
    piece = page.get_by_role("group", name="Replay of one stream")
    status = piece.locator(".esnb-status")
    expect(status).to_contain_text("event 12 of 12", timeout=LONG)
    tree = piece.get_by_role("tree")
    changes = piece.get_by_role("table", name="Changed by this event")

    # A filter hides events, and they count all the same.
    piece.focus()
    page.keyboard.press("/")
    page.keyboard.type("paymentfailed")
    expect(status).to_contain_text("3 in sight, the hidden ones apply")
    page.keyboard.press("Escape")
    page.keyboard.press("Home")
    expect(status).to_contain_text("event 6 of 12")
    expect(piece).to_contain_text("5 hidden events before it; the state has them.")
    expect(tree.get_by_role("treeitem", name="total: 1065.00")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(status).to_contain_text("event 8 of 12")
    expect(changes.locator("tbody tr").first).to_contain_text("failures23")
    pictures(notebook, piece, "replay-filter")
    piece.get_by_role("textbox", name="Filter events").fill("")

    # A pinned part, and what differs from it.
    tree.get_by_role("treeitem", name="failures: 3").click()
    page.keyboard.press("Home")
    expect(status).to_contain_text("event 1 of 12")
    tree.get_by_role("treeitem", name="items").first.click()
    piece.focus()
    page.keyboard.press("p")
    expect(piece).to_contain_text("Pinned: items")
    page.keyboard.press("End")
    page.keyboard.press("d")
    differs = piece.get_by_role("table", name="Differences from the pin")
    expect(differs.locator("tbody tr")).to_have_count(3)
    expect(differs.locator("tbody tr").first).to_contain_text("+items › 1")
    pictures(notebook, piece, "replay-pin")
    page.keyboard.press("d")
    piece.get_by_role("button", name="Unpin").click()

    # A time on the clocks of the log's zone, and the other order.
    piece.focus()
    page.keyboard.press("g")
    at, shown = told(
        notebook,
        "[str(t) for t in log.events(stream='order-2514').filter('revision = 8')"
        ".project('recorded_on, revision').fetchone()]",
    )
    page.keyboard.type(at)
    page.keyboard.press("Enter")
    expect(status).to_contain_text(f"event {int(shown) + 1} of 12")
    page.keyboard.press("g")
    piece.get_by_role("textbox", name="Go to time").fill("yesterday")
    page.keyboard.press("Enter")
    expect(piece.get_by_role("alert")).to_contain_text("InstantError")
    piece.get_by_role("button", name="Close", exact=True).click()
    piece.get_by_role("button", name="occurred", exact=True).click()
    expect(status).to_contain_text("in the order in which they happened")
    notebook.tells("print(replay.clock)", "occurred")

    # Playing goes on by itself, to the end.
    piece.focus()
    page.keyboard.press("Home")
    piece.get_by_role("button", name="10×").click()
    piece.focus()
    page.keyboard.press("Space")
    expect(status).to_contain_text("playing, 10 events a second")
    expect(status).to_contain_text("event 12 of 12")
    expect(piece.get_by_role("button", name="▶ Play")).to_be_visible()

    # The scrubber: its middle is one of the events in between.
    track = piece.get_by_role("slider", name="Event")
    track.focus()
    page.keyboard.press("ArrowLeft")
    expect(status).to_contain_text("event 11 of 12")
    notebook.drag(track, track.bounding_box()["width"] - 8, 8, 20)
    expect(status).not_to_contain_text("event 11 of 12")
    expect(track).to_have_attribute("aria-valuenow", re.compile(r"^[0-5]$"))
    assert notebook.errors == []


def test_it_follows_the_session_and_keeps_its_place(notebook):
    page = notebook.of(CELL.replace('"order-2514", ', "")).page
    piece = page.get_by_role("group", name="Replay of one stream")
    expect(piece).to_contain_text("No stream yet")
    notebook.part(piece, "replay-empty")
    notebook.python("session.streams = ['order-17', 'order-18']")
    status = piece.locator(".esnb-status")
    expect(piece.get_by_role("combobox", name="Stream")).to_have_value("order-17", timeout=LONG)
    expect(status).to_contain_text("event")
    notebook.python(
        "session.event_id = log.events(stream='order-18').filter('revision = 1')"
        ".project('event_id').fetchone()[0]"
    )
    expect(piece.get_by_role("combobox", name="Stream")).to_have_value("order-18")
    expect(status).to_contain_text("event 2 of")
    # The cell again: the place is kept, and there is one widget.
    notebook.run_all()
    expect(piece).to_have_count(1)
    expect(piece.get_by_role("combobox", name="Stream")).to_have_value("order-18", timeout=LONG)
    expect(status).to_contain_text("event 2 of")

    piece.get_by_role("combobox", name="Stream").fill("order-nope")
    page.keyboard.press("Enter")
    expect(piece.get_by_role("alert")).to_contain_text("no stream 'order-nope'")
    expect(status).to_contain_text("event 2 of")
    notebook.part(piece, "replay-problem")
    assert notebook.errors == []


# The states that are made of patches, against rows that are simply kept; and texts of JSON.
AGAINST_PLAIN = """async () => {
  const name = [...globalThis.__esnb_modules.keys()].find((one) => one.startsWith("replay "));
  const { parsed, states, differences, line } = await globalThis.__esnb_modules.get(name);
  let seed = 7;
  const chance = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return seed % n; };
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const wrong = [];
  for (let round = 0; round < 100; round += 1) {
    const width = chance(4) + 1;
    const base = Array.from({ length: width }, () => (chance(3) ? String(chance(3)) : null));
    const rows = [];
    const patches = [];
    let row = base;
    for (let at = chance(1000); at >= 0; at -= 1) {
      const next = row.map((value) => (chance(3) ? value : chance(3) ? String(chance(4)) : null));
      patches.push(next.flatMap((value, field) => (value === row[field] ? [] : [field, value])));
      rows.push(next);
      row = next;
    }
    const made = states({ base, patches, fields: base });
    for (let look = 0; look < 40; look += 1) {
      const at = chance(rows.length + 1) - 1;
      if (!same(made.at(at), at < 0 ? base : rows[at])) wrong.push(["state", round, at]);
      if (at < 0) continue;
      const before = at ? rows[at - 1] : base;
      const plain = rows[at].flatMap((value, field) =>
        (value === before[field] ? [] : [[field, before[field], value]]));
      if (!same(made.changes(at), plain)) wrong.push(["changes", round, at]);
    }
  }
  const list = String.raw`[12345678901234567890,"x\\"1: 2, \\\\"]`;
  const text = `{"a":1.50,"b":${list},"__proto__":{"$k":"#1"}}`;
  return {
    wrong,
    shown: line(parsed(text)),
    changed: differences(parsed('{"a":[1,2],"c":null}'), parsed('{"a":[1,3,4],"d":1}')),
  };
}"""


def test_states_of_patches_are_those_of_plain_steps(notebook):
    page = notebook.of(CELL).page
    expect(page.locator(".esnb-status")).to_contain_text("event 12 of 12", timeout=LONG)
    found = page.evaluate(AGAINST_PLAIN)
    assert found["wrong"] == []
    # Every digit is kept, and no name of a field is more than a name.
    assert found["shown"] == (
        r'{a: 1.50, b: [12345678901234567890, "x\"1: 2, \\"], __proto__: {$k: "#1"}}'
    )
    assert found["changed"] == [
        [["a", "1"], "#2", "#3"],
        [["a", "2"], None, "#4"],
        [["c"], None, None],
        [["d"], None, "#1"],
    ]
