"""Batches of events that can be recognised, and the judge of a log that holds them.

Event ``b7.2/3`` is number 2 of the 3 events of batch b7.  A batch is whole when all
of its events stand side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from esnb.event import DomainEvent, RecordedEvent
from esnb.log import Append, Log

__all__ = ["Contents", "appends", "batch", "contents", "judge", "parts", "sample_log"]


def batch(name: str, size: int, start: int = 0, total: int | None = None) -> list[DomainEvent]:
    """Return the events of a batch, or those from number `start` of a batch of `total`."""
    whole = size if total is None else total
    return [
        DomainEvent(
            "Counted",
            {"batch": name, "index": index, "text": f"{name}:{index} " * 4},
            event_id=f"{name}.{index}/{whole}",
            occurred_on="2026-01-01T00:00:00Z",
            tags=(f"batch:{name}",),
        )
        for index in range(start, start + size)
    ]


def appends(name: str, streams: Iterable[str], each: int) -> list[Append]:
    """Return a batch that is spread over several streams."""
    names = list(streams)
    total = each * len(names)
    return [
        Append(stream, batch(name, each, number * each, total))
        for number, stream in enumerate(names)
    ]


def sample_log(path: Path) -> None:
    """Make a log with two segments and an unsealed tail, and let go of it."""
    with Log.create(path, maintain=False) as log:
        log.append("order-1", batch("base1", 4))
        log.append("order-2", batch("base2", 3))
        log.seal()
        log.append("order-1", batch("base3", 2))
        log.seal()
        log.append("order-3", batch("base4", 3))


BASE = ("base1", "base2", "base3", "base4")


def parts(event_id: str) -> tuple[str, int, int]:
    """Return batch, index and size of a batch from an event id."""
    name, _, place = event_id.partition(".")
    index, _, size = place.partition("/")
    return name, int(index), int(size)


@dataclass
class Contents:
    """The batches of a log, and everything that is wrong with it.

    Attributes
    ----------
    batches
        Names of the whole batches, in order.
    faults
        What is wrong; empty for a good log.
    """

    batches: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    events: int = 0


def judge(events: Iterable[RecordedEvent], start: int = 0) -> Contents:
    """Check positions, revisions and batches of events that begin at position `start`."""
    found = Contents()
    revisions: dict[str, int] = {}
    present: Counter[str] = Counter()
    last: tuple[str, int, int] | None = None
    for count, event in enumerate(events):
        if event.position != start + count:
            found.faults.append(f"position {event.position} stands at place {start + count}")
        before = revisions.get(event.stream, -1 if start == 0 else None)
        if before is not None and event.revision != before + 1:
            found.faults.append(f"{event.stream} goes from revision {before} to {event.revision}")
        revisions[event.stream] = event.revision
        name, index, size = parts(event.event_id)
        present[event.event_id] += 1
        if index == 0:
            if last is not None and last[1] != last[2] - 1:
                found.faults.append(f"batch {last[0]} stops at {last[1]} of {last[2]}")
        elif last is None or last[0] != name or last[1] != index - 1:
            found.faults.append(f"event {event.event_id} does not follow its batch")
        if index == size - 1:
            found.batches.append(name)
        last = (name, index, size)
        if event.data["batch"] != name or event.data["index"] != index:
            found.faults.append(f"event {event.event_id} has the data of another")
        found.events += 1
    if last is not None and last[1] != last[2] - 1:
        found.faults.append(f"batch {last[0]} stops at {last[1]} of {last[2]}")
    found.faults += [f"event {name} stands {n} times" for name, n in present.items() if n > 1]
    return found


def contents(log: Log, *, full: bool = True) -> Contents:
    """Read a whole log and verify it."""
    found = judge(log.read())
    report = log.verify(full=full)
    found.faults += [f"verify: {item.path.name}: {item.problem}" for item in report.findings]
    if report.ok and report.events != found.events:
        found.faults.append(f"verify counted {report.events} events, {found.events} were read")
    return found
