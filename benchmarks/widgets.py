"""Widgets under the hand, in a real JupyterLab in Chromium, over a log of ten million events.

Needs Chromium (``CHROMIUM`` names another one).  ``--minutes 10`` uses the panel for so long
before its memory is read; one minute without.  The first argument is the size in millions.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import shop_events as shop
from fold import at_most, imported, say
from measure import Bench
from playwright.sync_api import CDPSession, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.browser.conftest import CHROMIUM, CHROMIUM_ARGS, Lab, NotebookPage  # noqa: E402

OPEN = """
import sys
sys.path.insert(0, {here!r})
import shop_events
import esnb
log = esnb.open({place!r}, read_only=False, maintain=False)
line = log.timeline(shop_events.Order)
line.as_of(0).aggregate("count(*)").fetchall(), line.population("status", "2025-01-01").fetchall()
stream = log.sql(
    "SELECT stream FROM events GROUP BY ALL ORDER BY count(*) DESC, stream LIMIT 1"
).fetchone()[0]
"""
QUIET = """
() => new Promise(done => {
  let last = performance.now();
  let quiet = 0;
  const look = () => {
    if (document.querySelector('.esnb-piece[data-busy]')) { last = performance.now(); quiet = 0; }
    if ((quiet += 1) > 30) done(last); else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})
"""
# Waits until nothing is asked any more and what is wanted stands in the page, or an error does.
SETTLED = """
({wanted, gone}) => {
  if (document.querySelector("[data-mime-type='application/vnd.jupyter.error']")) return true;
  const pieces = [...document.querySelectorAll('.esnb-piece')].filter(one => one.offsetParent);
  return pieces.length > 0 && pieces.every(one => !one.hasAttribute('data-busy'))
    && wanted.every(one => document.querySelector(one)?.getClientRects().length)
    && !gone.some(one => document.querySelector(one));
}
"""
# From an event of the hand to what is drawn of it: handlers, style, layout and paint.
HEARD = """
({selector, kind}) => {
  const node = document.querySelector(selector);
  window.esnbTaken = [];
  window.esnbUnheard?.();
  const hear = () => {
    const start = performance.now();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.esnbTaken.push(performance.now() - start);
      channel.port2.postMessage(0);
    });
  };
  node.addEventListener(kind, hear, true);
  window.esnbUnheard = () => node.removeEventListener(kind, hear, true);
}
"""


def p95(taken: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(taken, n=20)[-1]


class Used:
    """A notebook in use."""

    def __init__(self, notebook: NotebookPage, session: CDPSession) -> None:
        self.notebook = notebook
        self.page: Page = notebook.page
        self._session = session

    def cell(self, code: str, *wanted: str) -> float:
        """Run a cell at the end; return the seconds until all that is wanted is drawn."""
        start = time.perf_counter()
        self.page.evaluate(
            """async code => {
                 const nb = window.nb.content;
                 nb.activeCellIndex = nb.widgets.length - 1;
                 await window.jupyterapp.commands.execute('notebook:insert-cell-below');
                 nb.activeCell.model.sharedModel.setSource(code);
                 await window.jupyterapp.commands.execute('notebook:run-cell');
               }""",
            code,
        )
        self.settled(*wanted)
        taken = time.perf_counter() - start
        errors = self.notebook.cell_errors()
        assert errors == [], errors
        return taken

    def settled(self, *wanted: str) -> None:
        """Wait until no piece waits and all that is wanted is drawn."""
        self.page.wait_for_function(
            SETTLED, arg={"wanted": list(wanted), "gone": []}, timeout=120_000, polling="raf"
        )

    def frames(
        self, selector: str, kind: str, work: Callable[[int], None], steps: int
    ) -> list[float]:
        """Return the milliseconds to each frame that answers an event of the hand."""
        self.page.evaluate(HEARD, {"selector": selector, "kind": kind})
        for step in range(steps):
            work(step)
        self.page.wait_for_function(
            "steps => window.esnbTaken.length >= steps", arg=steps, timeout=60_000
        )
        taken: list[float] = self.page.evaluate("() => window.esnbTaken")
        return taken

    def box(self, selector: str) -> dict[str, float]:
        """Return where an element is in the window."""
        node = self.page.locator(selector).first
        node.scroll_into_view_if_needed()
        return dict(node.bounding_box() or {})

    def step(self, steps: int = 120) -> list[float]:
        """Step through a replay by its keys."""
        self.page.locator(REPLAY).focus()
        return self.frames(
            REPLAY,
            "keydown",
            lambda n: self.page.keyboard.press("k" if n < steps / 2 else "j"),
            steps,
        )

    def scrub(self, steps: int = 120) -> list[float]:
        """Drag the time of a population to and fro; the button stays down."""
        box = self.box(CHART)
        mouse, middle = self.page.mouse, box["y"] + box["height"] / 2
        mouse.move(box["x"] + box["width"] / 2, middle)
        mouse.down()

        def drag(n: int) -> None:
            mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * (n * 37 % 120) / 120), middle)

        return self.frames(CHART, "pointermove", drag, steps)

    def scroll(self, steps: int) -> list[float]:
        """Scroll a table as a wheel does, and now and then far, as a thumb is dragged."""
        self.page.locator(TABLE).scroll_into_view_if_needed()
        taken: list[float] = self.page.evaluate(SCROLL, {"selector": TABLE, "steps": steps})
        return taken

    def megabytes(self) -> float:
        """Return what the page's JavaScript holds, after its rubbish is gone."""
        self._session.send("HeapProfiler.collectGarbage")
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        found = {one["name"]: one["value"] for one in metrics}
        return float(found["JSHeapUsedSize"]) / 1e6


SCROLL = """
async ({selector, steps}) => {
  const node = document.querySelector(selector);
  const taken = [];
  let before = null;
  for (let step = 0; step < steps; step += 1) {
    node.scrollTop = step % 10 === 9 ? node.scrollHeight * ((step * 37) % 120) / 120
      : node.scrollTop + 150;
    const now = await new Promise(requestAnimationFrame);
    if (before !== null) taken.push(now - before);
    before = now;
  }
  return taken;
}
"""
TABLE, REPLAY = ".esnb-grid-view[aria-label='Rows']", "[aria-label='Replay of one stream']"
CHART = ".esnb-population-chart"


def first_paint(bench: Bench, used: Used) -> None:
    """Measure from the cell's run to the panel, with the timeline and a pane drawn."""
    taken = []
    for pane, wanted in (("Events", ".esnb-row"), ("Flow", ".esnb-map-box")):
        code = f"panel = esnb.explore(log, 'order', pane='{pane}')\npanel"
        taken.append(used.cell(code, ".esnb-timeline-bar", wanted))
        at_most(bench, f"first paint of explore, {pane.lower()}", taken[-1], "s", 3)
        used.notebook.python("panel.close()")


def brushed(bench: Bench, used: Used) -> None:
    """Measure from a new window to all panes in sight drawn anew, over weeks of some months."""
    used.cell(
        "panel = esnb.explore(log, 'order', pane='Flow')\npanel",
        ".esnb-timeline-bar",
        ".esnb-map-box",
    )
    taken = []
    for week in range(12):
        box = used.box(".esnb-timeline-over")
        mouse, middle = used.page.mouse, box["y"] + box["height"] / 3
        start = box["x"] + box["width"] * (0.2 + 0.05 * week)
        mouse.move(start, middle)
        mouse.down()
        mouse.move(start + box["width"] * 0.04, middle, steps=4)
        before = used.page.evaluate("() => performance.now()")
        mouse.up()
        # Twenty quiet frames end the wait; the last one that was not quiet counts.
        last = used.page.evaluate(QUIET)
        taken.append((last - before) / 1000)
    assert used.notebook.python("print(panel.session.window is not None)") == "True"
    at_most(
        bench,
        "brush to all linked panes, 4 % of the time, median",
        statistics.median(taken),
        "s",
        1,
    )
    used.notebook.python("panel.close()")


def by_hand(bench: Bench, used: Used, minutes: float) -> None:
    """Measure steps, scrubbing, the exact state at release, and scrolling."""
    used.cell("replay = esnb.widget.Replay(line, stream)\nreplay", ".esnb-replay-tree")
    at_most(bench, "step of a replay, p95", p95(used.step()), "ms", 50)

    used.cell("population = esnb.widget.Population(line, 'status')\npopulation", CHART)
    at_most(bench, "scrub frame, p95", p95(used.scrub()), "ms", 100)
    used.page.mouse.up()
    used.settled(CHART)
    released = []
    for _ in range(10):
        used.scrub(5)
        start = used.page.evaluate("() => performance.now()")
        used.page.mouse.up()
        released.append(used.page.evaluate(QUIET) - start)
    at_most(bench, "exact state at release, median", statistics.median(released), "ms", 300)

    used.cell("table = esnb.widget.EventTable(log)\ntable", TABLE)
    at_most(
        bench,
        "longest frame of 600 while a table scrolls",
        max(used.scroll(600)),
        "ms",
        200,
    )
    shown = []
    for part in (0.1, 0.5, 0.9, 0.33, 0.77):
        start = time.perf_counter()
        used.page.evaluate(
            "([selector, part]) => { const node = document.querySelector(selector);"
            " node.scrollTop = node.scrollHeight * part; }",
            [TABLE, part],
        )
        used.page.wait_for_function(
            "selector => [...document.querySelectorAll(`${selector} .esnb-row`)].every("
            "row => row.firstElementChild.textContent !== '…')",
            arg=TABLE,
            polling="raf",
        )
        shown.append((time.perf_counter() - start) * 1e3)
    bench.row(
        "rows of a far place shown, median",
        statistics.median(shown),
        "ms",
        "none",
        0,
        0,
        "none",
        True,
    )

    say(f"{minutes:g} minutes of use")
    before, end = used.megabytes(), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        used.step()
        used.scrub()
        used.page.mouse.up()
        used.scroll(120)
    used.settled(CHART)
    after = used.megabytes()
    at_most(bench, f"memory of the page after {minutes:g} minutes", after, "MB", 500)
    bench.row(
        f"memory of the page after {minutes:g} minutes", after, "MB", "before", before,
        after / before, "none", True,
    )  # fmt: skip
    state = used.notebook.python(
        "import json, ipywidgets\n"
        "print(len(json.dumps(ipywidgets.Widget.get_manager_state(drop_defaults=False))))"
    )
    at_most(bench, "saved widget state of this notebook", int(state) / 1e3, "kB", 200)


def main() -> None:
    """Build a log, open a lab, and use it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("millions", nargs="?", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=1)
    given = parser.parse_args()
    if not CHROMIUM:
        say("no Chromium here: nothing was measured")
        return
    bench = Bench("widgets")
    say(f"{given.millions} M events: generating and importing")
    place = imported(
        bench,
        "orders",
        lambda path: shop.write_orders(path, given.millions * 100_000, bench.folder),
    )
    root = bench.folder / "project"
    (root / "notebooks").mkdir(parents=True)
    (bench.folder / "lab").mkdir()
    lab = Lab(bench.folder / "lab", root)
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
            context = browser.new_context(viewport={"width": 1100, "height": 1400})
            context.set_default_timeout(120_000)
            notebook = NotebookPage(context, lab, None)
            say("building the timeline")
            notebook.of(OPEN.format(here=str(Path(__file__).parent), place=str(place)))
            assert notebook.cell_errors() == [], notebook.cell_errors()
            session = context.new_cdp_session(notebook.page)
            session.send("Performance.enable")
            used = Used(notebook, session)
            say("using it")
            first_paint(bench, used)
            brushed(bench, used)
            by_hand(bench, used, given.minutes)
            assert notebook.errors == []
            assert notebook.outside == []
            browser.close()
    finally:
        lab.stop()
        shutil.rmtree(root, ignore_errors=True)
    bench.done()


if __name__ == "__main__":
    main()
