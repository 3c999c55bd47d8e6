"""Importing XES: ours, into a durable log, against pm4py, into a data frame.

The two take turns, each in a process of its own, with everything imported before the
clock starts.  pm4py (AGPL) is only ever run as a program: by the interpreter named in
ESNB_PM4PY_PYTHON, or by this one where it has pm4py.  The file is the one named on the
command line or in ESNB_XES, else BPI Challenge 2019 of the shared data, else a made one.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROUNDS = 5
_REAL = "xes_bpic2019/bpic2019_one_trace_per_variant.xes.gz"

PEER = """
import sys, json, resource, time, warnings
warnings.simplefilter("ignore")
import pm4py
began, cpu = time.perf_counter(), time.process_time()
frame = pm4py.read_xes(sys.argv[1])
print(json.dumps({
    "events": len(frame),
    "seconds": time.perf_counter() - began,
    "cpu": time.process_time() - cpu,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""
OURS = """
import sys, json, resource, tempfile, time
from pathlib import Path
import pandas  # pyarrow looks for it, and pm4py has it loaded as well
from esnb.log import Log
from esnb.source import import_events
with tempfile.TemporaryDirectory(prefix="esnb-bench-") as folder:
    began, cpu = time.perf_counter(), time.process_time()
    with Log.create(Path(folder) / "log") as log:
        result = import_events(Path(sys.argv[1]), log, progress=False)
    taken, cpu = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps({
    "events": result.kept,
    "seconds": taken,
    "cpu": cpu,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def run(python: str, program: str, path: Path) -> dict[str, Any]:
    """Return what one run printed on its last line."""
    done = subprocess.run(
        [python, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def made(folder: Path) -> Path:
    """Write a log of 12,000 traces and 336,000 events, in the form of the real one."""
    path = folder / "made.xes.gz"
    with gzip.open(path, "wt", compresslevel=3) as file:
        file.write('<?xml version="1.0" encoding="utf-8" ?>\n<log>\n')
        for trace in range(12_000):
            file.write(f'\t<trace>\n\t\t<string key="concept:name" value="{trace:010}" />\n')
            for event in range(28):
                day, hour = 1 + (trace + event) % 28, event % 24
                file.write(
                    "\t\t<event>\n\t\t\t<date "
                    f'key="time:timestamp" value="2018-{1 + trace % 12:02}-{day:02}T{hour:02}:'
                    f'{trace % 60:02}:00+00:00" />\n\t\t\t<string key="concept:name" '
                    f'value="Activity {(trace * 7 + event) % 42}" />\n\t\t</event>\n'
                )
            file.write("\t</trace>\n")
        file.write("</log>\n")
    return path


def source(folder: Path) -> Path:
    """Return the file to read."""
    named = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ESNB_XES")
    if named:
        return Path(named)
    root = Path(__file__).parent.parent
    real = Path(os.environ.get("ESNB_SHARED_DATA", root.parent / "shared" / "data")) / _REAL
    return real if real.exists() else made(folder)


def main() -> None:
    """Compare, and write the figures for run.py."""
    from measure import Bench

    bench = Bench("xes")
    path = source(bench.folder)
    peer = os.environ.get("ESNB_PM4PY_PYTHON", sys.executable)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(run(sys.executable, OURS, path))
        theirs.append(run(peer, PEER, path))
    assert {item["events"] for item in ours} == {item["events"] for item in theirs}
    mine, other = (statistics.median(item["seconds"] for item in runs) for runs in (ours, theirs))
    for name, runs in (("ours", ours), ("pm4py", theirs)):
        cpu = statistics.median(item["cpu"] for item in runs)
        peak = statistics.median(item["peak"] for item in runs)
        print(f"{name}: {cpu:.2f} CPU s, peak {peak:.0f} MB", file=sys.stderr)
    events = ours[0]["events"]
    ratio = statistics.median(
        b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True)
    )
    bench.row(
        f"XES import into a log, {events:,} events",
        mine,
        "s",
        "pm4py.read_xes into a frame",
        other,
        ratio,
        "≥ 4",
        ratio >= 4,
    )
    small, large = (max(item["peak"] for item in runs) for runs in (ours, theirs))
    bench.row(
        "peak memory of that import",
        small,
        "MB",
        "pm4py",
        large,
        large / small,
        "< 2,000 MB",
        small < 2000,
    )
    bench.done()


if __name__ == "__main__":
    main()
