"""Maps of flows beside their limit; for flow.py."""

from __future__ import annotations

import random
import statistics
import time
from itertools import pairwise

import pyarrow as pa
from measure import Bench

from esnb import chart

EDGES, LIMIT_MS, ROUNDS = 40, 300, 7


def charts(bench: Bench) -> None:
    """Measure layout and chart of a map of 40 edges, numbers beside them, and its Vega-Lite."""
    table = graph(EDGES)
    chart.flow_map(table, 1).to_dict()  # imports
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        spec = chart.flow_map(table, 1).to_dict()
        times.append(1000 * (time.process_time() - start))
    assert spec["title"]["subtitle"][0].startswith(f"{EDGES} of {EDGES} edges")
    took = statistics.median(times)
    bench.row(
        f"map of {EDGES} edges, layout and chart",
        took,
        "CPU ms",
        "the limit",
        LIMIT_MS,
        took / LIMIT_MS,
        "≤ 1",
        took <= LIMIT_MS,
    )


def graph(edges: int) -> pa.Table:
    """Return a directly-follows graph: a main path of 14 types, and ways beside it and back."""
    dice = random.Random(4)
    path = [None, *(f"Activity {number}" for number in range(14)), None]
    pairs = dict.fromkeys(pairwise(path), 1000)
    while len(pairs) < edges:
        pair = (dice.choice(path[1:-1]), dice.choice(path[1:]))
        pairs.setdefault(pair, dice.randrange(1, 300))
    rows = [
        {
            "kind": "start" if source is None else "end" if target is None else "step",
            "source": source,
            "target": target,
            "count": count,
            "cases": count,
        }
        for (source, target), count in pairs.items()
    ]
    table = pa.Table.from_pylist(rows)
    for name in ("median_wait", "mean_wait", "p95_wait"):
        waits = [dice.randrange(10**6, 10**12) if row["kind"] == "step" else None for row in rows]
        table = table.append_column(name, pa.array(waits, pa.duration("us")))
    return table
