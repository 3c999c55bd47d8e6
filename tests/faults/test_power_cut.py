"""A power cut: every state the disk could be left in, and a real disk cut off."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .crash_states import SYNCED, read_trace
from .shim import Ended, Server

pytestmark = pytest.mark.faults

SHARES = 4  # each a test of its own, so that they can run side by side


def recorded(server: Server, fast: Path, *, large: bool = False, fail_sync: int = 0) -> Ended:
    """Live the log's life once, if asked with one failing sync."""
    root = fast / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    run = server.run(
        "crash_jobs:record",
        root=str(root),
        trace=str(fast / "trace"),
        large=large,
        fail_sync=fail_sync,
    )
    assert run.status == 0, run
    return run


def surveyed(server: Server, fast: Path, **options: object) -> tuple[int, list[list[str]]]:
    """Return how many states were opened, and what was wrong with which."""
    run = server.run(
        "crash_jobs:survey",
        timeout=3000,
        trace=str(fast / "trace"),
        root=str(fast / "root"),
        folder=str(fast / "disk"),
        **options,
    )
    assert run.status == 0, run
    return int(run.of("states")[0]), [json.loads(text) for text in run.of("broken")]


def shown(broken: list[list[str]]) -> str:
    return f"{len(broken)} states are broken, among them\n" + "\n".join(
        "\n    ".join(case) for case in broken[:12]
    )


@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_acknowledged_is_lost(
    server: Server, fast: Path, share: int, long_run: bool
) -> None:
    recorded(server, fast)
    most = 2000 if long_run else 16
    count, broken = surveyed(server, fast, most=most, share=share, shares=SHARES)
    assert not broken, shown(broken)
    assert count > 100


def test_journal_of_the_tail_starts_over(server: Server, fast: Path, long_run: bool) -> None:
    """SQLite moves a long journal into the file and begins it anew."""
    recorded(server, fast, large=True)
    restarts = {"kind": "write", "path": "log/tail.sqlite-wal", "offset": 0}
    lines = (fast / "trace").read_text().splitlines()
    headers = [s for s in map(json.loads, lines) if restarts.items() <= _relative(s, fast).items()]
    assert len(headers) > 1, "the journal was never started over"
    heavy = next(i for i, line in enumerate(lines) if json.loads(line)["path"] == "h0")
    most = 100 if long_run else 4
    count, broken = surveyed(server, fast, most=most, start=heavy, between=False)
    assert not broken, shown(broken)
    assert count > 15


def _relative(step: dict[str, object], fast: Path) -> dict[str, object]:
    return step | {"path": str(step["path"]).removeprefix(f"{fast}/root/")}


@pytest.mark.parametrize("what", SYNCED)
def test_without_a_sync_something_breaks(server: Server, fast: Path, what: str) -> None:
    """The survey above can fail: it does when any one kind of sync is left out."""
    recorded(server, fast)
    steps = read_trace(fast / "trace", str(fast / "root"), what)
    created = next(i for i, step in enumerate(steps) if step["path"] == "created") + 1
    _, broken = surveyed(
        server, fast, most=10, drop=what, start=created, between=False, until_broken=True
    )
    assert broken, f"no state of the disk needs the sync of {what}"


def test_failed_sync_is_not_forgotten(server: Server, fast: Path, long_run: bool) -> None:
    """A sync fails, the step is done again, and the power fails after its acknowledgement."""
    (total,) = map(int, recorded(server, fast).of("syncs"))
    assert total > 20
    failures: list[str] = []
    every = 1 if long_run else max(1, total // 6)
    for number in range(1, total + 1, every):
        hits = recorded(server, fast, fail_sync=number).of("hit")
        # A failure may make the life shorter or longer, and the last sync may then never come.
        assert len(hits) == 1 or number > 0.9 * total, f"sync {number} of {total} did not come"
        if not hits:
            continue
        steps = [json.loads(line) for line in (fast / "trace").read_text().splitlines()]
        failed = next(
            i for i, s in enumerate(steps) if s["kind"].endswith("sync") and s["result"] < 0
        )
        _, broken = surveyed(server, fast, most=100 if long_run else 4, start=failed, between=False)
        if broken:
            failures.append(f"EIO at sync {number} ({hits[0]}): {shown(broken[:2])}")
    assert not failures, "\n".join(failures)


# --- a real block device --------------------------------------------------------------------


def _shell(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@contextmanager
def mounted(image: Path, point: Path) -> Iterator[Path]:
    """Mount an image, or skip the test where that is not allowed."""
    point.mkdir(exist_ok=True)
    try:
        _shell("mount", "-o", "loop", str(image), str(point))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"loop mounts are not allowed here: {getattr(error, 'stderr', error)}")
    try:
        yield point
    finally:
        _shell("umount", str(point))


def cut_off(
    server: Server, folder: Path, seed: int, *, no_sync: bool
) -> tuple[set[str], list[str]]:
    """Write to a disk, copy it at a random moment, open the copy.

    Returns the acknowledged batches, and what is wrong with the copy.
    """
    image, copy = folder / "disk", folder / "copy"
    chance = random.Random(seed)
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    try:
        _shell("mkfs.ext4", "-q", "-F", str(image))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no ext4 file system can be made here: {error}")
    acknowledged: set[str] = set()
    with mounted(image, folder / "point") as point:
        writer = server.spawn(
            "crash_jobs:write_on_disk",
            path=str(point / "log"),
            name="w",
            seed=seed,
            no_sync=no_sync,
        )
        wanted = chance.randint(40, 400)
        while len(acknowledged) < wanted:
            lines = writer.lines()
            assert lines is not None, "the writer ended"
            _note(lines, acknowledged)
        os.kill(writer.pid, signal.SIGSTOP)
        os.set_blocking(writer.pipe, False)
        with suppress(BlockingIOError):
            _note(writer.lines() or [], acknowledged)
        os.set_blocking(writer.pipe, True)
        # What the file system has not written to the image by now is lost.
        _shell("cp", "--sparse=always", str(image), str(copy))
        writer.kill()
    with mounted(copy, folder / "point") as point:
        read = server.run("crash_jobs:read_all", path=str(point / "log"))
    wrong = [*read.of("crashed"), *read.of("wrong")]
    wrong += [f"lost: {name}" for name in sorted(acknowledged - set(read.of("batch")))]
    return acknowledged, wrong


def _note(lines: list[str], acknowledged: set[str]) -> None:
    for line in lines:
        kind, _, text = line.partition(" ")
        assert kind != "crashed", text
        if kind == "acknowledged":
            acknowledged.add(text)


def test_disk_cut_off(server: Server, tmp_path: Path, long_run: bool) -> None:
    """The disk is copied while it is written to; the copy is what a power cut would leave."""
    total = 0
    for seed in range(60 if long_run else 4):
        acknowledged, wrong = cut_off(server, tmp_path, seed, no_sync=False)
        assert not wrong, f"round {seed}, {len(acknowledged)} acknowledged: {wrong[:5]}"
        total += len(acknowledged)
    assert total > 150


def test_disk_cut_off_without_sync_loses(server: Server, tmp_path: Path) -> None:
    """The test above can fail: it does when the library swallows every sync."""
    _, wrong = cut_off(server, tmp_path, 0, no_sync=True)
    assert wrong
