"""The shop of the examples at size: simulated by its own commands, then asked.

One shop, with five times the orders of the sample log in the same months, works command by command:
real histories, with refusals, late and corrected events.  A dozen such shops side by side, with
streams and chains of causes of their own, are then a log of 3 M events.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from fold import at_most, p95
from measure import Bench, seconds

import esnb
from esnb.examples import shop
from esnb.write import DuckDBSink, Projection, Table

ORDERS = 20_000
SHOPS = 12
# The same history of another shop: its own streams, and other events that caused each other.
ANOTHER = r"""
SELECT regexp_replace(stream, '-', '-s{shop}.') AS stream, event_type, schema_version,
    regexp_replace(data, '"((order|payment|shipment|product|customer)-)', '"\1s{shop}.', 'g')
        AS data,
    md5(event_id || '{shop}')::UUID::VARCHAR AS event_id,
    md5(correlation_id || '{shop}')::UUID::VARCHAR AS correlation_id,
    md5(causation_id || '{shop}')::UUID::VARCHAR AS causation_id,
    actor, list_transform(tags, lambda tag: 's{shop}.' || tag) AS tags, metadata,
    occurred_on, recorded_on
FROM events
"""


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


def multiplied(place: Path, of: Path) -> None:
    """Write a log of many shops that had the history of one, all at the same time."""
    with (
        esnb.open(of, maintain=False) as one,
        esnb.create(place, zone="Europe/Berlin", maintain=False) as many,
    ):
        all_of_them = " UNION ALL ".join(f"({ANOTHER.format(shop=n)})" for n in range(SHOPS))
        rows = one.sql(f"FROM ({all_of_them}) ORDER BY recorded_on, stream")
        many.append_frame(rows.to_arrow_reader(100_000))
        assert many.next_position == SHOPS * one.next_position


def asked(bench: Bench, what: str, log: Any) -> None:
    """Measure what an analyst waits for."""
    events = len(log.events(category="order"))
    line = log.timeline(shop.Order)
    used = time.process_time()
    line.as_of(0).fetchall()
    used = (time.process_time() - used) / events * 1e6
    # Its rules read the state, and a first build folds some streams both ways to compare them.
    bench.row(
        f"{what}: states of its orders built and checked", used, "CPU s a million events",
        "none", 0, 0, "none", True,
    )  # fmt: skip
    chance = random.Random(7)
    first, last = log.sql("SELECT min(recorded_on), max(recorded_on) FROM events").fetchone()
    instants = [first + chance.random() * (last - first) for _ in range(40)]
    taken = p95(
        lambda at: line.as_of(at).aggregate("status, count(*), sum(total)", "status").fetchall(),
        instants,
    )
    at_most(bench, f"{what}: as-of summary, p95", taken, "ms", 60)
    taken = p95(lambda at: line.diff_counts(at, at + (last - first) / 50).fetchall(), instants[:20])
    at_most(bench, f"{what}: diff of a 2 % window by field, p95", taken, "ms", 100)
    took = seconds(lambda: log.flow("order").built())
    bench.row(
        f"{what}: events of its orders put in order for flows", events / took, "events/s",
        "none", 0, 0, "none", True,
    )  # fmt: skip
    with log.project(Board, into=DuckDBSink(bench.folder / f"{events}.duckdb")) as runner:
        took = seconds(runner.run)
    rate = events / took
    bench.row(
        f"{what}: read model of its orders", rate, "events/s", "limit", 200_000,
        rate / 200_000, "≥ 1", rate >= 200_000,
    )  # fmt: skip


def main() -> None:
    bench = Bench("simulation")
    place = bench.folder / "shop"
    simulated(bench, place)
    with esnb.open(place, maintain=False) as log:
        asked(bench, "the shop", log)
    multiplied(bench.folder / "shops", place)
    with esnb.open(bench.folder / "shops", maintain=False) as log:
        asked(bench, f"{SHOPS} shops, {log.next_position / 1e6:.1f} M events", log)
    bench.done()


if __name__ == "__main__":
    main()
