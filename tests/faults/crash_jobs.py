"""What the children of the fork server do for the power-cut tests."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

from esnb.errors import EsnbError, LogExistsError, LogNotFoundError
from esnb.event import DomainEvent
from esnb.log import Append, Log

from .crash_states import State, read_trace, states
from .jobs import say, write_for_ever
from .shim import Fault
from .workload import appends, batch, contents, judge


def record(
    fault: Fault, pipe: int, *, root: str, trace: str, large: bool, fail_sync: int = 0
) -> None:
    """Live a log's life below `root` and write down every operation.

    Parameters
    ----------
    large
        Append so much that SQLite moves its journal into the file on the way.
    fail_sync
        Number of the sync that fails (EIO), and whose step is then tried again; 0 for none.

    Lines: ``hit KIND PATH`` for the failed one; ``syncs N``, those of the whole life.
    """
    handle = os.open(trace, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o644)
    mode = "fail" if fail_sync else "none"
    fault.arm(root, mode, error=errno.EIO, number=fail_sync, row="syncs", trace=handle, report=pipe)
    _live(fault, Path(root) / "log", large=large)
    say(pipe, "syncs", fault.count("syncs"))
    fault.disarm()


def _live(fault: Fault, path: Path, *, large: bool) -> None:

    def note(text: str) -> None:
        fault.note(text)

    def again(action: object, name: str) -> None:
        for attempt in (1, 2, 3):
            try:
                action()  # type: ignore[operator]
            except EsnbError:
                if attempt == 3:
                    raise
            else:
                note(name)
                return

    def create() -> None:
        with suppress(LogExistsError), Log.create(path, maintain=False):
            pass

    again(create, "created")
    log = Log.open(path, maintain=False)
    again(lambda: log.append("order-1", batch("a1", 2)), "a1")
    again(lambda: log.append_many(*appends("a2", ("order-1", "order-2"), 2)), "a2")
    if large:
        for number in range(4):
            again(lambda n=number: log.append("order-3", _heavy(f"h{n}", 18)), f"h{number}")
        again(lambda: log.append("order-2", batch("a3", 1)), "a3")
        log.close()
        note("closed")
        return
    again(log.seal, "sealed")
    again(lambda: log.append("order-2", batch("a3", 1)), "a3")
    again(log.seal, "sealed")
    again(lambda: log.append("order-1", batch("a4", 3)), "a4")
    again(lambda: log.compact(grace=3600), "compacted")
    again(lambda: log.append_many(Append("order-4", batch("a5", 2))), "a5")
    with suppress(EsnbError):
        log.close()
    note("closed")
    with Log.open(path, maintain=False) as log:
        again(lambda: log.append("order-1", batch("a6", 1)), "a6")
        again(log.seal, "sealed")
    note("closed")


def _heavy(name: str, size: int) -> list[DomainEvent]:
    """Return a batch of 64 KiB events."""
    return [
        event.replace(data=event.data_text[:-1] + ',"ballast":"' + "x" * 65_536 + '"}')
        for event in batch(name, size)
    ]


def survey(
    _: Fault,
    pipe: int,
    *,
    trace: str,
    root: str,
    folder: str,
    most: int,
    drop: str = "",
    start: int = 0,
    between: bool = True,
    share: int = 0,
    shares: int = 1,
    go_on_every: int = 10,
    until_broken: bool = False,
) -> None:
    """Put every state that a power cut could leave into `folder` and open it.

    Lines: ``broken TEXT``; ``states N``.
    """
    place = Path(folder)
    count = 0
    steps = read_trace(Path(trace), root, drop)
    for number, state in enumerate(states(steps, most, start=start, between=between)):
        if number % shares != share:
            continue
        count += 1
        faults = _faults(place, state, go_on=count % go_on_every == 0)
        if faults:
            before = steps[state.step - 1] if state.step else {"kind": "nothing", "path": ""}
            where = f"after step {state.step} ({before['kind']} {before['path']})"
            say(pipe, "broken", json.dumps([where, *faults[:5]]))
            if until_broken:
                break
    say(pipe, "states", count)


def _faults(place: Path, state: State, *, go_on: bool) -> list[str]:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in sorted(state.folders):
        (place / name).mkdir()
    for name, content in state.files.items():
        (place / name).write_bytes(content)
    acknowledged = {note for note in state.notes if note[1:].isdigit()}
    path = place / "log"
    try:
        try:
            log = Log.open(path, maintain=False, verify="always")
        except LogNotFoundError:
            if "created" in state.notes:
                return ["the log is not there"]
            log = Log.create(path, maintain=False)
        with log:
            found = judge(log.read())
            report = log.verify(full=False)
            faults = [*found.faults, *(f"verify: {f.path}: {f.problem}" for f in report.findings)]
            present = Counter(found.batches)
            faults += [f"lost: {name}" for name in acknowledged - set(present)]
            if go_on and not faults:
                faults += _go_on(log, sorted(present))
            return faults
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def _go_on(log: Log, present: list[str]) -> list[str]:
    """Work on after the crash: repeat what may be missing, add, seal, merge, verify."""
    log.append("order-1", batch("a1", 2))
    log.append("order-2", batch("more", 2))
    log.seal()
    log.compact(grace=0)
    found = contents(log)
    wanted = sorted({*present, "a1", "more"})
    if sorted(found.batches) != wanted:
        found.faults.append(f"it holds {sorted(found.batches)}, not {wanted}")
    return [f"going on: {fault}" for fault in found.faults]


def write_on_disk(
    fault: Fault, pipe: int, *, path: str, name: str, seed: int, no_sync: bool
) -> None:
    """Make a log and write to it for ever, without any sync if asked."""
    if no_sync:
        fault.arm(path, "no sync")
    Log.create(path, maintain=False).close()
    write_for_ever(fault, pipe, path=path, name=name, seed=seed)


def read_all(_: Fault, pipe: int, *, path: str) -> None:
    """Say every batch of a log, and everything that is wrong with it."""
    with Log.open(path, maintain=False, verify="always") as log:
        found = contents(log)
    for text in found.faults:
        say(pipe, "wrong", text)
    for name in found.batches:
        say(pipe, "batch", name)
    say(pipe, "events", found.events)
