"""The user stops an import for real, with SIGINT, at any moment; and sees its progress bar."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from esnb.log import Log
from esnb.source import constant, import_events

ROWS = 400_000
ROLES = {
    "category": constant("order"),
    "stream": "stream",
    "event_type": "kind",
    "occurred_on": "at",
}
PROGRAM = """
import sys
import esnb
from esnb import constant
with esnb.open(sys.argv[1], maintain=False) as log:
    print("begun", flush=True)
    try:
        esnb.import_events(sys.argv[2], log, category=constant("order"), stream="stream",
                           event_type="kind", occurred_on="at", progress=True)
        print("done", flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
    assert log.next_position in (0, int(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interrupt") / "in.csv"
    with path.open("w") as file:
        file.write("stream,kind,at,amount\n")
        for number in range(ROWS):
            second, minute = number % 60, number // 60 % 60
            file.write(
                f"{number % 9000},Kind{number % 7},"
                f"2026-03-{1 + number // 20_000:02}T10:{minute:02}:{second:02}Z,{number}\n"
            )
    return path


def start(log: Path, source: Path) -> subprocess.Popen[str]:
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(log), str(source), str(ROWS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "begun\n"
    return running


def test_progress_and_interrupt(source: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    Log.create(whole, maintain=False).close()
    began = time.monotonic()
    out, bar = start(whole, source).communicate(timeout=120)
    took = time.monotonic() - began
    assert out == "done\n"
    # The bar shows after half a second: what is done, how much there is, and goes away.
    assert "reading in.csv" in bar, bar
    assert "%" in bar
    said = set()
    for share in (0.1, 0.3, 0.5, 0.7, 0.85, 0.95):
        place = tmp_path / f"log-{share}"
        Log.create(place, maintain=False).close()
        running = start(place, source)
        time.sleep(took * share)
        running.send_signal(signal.SIGINT)
        out, errors = running.communicate(timeout=120)
        finished = out.startswith("done\n")  # the signal came after it, whatever it then did
        assert finished or (running.returncode, out) == (0, "stopped\n"), errors[-2000:]
        said.add(out)
        with Log.open(place, maintain=False) as log:
            held = ROWS if finished else 0
            assert log.next_position in (held, ROWS)
            assert log.verify().ok
            named = {segment.path for segment in log.snapshot().segments}
            assert set((place / "events").rglob("*.parquet")) == named
            assert not [path for path in place.rglob("*") if path.name.startswith(".tmp-")]
            again = import_events(source, log, progress=False, **ROLES)  # type: ignore[arg-type]
            assert again.kept + again.duplicates == ROWS
            assert log.next_position == ROWS
    assert "stopped\n" in said
