"""The contract of stores: the log keeps it, and whoever breaks it is found out."""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import EventLog, instants
from esnb.errors import DuplicateEventError, LogError, RevisionConflictError
from esnb.event import DomainEvent, RecordedEvent, domain_events
from esnb.log import ANY, EXISTS, NO_STREAM, Append, Log
from esnb.schema import check_text
from esnb.testing.contract import StoreContract


class TestLog(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Log]:  # type: ignore[override]
        with Log.create(tmp_path / "log") as log:
            yield log


class TestEventLog(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[EventLog]:  # type: ignore[override]
        with esnb.create(tmp_path / "log", zone="UTC") as log:
            yield log


class TestSealedLog(StoreContract):
    """One that is sealed after every append: most is read from Parquet files."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Log]:  # type: ignore[override]
        class Sealing(Log):
            def append_many(self, *appends: Append, **options: Any) -> tuple[RecordedEvent, ...]:
                recorded = super().append_many(*appends, **options)
                self.seal()
                return recorded

        with Sealing.create(tmp_path / "log") as log:
            yield log


class MemoryStore:
    """A store of plain lists; it can be made to break one promise."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.events: list[RecordedEvent] = []
        self._lock = threading.Lock()

    @property
    def next_position(self) -> int:
        return len(self.events) + (self.fault == "counts one too many" and bool(self.events))

    def append(
        self, stream: str, events: Any, *, expected_revision: Any = ANY
    ) -> tuple[RecordedEvent, ...]:
        if self.fault == "has no lock":
            return self._append(stream, events, expected_revision)
        with self._lock:
            return self._append(stream, events, expected_revision)

    def _append(self, stream: str, events: Any, expected: Any) -> tuple[RecordedEvent, ...]:
        if self.fault != "takes any name":
            check_text("stream", stream)
        own = list(self.read_stream(stream))
        revision = len(own) - 1
        made: list[RecordedEvent] = []
        new: list[RecordedEvent] = []
        now = instants.now()
        for event in domain_events(events):
            known = (
                None if self.fault == "knows no ids" else self._known(event, [*self.events, *new])
            )
            if known is None:
                place = len(self.events) + len(new)
                known = RecordedEvent.of(event, place, stream, revision + 1 + len(new), now)
                new.append(known)
                if self.fault == "is not atomic":
                    self.events.append(new.pop())
                    revision += 1
            elif not self._same(event, stream, known):
                raise DuplicateEventError(event.event_id, ["data"])
            made.append(known)
        if new or (not made and self.fault != "minds nothing"):
            self._expect(stream, expected, revision)
        if self.fault == "loses the last":
            new = new[:-1] if len(new) > 1 else new
        self.events += new
        return tuple(made)

    def _known(self, event: DomainEvent, events: list[RecordedEvent]) -> RecordedEvent | None:
        return next((one for one in events if one.event_id == event.event_id), None)

    def _same(self, event: DomainEvent, stream: str, known: RecordedEvent) -> bool:
        if self.fault == "compares nothing":
            return True
        fields = set(DomainEvent._fields)
        if self.fault == "does not compare actors":
            fields -= {"actor"}
        return stream == known.stream and all(
            getattr(event, name) == getattr(known, name) for name in fields
        )

    def _expect(self, stream: str, expected: Any, revision: int) -> None:
        if self.fault == "minds nothing" or (
            self.fault == "minds no numbers" and expected != NO_STREAM
        ):
            return
        fits = {ANY: True, NO_STREAM: revision < 0, EXISTS: revision >= 0}
        if not fits.get(expected, expected == revision):
            shown = getattr(expected, "name", expected)
            actual = None if revision < 0 or self.fault == "tells no revision" else revision
            raise RevisionConflictError(stream, shown, actual)

    def append_each(self, appends: list[Append]) -> list[tuple[RecordedEvent, ...] | LogError]:
        refused: set[str] = set()
        found: list[tuple[RecordedEvent, ...] | LogError] = []
        for one in appends:
            try:
                if one.stream in refused and self.fault != "goes on after a refusal":
                    raise RevisionConflictError(one.stream, "what was refused", None)
                found.append(
                    self.append(one.stream, one.events, expected_revision=one.expected_revision)
                )
            except RevisionConflictError as error:
                refused.add(one.stream)
                found.append(error)
        return found

    def read(self, *, after: int = -1, before: int | None = None) -> Iterator[RecordedEvent]:
        low = after if self.fault == "reads one more" else after + 1
        end = len(self.events) if before is None else before
        return iter(self.events[max(low, 0) : end])

    def read_stream(self, stream: str, *, after: int = -1) -> Iterator[RecordedEvent]:
        if self.fault == "finds streams by their beginning":
            return iter([one for one in self.events if str(one.stream).startswith(stream)])
        found = [one for one in self.events if one.stream == stream]
        return iter(found[0 if self.fault == "reads streams whole" else after + 1 :])

    def event(self, event_id: str) -> RecordedEvent | None:
        if self.fault == "finds any id" and self.events:
            return self.events[-1] if event_id != "none" else None
        return next((one for one in self.events if one.event_id == event_id), None)


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:  # type: ignore[override]
        return MemoryStore()


def failing(make: Callable[[], MemoryStore]) -> set[str]:
    """Return the tests of the contract that a store does not pass."""
    contract = StoreContract()
    found = set()
    for name, test in inspect.getmembers(contract, inspect.ismethod):
        if not name.startswith("test_"):
            continue
        marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
        values: list[dict[str, Any]] = [{}]
        if marks:
            argument, cases = marks[0].args
            values = [{argument: case} for case in cases]
        for arguments in values:
            try:
                test(store=make(), **arguments)
            except (Exception, pytest.fail.Exception):
                found.add(name)
    return found


FAULTS = [
    "counts one too many", "takes any name", "knows no ids", "is not atomic", "minds nothing",
    "loses the last", "compares nothing", "does not compare actors", "minds no numbers",
    "tells no revision", "goes on after a refusal", "reads one more", "reads streams whole",
    "finds streams by their beginning",
]  # fmt: skip


def test_whoever_breaks_a_promise_is_found_out() -> None:
    assert failing(MemoryStore) == set()
    for fault in FAULTS:
        assert failing(lambda fault=fault: MemoryStore(fault)), f"a store that {fault} passes"


def test_every_test_of_the_contract_can_fail() -> None:
    broken = set(itertools.chain.from_iterable(failing(lambda f=f: MemoryStore(f)) for f in FAULTS))

    class Slow(MemoryStore):
        """Two that append at once each see the stream before the other one's event."""

        def _append(self, stream: str, events: Any, expected: Any) -> tuple[RecordedEvent, ...]:
            place = len(self.events)
            made = tuple(
                RecordedEvent.of(one, place, stream, place, instants.now())
                for one in domain_events(events)
            )
            barrier.wait(0.05)
            self.events += made
            return made

    class Waiting:
        def wait(self, seconds: float) -> None:
            threading.Event().wait(seconds / 50)

    barrier = Waiting()
    broken |= failing(lambda: Slow("has no lock"))

    class Full(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            super().append("order-1", DomainEvent("First"))

    broken |= failing(Full)

    class Moving(MemoryStore):
        def read(self, *, after: int = -1, before: int | None = None) -> Iterator[RecordedEvent]:
            first = next(super().read(after=after, before=before), None)
            return iter([] if first is None else [first, first])

    broken |= failing(Moving)
    names = {name for name, _ in inspect.getmembers(StoreContract) if name.startswith("test_")}
    assert names - broken == set()


def test_a_class_without_a_store_says_so() -> None:
    with pytest.raises(NotImplementedError, match="give the class a fixture"):
        StoreContract.store.__wrapped__(StoreContract())  # type: ignore[attr-defined]
