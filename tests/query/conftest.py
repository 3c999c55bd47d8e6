"""A log with sealed events and a tail, and a session that asks it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from esnb.event import DomainEvent
from esnb.log import Log
from esnb.query import Session

DAY = 86_400_000_000


def make_rows(start: int, count: int) -> pa.Table:
    """Return `count` events, one a day from 2026-01-01 on, in twenty streams."""
    numbers = range(start, start + count)
    kinds = ("order", "customer", "it'em")
    return pa.table(
        {
            "stream": [f"{kinds[i % 3]}-{i % 20}" for i in numbers],
            "event_type": [("Placed", "Paid", "Shipped")[i // 20 % 3] for i in numbers],
            "event_id": [f"id-{i}" for i in numbers],
            "actor": [None if i % 5 == 0 else f"actor {i % 4}" for i in numbers],
            "correlation_id": [None if i % 2 else f"c-{i % 7}" for i in numbers],
            "causation_id": [None if i % 3 else f"id-{i - 1}" for i in numbers],
            "tags": [[f"t{i % 2}", f"u{i % 3}"][: i % 3] for i in numbers],
            "data": [f'{{"amount": {i}}}' for i in numbers],
            "occurred_on": pa.array(
                [1_767_225_600_000_000 + (i * 37 % 200) * DAY for i in numbers],
                pa.timestamp("us", "UTC"),
            ),
            "recorded_on": pa.array(
                [1_767_225_600_000_000 + i * DAY for i in numbers], pa.timestamp("us", "UTC")
            ),
        }
    )


def filled_log(folder: Path) -> Log:
    """Return a log with three segments and a tail; the caller closes it."""
    log = Log.create(folder, zone="Europe/Berlin", maintain=False)
    for start in (0, 60, 120):
        log.append_frame(make_rows(start, 60))
        log.seal()
    for row in make_rows(180, 20).to_pylist():
        stream = row.pop("stream")
        # What is appended is recorded now.
        del row["recorded_on"]
        log.append(stream, DomainEvent(**row))
    return log


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """Return a log to read from (see `filled_log`)."""
    with filled_log(tmp_path_factory.mktemp("filled") / "log") as log:
        yield log


@pytest.fixture(scope="module")
def session(filled: Log) -> Iterator[Session]:
    opened = Session(filled.path, zone=filled.zone)
    yield opened
    opened.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Log, Session]]:
    """Return a log to append to or to damage, and its session."""
    with filled_log(tmp_path / "log") as log:
        opened = Session(log.path, zone=log.zone)
        yield log, opened
        opened.close()


@pytest.fixture(scope="session")
def fill() -> Callable[[Path], Log]:
    return filled_log


@pytest.fixture(scope="session")
def rows() -> Callable[[int, int], pa.Table]:
    return make_rows


@pytest.fixture(scope="session")
def hostile_names() -> list[str]:
    """Return 2,000 names and values that SQL might trip over."""
    chosen = random.Random(7)
    marks = (
        "\" ' '' \"\" ; -- /* */ \\ \\' $1 ? % {} [0] * a.b x::int ü 日本 🎈 @ #1 :a $$ NULL select"
    )
    pieces = [*marks.split(" "), *"\n\r\t \u202e\u200b", "events", "drop view events"]
    pieces += ["' or '1'='1", "e'\\x00'", "U&'\\0000'", "\r\n"]
    found = [*pieces]
    while len(found) < 2_000:
        name = "".join(chosen.choices(pieces, k=chosen.randint(1, 8)))
        if name not in found:
            found.append(name)
    return found
