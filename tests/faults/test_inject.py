"""A fault at every file operation of two appends, a seal and a compaction.

After each, a fresh process must find the log whole, with every acknowledged batch
once; the error, where there was one, must be one of esnb; and a retry with the same
event ids must leave exactly one copy.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from esnb.log import Log

from .shim import Ended, Server
from .workload import BASE, contents, sample_log

pytestmark = pytest.mark.faults

# Name, what the library does, with which errno, and at which operations.
MODES = {
    "kill before": ("kill before", 0, "changes"),
    "kill after": ("kill after", 0, "changes"),
    "short write and kill": ("short write and kill", 0, "writes"),
    "short write": ("short write", 0, "writes"),
    "ENOSPC": ("fail", errno.ENOSPC, "changes"),
    "ENOSPC from here on": ("disk full from here on", errno.ENOSPC, "growth"),
    "EDQUOT": ("fail", errno.EDQUOT, "growth"),
    "EIO": ("fail", errno.EIO, "changes"),
    "EIO after doing it": ("fail after", errno.EIO, "changes"),
    "EIO on reading": ("fail", errno.EIO, "reads"),
    "EROFS": ("fail", errno.EROFS, "changes"),
    "EACCES": ("fail", errno.EACCES, "changes"),
    "EINTR": ("fail", errno.EINTR, "changes"),
}
SAMPLE = 32  # operations for each mode, unless ESNB_LONG=1


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with segments and a tail, closed."""
    path = tmp_path_factory.mktemp("template") / "log"
    sample_log(path)
    return path


@pytest.fixture
def trial_log(template: Path, fast: Path) -> Path:
    """Where each trial finds a fresh copy of the template."""
    return fast / "log"


def fresh(template: Path, path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(template, path)


def operations(server: Server, template: Path, path: Path) -> dict[str, list[int]]:
    """Return the numbers of the operations of a run without a fault, by group."""
    fresh(template, path)
    run = server.run("jobs:inject", path=str(path), mode="list")
    assert run.status == 0, run
    groups: dict[str, list[int]] = {"changes": [], "writes": [], "growth": [], "reads": []}
    for line in run.of("hit"):
        row, number, grows, kind, _ = line.split(" ", 4)
        if row == "R":
            groups["reads"].append(int(number))
            continue
        groups["changes"].append(int(number))
        if kind == "write":
            groups["writes"].append(int(number))
        if grows == "1":
            groups["growth"].append(int(number))
    assert len(groups["changes"]) > 100, "the library sees too little"
    return groups


def sampled(numbers: list[int], most: int | None) -> Iterator[int]:
    """Return all numbers, or `most` of them spread evenly."""
    if most is None or len(numbers) <= most:
        yield from numbers
    else:
        yield from (numbers[i * len(numbers) // most] for i in range(most))


def problems(server: Server, run: Ended, path: Path) -> list[str]:
    """Return every promise that one trial broke."""
    found = run.of("wrong") + run.of("crashed")
    if run.status not in (0, -9):
        found.append(f"the child ended with {run.status}")
    if run.status == 0 and not {"one", "two"} <= set(run.of("acknowledged")):
        found.append("a batch was never acknowledged")
    look = server.run("jobs:examine", path=str(path), retry=True)
    found += look.of("crashed")
    if look.status != 0:
        return [*found, f"a fresh process ended with {look.status}"]
    before = json.loads(look.of("before")[0])
    after = json.loads(look.of("after")[0])
    acknowledged = [*BASE, *run.of("acknowledged")]
    for name, count in Counter(acknowledged).items():
        if before["batches"].count(name) != count:
            found.append(f"{name}: acknowledged, in the log {before['batches'].count(name)} times")
    found += [f"before the retry: {fault}" for fault in before["faults"]]
    found += [f"after the retry: {fault}" for fault in after["faults"]]
    if Counter(after["batches"]) != Counter([*BASE, "one", "two", "later"]):
        found.append(f"after the retry the log holds {after['batches']}")
    return found


@pytest.mark.parametrize("mode", MODES)
def test_fault_at_every_operation(
    server: Server, template: Path, trial_log: Path, mode: str, long_run: bool
) -> None:
    what, code, group = MODES[mode]
    numbers = operations(server, template, trial_log)[group]
    broken: dict[str, list[str]] = {}
    hit = 0
    for number in sampled(numbers, None if long_run else SAMPLE):
        fresh(template, trial_log)
        run = server.run(
            "jobs:inject",
            path=str(trial_log),
            mode=what,
            error=code,
            number=number,
            row="reads" if group == "reads" else "changes",
        )
        hit += bool(run.of("hit"))
        found = problems(server, run, trial_log)
        if found:
            place = (run.of("hit") or ["nothing"])[0]
            broken[f"{number}: {place}"] = [*found, *(f"({e})" for e in run.of("error"))]
    assert not broken, "\n".join(
        f"{mode} at {where}\n    " + "\n    ".join(found) for where, found in broken.items()
    )
    # Threads may change how many reads there are, so not every number is always met.
    assert hit >= 0.9 * min(len(numbers), len(numbers) if long_run else SAMPLE)


# --- the same from outside: the kernel's own answers, altered by strace ------------------------

OUTSIDE = (
    "fdatasync:error=EIO:when=2",
    "fsync:error=EIO:when=1",
    "pwrite64:error=ENOSPC:when=9+",
    "pwrite64:signal=SIGKILL:when=7",
    "linkat,link:error=EIO:when=1",
    "rename:error=ENOSPC:when=1",
)


@pytest.mark.parametrize("injection", OUTSIDE)
def test_fault_from_outside(tmp_path: Path, injection: str) -> None:
    """strace injects the faults, so that the library is not its own witness."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    package = __package__ or ""
    top = Path(__file__).resolve().parents[len(package.split("."))]
    call = f"from {package}.jobs import append_some; append_some(None, 1, path={str(path)!r})"
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-o", str(trace), *_only(path, injection)]
    command += ["-e", f"inject={injection}", sys.executable, "-B", "-c", call]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(top), *filter(None, sys.path)])},
    )
    if "ptrace" in run.stderr and "done" not in run.stdout:
        pytest.skip(f"strace may not trace here: {run.stderr[-200:]}")
    killed = "SIGKILL" in injection
    assert "Traceback" not in run.stderr, run.stderr[-2000:]
    assert ("done" in run.stdout) is not killed, run.stdout + run.stderr[-500:]
    acknowledged = [x.split()[1] for x in run.stdout.splitlines() if x.startswith("acknowledged")]
    with Log.open(path, maintain=False, verify="always") as log:
        found = contents(log)
    assert not found.faults, found.faults
    assert set(acknowledged) <= set(found.batches)
    if not killed:
        assert "(INJECTED)" in trace.read_text()
    if "+" not in injection and not killed:
        assert acknowledged == [f"s{number}" for number in range(5)]


def _only(path: Path, injection: str) -> list[str]:
    """Keep strace to the files of the log; it takes no patterns, and new names it cannot know."""
    if injection.startswith(("link", "rename")):
        return []  # nothing else makes these calls
    names = ("tail.sqlite", "tail.sqlite-wal", "manifest", "events")
    return [part for name in names for part in ("-P", str(path / name))]
