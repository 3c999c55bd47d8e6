"""The shop of the examples at size: simulated by its own commands, then asked.

Five times the orders of the sample log, in the same months.  What it makes are real histories, with
refusals, late and corrected events; the larger logs of the other benchmarks are made by SQL, since
commands that are decided on one after the other would take hours for ten million events.
"""

from __future__ import annotations

import time
from pathlib import Path

from measure import Bench, seconds

import esnb
from esnb.examples import shop
from esnb.write import DuckDBSink, Projection, Table

ORDERS = 20_000


class Board(Projection, category="order"):
    """The newest event of each order, and how many there were."""

    orders = Table(
        last=str,
        events=int,
        select="select stream as key, arg_max(event_type, position) as last, count(*) as events"
        " from events group by 1",
        add=["events"],
    )


def simulated(bench: Bench, place: Path) -> None:
    """Let the shop work."""
    with esnb.create(place, zone="Europe/Berlin", clock=shop.Calendar(), maintain=False) as log:
        wall, used = time.perf_counter(), time.process_time()
        done = shop.simulate(log, orders=ORDERS)
        wall, used = time.perf_counter() - wall, time.process_time() - used
        assert log.next_position == done.events
        assert list(done.planted) == shop.planted(log, orders=ORDERS)
    what = f"the shop, {ORDERS:,} orders"
    for name, count in (("commands", done.sent), ("events", done.events)):
        bench.row(f"{what}: {name}", count / wall, "/s", "none", 0, 0, "none", True)
    bench.row(f"{what}: events", done.events / used, "per CPU s", "none", 0, 0, "none", True)


def main() -> None:
    bench = Bench("simulation")
    place = bench.folder / "shop"
    simulated(bench, place)
    with esnb.open(place, maintain=False) as log:
        events = len(log.events(category="order"))
        line = log.timeline(shop.Order)
        used = time.process_time()
        line.as_of(0).fetchall()
        used = (time.process_time() - used) / events * 1e6
        # Its rules read the state, and a first build folds some streams both ways to compare them.
        bench.row(
            "the shop: states of its orders built and checked", used, "CPU s a million events",
            "none", 0, 0, "none", True,
        )  # fmt: skip
        with log.project(Board, into=DuckDBSink(bench.folder / "board.duckdb")) as runner:
            took = seconds(runner.run)
        rate = events / took
        bench.row(
            "the shop: read model of its orders", rate, "events/s", "limit", 200_000,
            rate / 200_000, "≥ 1", rate >= 200_000,
        )  # fmt: skip
    bench.done()


if __name__ == "__main__":
    main()
