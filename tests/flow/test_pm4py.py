"""Flows beside those that pm4py finds in the same events.

pm4py is free under the AGPL: it is run as a program of its own, and never imported.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import esnb
from esnb.eventlog import EventLog

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pm4py") is None, reason="pm4py is not installed"
)

ROOT = Path(__file__).parents[2]
THEIRS = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pandas as pd
import pm4py
frame = pm4py.format_dataframe(
    pd.read_parquet(sys.argv[1]), case_id="case_id", activity_key="what", timestamp_key="time"
)
edges, starts, ends = pm4py.discover_dfg(frame)
waits, _, _ = pm4py.discover_performance_dfg(frame)
found = {
    "activities": pm4py.get_event_attribute_values(frame, "concept:name"),
    "edges": [[a, b, count] for (a, b), count in edges.items()],
    "starts": starts,
    "ends": ends,
    "waits": [[a, b, of["median"], of["mean"]] for (a, b), of in waits.items()],
    "variants": [[list(way), count] for way, count in pm4py.get_variants(frame).items()],
    "durations": sorted(pm4py.get_all_case_durations(frame)),
}
json.dump(found, open(sys.argv[2], "w"))
"""


def theirs(log: EventLog, category: str | None, folder: Path) -> Any:
    """Give the events to pm4py: by case and time, and equal times as the log has them."""
    chosen = {} if category is None else {"category": category}
    table = log.events(**chosen).project(
        "stream AS case_id, event_type AS what, occurred_on AS time, position"
    )
    table = table.to_arrow_table().sort_by(
        [("case_id", "ascending"), ("time", "ascending"), ("position", "ascending")]
    )
    time = table["time"].cast(pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(2, "time", time), folder / "events.parquet")
    subprocess.run(
        [sys.executable, "-c", THEIRS, folder / "events.parquet", folder / "found.json"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return json.loads((folder / "found.json").read_text())


def equal(log: EventLog, category: str | None, folder: Path) -> tuple[int, int, int]:
    """Hold a flow to what pm4py finds; return how many events, edges and variants were compared."""
    found = theirs(log, category, folder)
    flow = log.flow(category)
    activities = flow.activities().project("event_type, count").fetchall()
    assert dict(activities) == found["activities"]
    starts, ends, steps, waits = {}, {}, {}, {}
    for kind, source, target, count, _, median, mean, _ in flow.directly_follows().fetchall():
        if kind == "start":
            starts[target] = count
        elif kind == "end":
            ends[source] = count
        else:
            steps[source, target] = count
            waits[source, target] = median, mean
    assert starts == found["starts"]
    assert ends == found["ends"]
    assert steps == {(a, b): count for a, b, count in found["edges"]}
    for a, b, median, mean in found["waits"]:
        ours = tuple(wait.total_seconds() for wait in waits[a, b])
        assert ours == pytest.approx((median, mean), rel=1e-9, abs=1e-5)
    variants = flow.variants().project("variant, cases").fetchall()
    assert {tuple(way): n for way, n in variants} == {tuple(w): n for w, n in found["variants"]}
    durations = sorted(row[0] for row in flow.durations().project("duration").fetchall())
    assert [d / timedelta(seconds=1) for d in durations] == pytest.approx(found["durations"])
    return len(flow), len(steps), len(variants)


def test_the_shop(tmp_path: Path) -> None:
    place = ROOT / "data" / "shop"
    if not (place / "log.json").exists():
        pytest.skip("the sample log is not there yet; make install")
    with esnb.open(place, read_only=True) as log:
        events, edges, variants = equal(log, "order", tmp_path)
        assert events > 20_000
        assert edges > 20
        assert variants > 100
        equal(log, None, tmp_path)


@pytest.mark.shared
def test_bpic_2019(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "xes_bpic2019" / "bpic2019_one_trace_per_variant.xes.gz"
    with EventLog.create(tmp_path / "log", maintain=False) as log:
        esnb.import_events(path, log)
        # One trace for each variant: their number is how many cases there are.
        events, edges, variants = equal(log, None, tmp_path)
        assert variants == log.flow().built().cases
    assert events > 100_000
    assert edges > 400
