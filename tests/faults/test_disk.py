"""Disks that are full or cannot be written, and files that are missing, cut short or altered."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from esnb.errors import DamagedLogError, LogError, ReadOnlyLogError, StorageError
from esnb.event import DomainEvent
from esnb.log import Log

from .shim import Server
from .workload import batch, contents

pytestmark = pytest.mark.faults

FLIPS = 1000
SHARES = 4


@contextmanager
def mounted(point: Path, *calls: list[str]) -> Iterator[Path]:
    """Mount something by one or several calls, or skip the test where that is not allowed."""
    point.mkdir(exist_ok=True)
    done = 0
    try:
        for options in calls:
            subprocess.run(["mount", *options, str(point)], check=True, capture_output=True)
            done += 1
        yield point
    except (OSError, subprocess.CalledProcessError) as error:
        if done == len(calls):
            raise
        pytest.skip(f"mounting is not allowed here: {getattr(error, 'stderr', error)!r}")
    finally:
        if done:
            busy = subprocess.run(["umount", str(point)], capture_output=True, text=True)
            if busy.returncode:
                held = open_below(point)
                subprocess.run(["umount", "--lazy", str(point)], check=True)
                pytest.fail(f"something holds a file open: {busy.stderr}, this process {held}")


SMALL = ["-t", "tmpfs", "-o", "size=4m", "none"]


def refusal(action: Callable[[], object]) -> LogError:
    """Return the error of an action that must fail, without the frames that it holds open."""
    with pytest.raises(LogError) as refused:
        action()
    error = refused.value.with_traceback(None)
    error.__cause__ = error.__context__ = None
    return error


def heavy(name: str, size: int) -> list[DomainEvent]:
    """Return a batch of events of 8 KiB each that do not compress."""
    chance = random.Random(name)
    return [
        event.replace(data={"batch": name, "index": index, "ballast": chance.randbytes(4096).hex()})
        for index, event in enumerate(batch(name, size))
    ]


# --- full and read-only disks ---------------------------------------------------------------


def fill(point: Path) -> Path:
    """Take all room that is left on a disk."""
    ballast = point / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def open_below(point: Path) -> list[str]:
    """Return the files below a folder that this process has open; those that are gone say so."""
    handles = Path("/proc/self/fd")
    # The handle that listed the folder is gone by now.
    links = [os.readlink(handle) for handle in handles.iterdir() if handle.is_symlink()]
    return [link for link in links if link.startswith(str(point))]


def test_full_disk(tmp_path: Path) -> None:
    """Writing stops with a clear error; nothing is lost; with room again it goes on."""
    with mounted(tmp_path / "small", SMALL) as point:
        path = point / "log"
        acknowledged: list[str] = []
        with Log.create(path, maintain=False) as log:

            def write() -> None:
                for number in range(1000):
                    log.append(f"order-{number % 5}", heavy(f"f{number}", 4))
                    acknowledged.append(f"f{number}")

            assert_told(refusal(write), "space")
            assert len(acknowledged) > 20
            assert_told(refusal(log.seal), "space")
            # A file that is taken away while it is open keeps its room on the full disk.
            assert not [link for link in open_below(point) if link.endswith("(deleted)")]
            found = contents(log)
            assert not found.faults, found.faults
            assert found.batches == acknowledged
        look(path, acknowledged)


def test_disk_that_fills_up_and_is_cleared(tmp_path: Path) -> None:
    """The same handle goes on once there is room; what failed can be appended again."""
    with mounted(tmp_path / "small", SMALL) as point:
        path = point / "log"
        with Log.create(path, maintain=False) as log:
            log.append("order-1", heavy("before", 10))
            ballast = fill(point)
            for attempt in range(3):
                events = heavy(f"full{attempt}", 30)
                assert_told(refusal(partial(log.append, "order-1", events)), "space")
            ballast.unlink()
            for attempt in range(3):
                log.append("order-1", heavy(f"full{attempt}", 30))
            ballast = fill(point)
            assert_told(refusal(log.seal), "space")
            ballast.unlink()
            assert log.seal() == 100
            found = contents(log)
            assert not found.faults, found.faults
            assert found.batches == ["before", "full0", "full1", "full2"]
        look(path, found.batches)


def test_full_disk_can_be_read(tmp_path: Path) -> None:
    """A log that was closed opens for reading on a disk without a free byte."""
    with mounted(tmp_path / "small", SMALL) as point:
        path = point / "log"
        with Log.create(path, maintain=False) as log:
            log.append("order-1", heavy("sealed", 10))
            log.seal()
            log.append("order-1", heavy("unsealed", 10))
        fill(point)
        look(path, ["sealed", "unsealed"])


def look(path: Path, batches: list[str]) -> None:
    """Open a log for reading and compare what it holds."""
    with Log.open(path, read_only=True, verify="always") as log:
        found = contents(log)
    assert not found.faults, found.faults
    assert found.batches == batches


def assert_told(error: LogError, word: str) -> None:
    """The error says what is the matter, in words."""
    assert not isinstance(error, DamagedLogError), error
    text = str(error).lower()
    assert word in text or "full" in text, text


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open by a killed writer"])
def test_read_only_disk(server: Server, tmp_path: Path, closed: bool) -> None:
    """Reading, replay and verification work; writing says that the disk cannot be written."""
    path = tmp_path / "log"
    if closed:
        with Log.create(path, maintain=False) as log:
            log.append("order-1", batch("sealed", 5))
            log.seal()
            log.append("order-1", batch("unsealed", 5))
    else:
        Log.create(path, maintain=False).close()
        writer = server.spawn("jobs:write_for_ever", path=str(path), name="w", seed=4)
        said = [*writer.until("sealed"), *writer.until("acknowledged"), *writer.kill()]
        acknowledged = [x.split()[1] for x in said if x.startswith("acknowledged")]
        assert (path / "tail.sqlite-wal").stat().st_size
    before = sorted(item.relative_to(path) for item in path.rglob("*"))
    with (
        mounted(tmp_path / "fixed", ["--bind", str(path)], ["-o", "remount,bind,ro"]) as point,
        Log.open(point, verify="always") as log,
    ):
        found = contents(log)
        assert not found.faults, found.faults
        wanted = ["sealed", "unsealed"] if closed else acknowledged
        assert set(wanted) <= set(found.batches)
        assert len(list(log.read_stream("order-1"))) == sum(
            event.stream == "order-1" for event in log.read()
        )
        assert list(log.subscribe(follow=False))
        assert log.event(next(iter(log.read())).event_id) is not None
        assert log.info().events == found.events
        for write in (
            lambda: log.append("order-1", batch("new", 1)),
            log.seal,
            log.compact,
        ):
            with pytest.raises((ReadOnlyLogError, StorageError)):
                write()
    assert sorted(item.relative_to(path) for item in path.rglob("*")) == before


# --- files that are not what they were ------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log with segments, manifests, indexes and an unsealed tail."""
    path = tmp_path_factory.mktemp("whole") / "log"
    with Log.create(path, maintain=False, zone="Europe/Vienna") as log:
        for number in range(4):
            log.append(f"order-{number}", batch(f"a{number}", 30))
            log.append(f"customer-{number}", batch(f"b{number}", 20))
            log.seal()
        log.append("order-1", batch("unsealed", 25))
        log.append("order-9", batch("unsealed2", 5))
        assert list(log.known_ids(_ids("a1.0/30", "nobody")).to_pylist()) == [True, False]
    return path


def _ids(*values: str) -> object:
    import pyarrow as pa

    return pa.array(values)


KINDS = {
    "segment": "events/*/*.parquet",
    "manifest": "manifest/*.json",
    "tail": "tail.sqlite",
    "log.json": "log.json",
    "index": "derived/ids/*.ids",
}


def victim(path: Path, kind: str) -> Path:
    """Return the last file of a kind."""
    found = sorted(path.glob(KINDS[kind]))
    assert found, f"the log has no {kind}"
    return found[-1]


def missing(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    # Near the end of the file: in a row of the tail, not on a page that nothing uses.
    content[len(content) * 9 // 10 if path.suffix != ".sqlite" else _row(content)] ^= 4
    path.write_bytes(content)


def _row(content: bytearray) -> int:
    return content.rindex(b'"batch":"unsealed","index":7')


def another(path: Path) -> None:
    """Put another file of the same kind in its place."""
    others = sorted(item for item in path.parent.glob(f"*{path.suffix}") if item != path)
    path.write_bytes(others[0].read_bytes() if others else b"something else")


HARMS = (missing, cut_short, emptied, flipped, another)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_file_is_named(whole: Path, tmp_path: Path, kind: str, harm: object) -> None:
    """The error names the file before any of its rows is shown; an index is built anew."""
    path = tmp_path / "log"
    shutil.copytree(whole, path)
    with Log.open(whole, read_only=True) as log:
        original = list(log.read())
    file = victim(path, kind)
    harm(file)  # type: ignore[operator]
    if kind == "index":
        with Log.open(path, maintain=False, verify="always") as log:
            assert list(log.read()) == original
            assert log.event("a3.2/30") == original[152]
            assert log.known_ids(_ids("b3.0/20", "nobody")).to_pylist() == [True, False]
            assert log.append("order-3", batch("a3", 30))[0].position == 150
            assert log.verify().ok
        return
    shown = []
    with pytest.raises(LogError) as refused, Log.open(path, maintain=False) as log:
        for event in log.read():
            shown.append(event)
    error = refused.value
    if kind == "log.json" and harm is missing:
        assert str(path) in str(error)
        return
    assert isinstance(error, DamagedLogError), repr(error)
    assert error.path == file
    assert str(file) in str(error)
    assert shown == original[: len(shown)]
    assert len(shown) <= 150, "rows of the damaged file were shown"


def test_missing_tail_is_not_made_anew(whole: Path, tmp_path: Path) -> None:
    """A writer does not take an absent tail for an empty one."""
    path = tmp_path / "log"
    shutil.copytree(whole, path)
    (path / "tail.sqlite").unlink()
    for _ in range(2):
        with pytest.raises(DamagedLogError), Log.open(path) as log:
            log.append("order-1", batch("new", 1))


def test_log_without_its_name_is_not_made_anew(tmp_path: Path) -> None:
    """Creating where log.json is lost is refused, and touches nothing."""
    path = tmp_path / "log"
    with Log.create(path, maintain=False) as log:
        log.append("order-1", batch("kept", 3))
    name = (path / "log.json").read_bytes()
    (path / "log.json").unlink()
    with pytest.raises(LogError):
        Log.create(path, maintain=False).close()
    (path / "log.json").unlink(missing_ok=True)
    (path / "log.json").write_bytes(name)
    look(path, ["kept"])


# --- random bits ----------------------------------------------------------------------------


@pytest.mark.parametrize("share", range(SHARES))
def test_random_flips(server: Server, whole: Path, fast: Path, share: int, long_run: bool) -> None:
    """One bit anywhere in the log: an error of ours, or the very same events."""
    count = (20 if long_run else 1) * FLIPS // SHARES
    run = server.run(
        "disk_jobs:flip_bits",
        timeout=900,
        whole=str(whole),
        folder=str(fast),
        count=count,
        seed=share,
    )
    assert run.status == 0, run.lines[-3:]
    outcomes = Counter(line.split()[0] for line in run.of("flip"))
    assert sum(outcomes.values()) == count
    assert not run.of("wrong"), "\n".join(run.of("wrong")[:20])
    assert set(outcomes) <= {"refused", "same"}
    assert outcomes["refused"] > count // 3
    touched = Counter(line.split()[1] for line in run.of("flip"))
    assert set(touched) == set(KINDS)


def test_random_flips_in_the_journal(server: Server, fast: Path, tmp_path: Path) -> None:
    """What a killed writer left in SQLite's journal: a flip there is found, too.

    Except in the newest commit, where a flipped bit cannot be told from a power cut
    in the middle of it: then this one batch may be gone, whole.
    """
    path = tmp_path / "log"
    Log.create(path, maintain=False).close()
    writer = server.spawn("disk_jobs:write_and_wait", path=str(path), batches=60)
    assert writer.until("waiting")[-1] == "waiting "
    writer.kill()
    assert (path / "tail.sqlite-wal").stat().st_size > 10_000
    run = server.run(
        "disk_jobs:flip_journal", timeout=300, whole=str(path), folder=str(fast), count=200, seed=1
    )
    assert run.status == 0, run.lines[-3:]
    assert not run.of("wrong"), "\n".join(run.of("wrong")[:20])
    outcomes = Counter(line.split()[0] for line in run.of("flip"))
    assert sum(outcomes.values()) == 200
    assert outcomes["refused"] > 100
