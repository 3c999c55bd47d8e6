"""What the children of the fork server do to files."""

from __future__ import annotations

import os
import random
import shutil
import traceback
from pathlib import Path

from esnb.errors import EsnbError, LogError
from esnb.event import RecordedEvent
from esnb.log import Log

from .jobs import say
from .shim import Fault
from .workload import batch


def flip_bits(_fault: Fault, pipe: int, *, whole: str, folder: str, count: int, seed: int) -> None:
    """Flip one bit of a copy of the log, `count` times, and read everything.

    Lines: ``flip refused|same|different|foreign KIND ERROR``; ``wrong TEXT``.
    """
    with Log.open(whole, read_only=True, verify="always") as log:
        original = list(log.read())
    files = sorted(
        item for item in Path(whole).rglob("*") if item.stat().st_size and item.is_file()
    )
    kinds: dict[str, list[Path]] = {}
    for item in files:
        kinds.setdefault(_kind(item), []).append(item)
    chance = random.Random(seed)
    for _ in range(count):
        kind = chance.choice(sorted(kinds))
        file = chance.choice(kinds[kind])
        path = _copy(whole, folder)
        place = path / file.relative_to(whole)
        offset, bit = chance.randrange(file.stat().st_size), chance.randrange(8)
        _flip(place, offset, bit)
        outcome, note = _read(path, original)
        say(pipe, "flip", f"{outcome} {kind} {note}")
        if outcome in ("different", "foreign"):
            say(pipe, "wrong", f"{outcome}: {place.name}, byte {offset}, bit {bit}: {note}")


def write_and_wait(_: Fault, pipe: int, *, path: str, batches: int) -> None:
    """Append, seal once on the way, and wait for the end."""
    log = Log.open(path, maintain=False)
    for number in range(batches):
        log.append(f"order-{number % 5}", batch(f"j{number}", 1 + number % 4))
        if number == batches // 3:
            log.seal()
    say(pipe, "waiting")
    os.read(pipe, 1)


def flip_journal(_: Fault, pipe: int, *, whole: str, folder: str, count: int, seed: int) -> None:
    """Flip one bit of the journal that a killed writer left, with its index and without."""
    with Log.open(_copy(whole, folder), maintain=False) as log:
        original = list(log.read())
    size = (Path(whole) / "tail.sqlite-wal").stat().st_size
    newest = original[-1].data["batch"]
    shorter = [event for event in original if event.data["batch"] != newest]
    chance = random.Random(seed)
    for number in range(count):
        path = _copy(whole, folder)
        if number % 2:
            (path / "tail.sqlite-shm").unlink()  # as after a power cut
        offset, bit = chance.randrange(size), chance.randrange(8)
        _flip(path / "tail.sqlite-wal", offset, bit)
        outcome, note = _read(path, original, shorter if number % 2 else None)
        say(pipe, "flip", f"{outcome} journal {note}")
        if outcome in ("different", "foreign"):
            index = "without" if number % 2 else "with"
            say(
                pipe,
                "wrong",
                f"{outcome}: byte {offset} of {size}, bit {bit}, {index} -shm: {note}",
            )


def _copy(whole: str, folder: str) -> Path:
    path = Path(folder) / "log"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(whole, path)
    return path


def _flip(place: Path, offset: int, bit: int) -> None:
    content = bytearray(place.read_bytes())
    content[offset] ^= 1 << bit
    place.write_bytes(content)


def _kind(file: Path) -> str:
    if file.suffix == ".parquet":
        return "segment"
    if file.suffix == ".ids":
        return "index"
    if file.parent.name == "manifest":
        return "manifest"
    return "tail" if file.name == "tail.sqlite" else file.name


def _read(
    path: Path, original: list[RecordedEvent], shorter: list[RecordedEvent] | None = None
) -> tuple[str, str]:
    """Return how reading a log went, and the name of the error."""
    try:
        with Log.open(path, maintain=False, verify="always", timeout=5) as log:
            events = list(log.read())
            found = log.event("a1.3/30")
    except EsnbError as error:
        known = isinstance(error, LogError)
        return ("refused" if known else "foreign"), type(error).__name__
    except Exception:
        return "foreign", traceback.format_exc()[-600:].replace("\n", " | ")
    if events == original and (found is None or found in original):
        return "same", "-"
    if shorter is not None and events == shorter:
        return "torn", "-"
    return "different", f"{len(events)} events instead of {len(original)}"
