"""Ways through a flow, beside SQL over the same ordered events; and objects; for flow.py."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import shop_events as shop
from measure import Bench

import esnb

ROUNDS = 3
FUNNEL = ["OrderPlaced", "OrderConfirmed", "PaymentReceived", "OrderShipped"]
# As a person would write it, over tables that are in order already.
PLACES = """
    SELECT place + 1, type_id, next, count(*) FROM (
        SELECT place, type_id, lead(type_id) OVER (PARTITION BY case_number ORDER BY place) AS next
        FROM steps
    ) WHERE place < 8 GROUP BY ALL
"""
REWORK = """
    SELECT type_id, count(*), sum(n), count(*) FILTER (n > 1) FROM (
        SELECT case_number, type_id, count(*) AS n FROM steps GROUP BY ALL
    ) GROUP BY ALL
"""
SPECTRUM = """
    SELECT case_id, a, b, b - a FROM (
        SELECT case_number, type_id, s.time AS a,
            lead(type_id) OVER w AS next, lead(s.time) OVER w AS b
        FROM steps AS s WINDOW w AS (PARTITION BY case_number ORDER BY place)
    ) JOIN cases USING (case_number)
    WHERE type_id = (SELECT type_id FROM types WHERE event_type = 'OrderConfirmed')
        AND next = (SELECT type_id FROM types WHERE event_type = 'PaymentReceived')
"""


def funnel_sql() -> str:
    """Return SQL of how many cases take each step of the funnel."""
    steps = []
    for number, name in enumerate(FUNNEL):
        later = f"JOIN s{number - 1} AS p USING (case_number)" if number else ""
        after = "AND s.place > p.place" if number else ""
        steps.append(
            f"s{number} AS MATERIALIZED (SELECT case_number, min(s.place) AS place FROM steps AS s "
            f"JOIN types USING (type_id) {later} WHERE event_type = '{name}' {after} "
            "GROUP BY case_number)"
        )
    counts = ", ".join(f"(SELECT count(*) FROM s{number})" for number in range(len(FUNNEL)))
    return f"WITH {', '.join(steps)} SELECT [{counts}]"


def paths(bench: Bench, place: Path, millions: str) -> None:
    """Measure places, a funnel, a spectrum, rework and a difference of windows."""
    with esnb.open(place, maintain=False, read_only=True) as log:
        flow = log.flow("order")
        flow.built()
        cursor = flow.cursor()
        cursor.execute("SELECT count(*) FROM steps, types WHERE false")

        def row(what: str, mine: Callable[[], object], peer: str, other: Callable[[], object]):
            (found, own), (theirs, cpu) = taken(mine), taken(other)
            ratio = own / cpu
            bench.row(f"{what}, {millions}", own, "CPU s", peer, cpu, ratio, "≤ 1", ratio <= 1)
            return found, theirs

        ours, theirs = row(
            "alluvial of eight places",
            lambda: flow.steps().aggregate("sum(cases)").fetchone(),
            "SQL in order",
            lambda: cursor.execute(f"SELECT sum(#4) FROM ({PLACES})").fetchone(),
        )
        assert ours == theirs
        ours, theirs = row(
            "funnel of four steps",
            lambda: flow.funnel(FUNNEL).fetchall(),
            "SQL in order, no waits",
            lambda: cursor.execute(funnel_sql()).fetchone(),
        )
        assert [cases for _, _, cases, *_ in ours] == theirs[0]
        ours, theirs = row(
            "performance spectrum",
            lambda: flow.spectrum("OrderConfirmed", "PaymentReceived").aggregate("count(*)"),
            "SQL in order",
            lambda: cursor.sql(f"SELECT count(*) FROM ({SPECTRUM})").fetchone(),
        )
        assert ours.fetchone() == theirs
        ours, theirs = row(
            "rework",
            lambda: flow.rework().fetchall(),
            "SQL, half of it",
            lambda: cursor.execute(REWORK).fetchall(),
        )
        assert sum(row[2] for row in ours) == sum(row[2] for row in theirs)
        middle = "2024-09-01"
        ours, theirs = row(
            "difference of two windows",
            lambda: flow.between((None, middle), (middle, None)).fetchall(),
            "two flows read anew",
            lambda: [
                log.flow("order", window=window).directly_follows().fetchall()
                for window in ((None, middle), (middle, None))
            ],
        )
        assert sum(row[3] for row in ours) == sum(row[3] for row in theirs[0])


def objects(bench: Bench, events: int = 1_000_000) -> None:
    """Measure object-centric flows: every event concerns an order, a customer and an item."""
    parquet, place = bench.folder / "objects.parquet", bench.folder / "objects"
    shop.write_orders(parquet, events // 10, bench.folder)
    with duckdb.connect() as database:
        tagged = database.sql(
            f"SELECT *, ['customer:' || hash(stream) % {events // 100}, "
            f"'item:' || hash(stream, event_type) % {events // 20}] AS tags FROM '{parquet}'"
        )
        with esnb.create(place, zone="UTC", maintain=False) as log:
            log.append_frame(tagged)
    parquet.unlink()
    with esnb.open(place, maintain=False, read_only=True) as log:

        def apart() -> int:
            flows = [log.flow("order"), log.flow(by="customer:"), log.flow(by="item:")]
            return sum(
                flow.directly_follows().aggregate("sum(count)").fetchone()[0] for flow in flows
            )

        def together() -> int:
            edges = log.object_flow().directly_follows()
            return edges.aggregate("sum(count)").fetchone()[0]

        (ours, own), (theirs, cpu) = taken(together), taken(apart)
        assert ours == theirs
        what = f"graphs of three types of objects, {events // 1_000_000} M events"
        bench.row(what, own, "CPU s", "three flows", cpu, own / cpu, "≤ 1", own <= cpu)


def taken(work: Callable[[], object]) -> tuple[object, float]:
    """Return what `work` gives and the median of the CPU seconds that it takes."""
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        found = work()
        times.append(time.process_time() - start)
    return found, statistics.median(times)
