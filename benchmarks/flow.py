"""Flows: directly-follows graph and variants, beside pm4py and a scan that sorts nothing.

The figures stand at 1, 3 and 10 M events of a made shop.  Ours and pm4py take turns, each in a
process of its own, on the same Parquet files, with everything imported before the clock starts.
pm4py (AGPL) is only ever run as a program: by the interpreter named in ESNB_PM4PY_PYTHON, or by
this one where it has pm4py.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import shop_events as shop
from flow_charts import charts
from flow_paths import objects, paths
from flow_patterns import patterns
from measure import Bench

import esnb

PEAK = """
def peak():
    # The highest of this program alone: rusage has that of the one that started it, too.
    try:
        with open("/proc/self/status") as status:
            found = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except OSError:
        import resource
        found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found / 1024
def timed(work):
    began, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, [time.perf_counter() - began, time.process_time() - cpu]
"""
OURS = (
    """
import json, sys, time
import esnb, pandas
"""
    + PEAK
    + """
# As the files lie: each event beside the one before it, whatever case that is of.
SCAN = \"\"\"
    SELECT source, target, count(*), max(wait), max(position) FROM (
        SELECT position, event_type AS target, stream, lag(event_type) OVER () AS source,
            lag(stream) OVER () AS before,
            epoch_us(occurred_on) - lag(epoch_us(occurred_on)) OVER () AS wait
        FROM events
    ) WHERE stream = before GROUP BY ALL
\"\"\"
found = {"scan": [], "follows": [], "variants": [], "again": []}
with esnb.open(sys.argv[1], maintain=False, read_only=True) as log:
    events = log.next_position
    log.flow("nothing").directly_follows().fetchall()
    for _ in range(int(sys.argv[2])):
        cursor = log.session.fresh(log.snapshot())
        found["scan"].append(timed(lambda: cursor.execute(SCAN).fetchall())[1])
        flow = log.flow("order")
        edges, taken = timed(lambda: flow.directly_follows().fetchall())
        found["follows"].append(taken)
        _, taken = timed(lambda: flow.variants().aggregate("count(*)").fetchall())
        found["again"].append(taken)
        del flow
        ways, taken = timed(
            lambda: log.flow("order").variants().aggregate("count(*), sum(cases)").fetchone()
        )
        found["variants"].append(taken)
print(json.dumps({
    "events": events, "peak": peak(), "ways": ways[0], "cases": int(ways[1]),
    "edges": sorted([s, t, n] for kind, s, t, n, *_ in edges if kind == "step"), **found,
}))
"""
)
PEER = (
    """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import pandas as pd
import pm4py
import pyarrow as pa, pyarrow.parquet as pq
"""
    + PEAK
    + """
def read():
    names = ["stream", "event_type", "occurred_on", "position"]
    files = [pq.ParquetFile(path).read(columns=names) for path in sys.argv[3:]]
    return pa.concat_tables(files).sort_by("position").to_pandas()
def shaped(frame):
    return pm4py.format_dataframe(
        frame, case_id="stream", activity_key="event_type", timestamp_key="occurred_on"
    )
found = {"read": [], "shape": [], "follows": [], "variants": []}
for _ in range(int(sys.argv[2])):
    frame, taken = timed(read)
    found["read"].append(taken)
    frame, taken = timed(lambda: shaped(frame))
    found["shape"].append(taken)
    (edges, _, _), taken = timed(lambda: pm4py.discover_dfg(frame))
    found["follows"].append(taken)
    ways, taken = timed(lambda: pm4py.get_variants(frame))
    found["variants"].append(taken)
print(json.dumps({
    "events": len(frame), "peak": peak(), "ways": len(ways),
    "edges": sorted([s, t, n] for (s, t), n in edges.items()), **found,
}))
"""
)


def say(what: str) -> None:
    print(f"-- {time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def run(python: str, program: str, *arguments: object) -> dict[str, Any]:
    """Return what one run printed on its last line."""
    done = subprocess.run(
        [python, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{python} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def median(runs: list[dict[str, Any]], name: str, clock: int = 0) -> float:
    """Return the median wall (0) or CPU (1) seconds of a step over all rounds of all runs."""
    return statistics.median(taken[clock] for one in runs for taken in one[name])


def compared(bench: Bench, place: Path, millions: str, turns: int) -> float:
    """Measure ours beside pm4py and the scan; return the CPU seconds of a million events."""
    with esnb.open(place, maintain=False, read_only=True) as log:
        paths = [segment.path for segment in log.snapshot().segments]
    peer = os.environ.get("ESNB_PM4PY_PYTHON", sys.executable)
    ours, theirs = [], []
    for _ in range(turns):
        ours.append(run(sys.executable, OURS, place, 3))
        theirs.append(run(peer, PEER, place, 1, *paths))
    for name in ("events", "edges", "ways"):
        assert ours[0][name] == theirs[0][name], name
    before = median(theirs, "read") + median(theirs, "shape")

    def faster(what: str, mine: float, peer_: str, other: float, least: float) -> None:
        ratio = other / mine
        bench.row(what, mine, "s", peer_, other, ratio, f"≥ {least:g}", ratio >= least)

    follows, variants = median(ours, "follows"), median(ours, "variants")
    faster(
        f"directly-follows from the files, {millions}",
        follows,
        "pm4py: read, format, discover",
        before + median(theirs, "follows"),
        10,
    )
    faster(
        f"directly-follows from the files, with waits, {millions}",
        follows,
        "pm4py: discover alone",
        median(theirs, "follows"),
        3,
    )
    faster(
        f"variants from the files, {millions}",
        variants,
        "pm4py: read, format, variants",
        before + median(theirs, "variants"),
        4,
    )
    faster(
        f"variants of a flow that was read, {millions}",
        median(ours, "again"),
        "pm4py: variants alone",
        median(theirs, "variants"),
        4,
    )
    cpu, scan = median(ours, "follows", 1), median(ours, "scan", 1)
    what = f"directly-follows, {millions}"
    bench.row(
        what, cpu, "CPU s", "scan that sorts nothing", scan, cpu / scan, "≤ 3", cpu <= 3 * scan
    )
    mine = max(one["peak"] for one in ours)
    other = max(one["peak"] for one in theirs)
    bench.row(
        f"peak memory, {millions}",
        mine,
        "MB",
        "pm4py",
        other,
        other / mine,
        "< 1,500 MB",
        mine < 1500,
    )
    return cpu / ours[0]["events"] * 1e6


def main() -> None:
    """Compare at each size, and write the figures for run.py."""
    bench = Bench("flow")
    os.environ["XDG_CACHE_HOME"] = str(bench.folder / "cache")
    sizes = [int(given) for given in sys.argv[1:]] or [1, 3, 10]
    each: list[float] = []
    for size in sizes:
        millions = f"{size} M events"
        say(f"{millions}: generating and importing")
        parquet, place = bench.folder / f"{size}.parquet", bench.folder / f"orders-{size}"
        shop.write_orders(parquet, size * 100_000, bench.folder)
        with esnb.create(place, zone="UTC", maintain=False) as log:
            log.append_frame(pq.ParquetFile(parquet).iter_batches(100_000))
        parquet.unlink()
        say(f"{millions}: flows, and pm4py")
        each.append(compared(bench, place, millions, 3 if size == sizes[0] else 1))
        say(f"{millions}: patterns and rules")
        patterns(bench, place, millions)
        say(f"{millions}: ways through")
        paths(bench, place, millions)
    say("objects")
    objects(bench)
    charts(bench)
    if len(sizes) > 1:
        bench.row(
            f"CPU of a million events among {sizes[-1]} M",
            each[-1],
            "s",
            f"among {sizes[0]} M",
            each[0],
            each[-1] / each[0],
            "≤ 1.5",
            each[-1] <= 1.5 * each[0],
        )
    bench.done()


if __name__ == "__main__":
    main()
