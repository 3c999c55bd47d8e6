"""Reading: look-ups, a cold start, memory and growth, at 1, 3 and 10 M events."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from measure import Bench, orders

import esnb
from esnb import DomainEvent

IMPORT = """
import json, resource, sys, time
import pyarrow.parquet as pq
import esnb
start = time.perf_counter()
with esnb.create(sys.argv[2], maintain=False) as log:
    file = pq.ParquetFile(sys.argv[1])
    done = log.append_frame(file.iter_batches(100_000), trusted=False)
print(json.dumps([done.appended, time.perf_counter() - start,
                  resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
COLD = """
import sys, time
start = time.perf_counter()
import esnb
log = esnb.open(sys.argv[1], maintain=False)
count = log.sql("select count(*) from events").fetchall()[0][0]
print(time.perf_counter() - start, count)
"""


def child(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def median_ms(work: Callable[[int], object], times: int = 15) -> float:
    taken = []
    for number in range(times):
        start = time.perf_counter()
        work(number)
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken[2:])


def measure(bench: Bench, count: int) -> None:
    millions = f"{count // 1_000_000} M events"
    parquet = bench.folder / f"{count}.parquet"
    with pq.ParquetWriter(parquet, orders(1).schema, compression="zstd") as writer:
        step = 1_000_000
        for start in range(0, count, step):
            writer.write_table(orders(step, start, count))
    place = bench.folder / f"log-{count}"
    appended, took, peak = json.loads(child(IMPORT, str(parquet), str(place)))
    assert appended == count
    bench.row(
        f"import from Parquet, {millions}",
        count / took,
        "events/s",
        "limit",
        250_000,
        count / took / 250_000,
        "≥ 1",
        count / took >= 250_000,
    )
    bench.row(
        f"memory of that import, {millions}",
        peak,
        "MB",
        "limit",
        2048,
        peak / 2048,
        "≤ 1",
        peak <= 2048,
    )
    cold = statistics.median(float(child(COLD, str(place)).split()[0]) for _ in range(5))
    bench.row(
        f"cold process: open and first count, {millions}",
        cold,
        "s",
        "limit",
        1.0,
        cold,
        "≤ 1",
        cold <= 1,
    )
    with esnb.open(place, maintain=False) as log:
        sample = log.sql("select stream, event_id, correlation_id from events using sample 40")
        rows = sample.fetchall()
        for what, column in (("stream", 0), ("event_id", 1), ("correlation_id", 2)):
            taken = median_ms(lambda i, c=column, w=what: log.events(**{w: rows[i][c]}).fetchall())
            bench.row(
                f"look up one {what}, {millions}",
                taken,
                "ms",
                "limit",
                20,
                taken / 20,
                "≤ 1",
                taken <= 20,
            )
        taken = median_ms(lambda i: list(log.read_stream(rows[i][0])))
        bench.row(
            f"read_stream, {millions}", taken, "ms", "limit", 20, taken / 20, "≤ 1", taken <= 20
        )
        without = first_query_ms(place)
        with log.batch():
            for number in range(9_999):
                log.append(f"order-{number}", DomainEvent("ItemAdded", '{"qty":1}'))
        added = first_query_ms(place) - without
        bench.row(
            f"a tail of 9,999 events adds to its first query, {millions}",
            added,
            "ms",
            "limit",
            100,
            added / 100,
            "≤ 1",
            added <= 100,
        )
    size = sum(p.stat().st_size for p in (place / "events").rglob("*.parquet"))
    bench.row(
        f"bytes an event, {millions}",
        size / count,
        "B",
        "trial",
        82,
        size / count / 82,
        "≤ 1.2",
        size / count <= 82 * 1.2,
    )


def small_commits(bench: Bench) -> None:
    """20,000 one-event commits read about as fast as one bulk import of the same events."""
    frame = orders(20_000)
    with esnb.create(bench.folder / "one-by-one") as log:
        for stream, kind, data in zip(
            *(frame[name].to_pylist() for name in ("stream", "event_type", "data")), strict=True
        ):
            log.append(stream, DomainEvent(kind, data))
    with esnb.create(bench.folder / "at-once") as log:
        log.append_frame(frame)
    taken = []
    for name in ("one-by-one", "at-once"):
        with esnb.open(bench.folder / name, maintain=False) as log:
            taken.append(
                median_ms(
                    lambda _, log=log: log.sql(
                        "select event_type, count(*), sum((data->>'$.qty')::int)"
                        " from events group by all"
                    ).fetchall()
                )
            )
    bench.row(
        "read a log of 20,000 one-event commits",
        taken[0],
        "ms",
        "one bulk import",
        taken[1],
        taken[0] / taken[1],
        "≤ 2",
        taken[0] / taken[1] <= 2,
    )


def first_query_ms(place: Path) -> float:
    """Return how long opening the log and a first query take: the median of several."""
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        with esnb.open(place, maintain=False, read_only=True) as log:
            log.sql("select event_type, count(*) from events group by all").fetchall()
            taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)


def main() -> None:
    bench = Bench("read")
    os.environ["XDG_CACHE_HOME"] = str(bench.folder / "cache")
    small_commits(bench)
    for millions in [int(given) for given in sys.argv[1:]] or [1, 3, 10]:
        measure(bench, millions * 1_000_000)
    bench.done()


if __name__ == "__main__":
    main()
