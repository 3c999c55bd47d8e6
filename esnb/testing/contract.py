"""What must hold of a store of events: tests that any of them has to pass.

Make a class of it, with a fixture `store` that gives a new and empty store:

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)

A store has ``append(stream, events, expected_revision=…)``, ``append_each(appends)``,
``read(after=…, before=…)``, ``read_stream(stream, after=…)``, ``event(event_id)`` and
``next_position``, as `esnb.log.Log` has them; that is what repositories and commands rest on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from esnb import instants
from esnb.errors import (
    DuplicateEventError,
    EventError,
    LogError,
    RevisionConflictError,
)
from esnb.event import DomainEvent, RecordedEvent
from esnb.log import ANY, EXISTS, NO_STREAM, Append

__all__ = ["Store", "StoreContract"]


class Store(Protocol):
    """What the contract is about."""

    def append(
        self, stream: str, events: Any, *, expected_revision: Any = ANY
    ) -> tuple[RecordedEvent, ...]: ...

    def append_each(self, appends: list[Append]) -> list[tuple[RecordedEvent, ...] | LogError]: ...

    def read(self, *, after: int = -1, before: int | None = None) -> Iterator[RecordedEvent]: ...

    def read_stream(self, stream: str, *, after: int = -1) -> Iterator[RecordedEvent]: ...

    def event(self, event_id: str) -> RecordedEvent | None: ...

    @property
    def next_position(self) -> int: ...


HOSTILE = ("日本-🙂", "a' or 1=1 --", 'a"b', "../../etc", "<script>", "a-\u202eb", "order-%_*?")


def _events(*numbers: int) -> list[DomainEvent]:
    return [DomainEvent("Counted", {"number": number}) for number in numbers]


class StoreContract:
    """Tests that a store must pass; see the module."""

    @pytest.fixture
    def store(self) -> Store:
        """Return a new and empty store: yours overrides this one."""
        raise NotImplementedError("give the class a fixture 'store' that returns a new store")

    def test_an_empty_store_has_nothing(self, store: Store) -> None:
        assert store.next_position == 0
        assert list(store.read()) == []
        assert list(store.read_stream("order-1")) == []
        assert store.event("none") is None

    def test_what_is_appended_is_returned_and_read(self, store: Store) -> None:
        event = DomainEvent(
            "OrderPlaced",
            '{"b": 1.50, "a": "ü"}',
            occurred_on="2026-03-01T12:00:00.000001+01:00",
            schema_version=3,
            actor="ann",
            correlation_id="c",
            causation_id="d",
            tags=["customer:7", "x"],
            metadata={"ip": "::1"},
        )
        before = instants.now()
        (recorded,) = store.append("order-1", event)
        for name in DomainEvent._fields:
            assert getattr(recorded, name) == getattr(event, name), name
        assert (recorded.stream, recorded.position, recorded.revision) == ("order-1", 0, 0)
        assert before <= recorded.recorded_on <= instants.now()
        assert list(store.read()) == list(store.read_stream("order-1")) == [recorded]
        assert store.event(event.event_id) == recorded
        assert recorded.data_text == event.data_text

    def test_positions_and_revisions_have_no_gaps(self, store: Store) -> None:
        for number in range(30):
            store.append(f"order-{number % 3}", _events(*range(number % 4)))
        found = list(store.read())
        assert [event.position for event in found] == list(range(store.next_position))
        for stream in ("order-0", "order-1", "order-2"):
            own = [event for event in found if event.stream == stream]
            assert [event.revision for event in own] == list(range(len(own)))
            assert list(store.read_stream(stream)) == own
            assert list(store.read_stream(stream, after=3)) == own[4:]
        recorded = [event.recorded_on for event in found]
        assert recorded == sorted(recorded)

    def test_a_part_is_read_by_position(self, store: Store) -> None:
        store.append("a-1", _events(*range(10)))
        for after, before in ((-1, None), (3, None), (-1, 4), (3, 7), (9, None), (5, 5), (20, 30)):
            found = [event.position for event in store.read(after=after, before=before)]
            assert found == [p for p in range(10) if p > after and p < (before or 99)]

    def test_the_expected_revision_is_held(self, store: Store) -> None:
        for expected in (EXISTS, 0, 1):
            self._refused(store, expected)
        store.append("order-1", _events(0), expected_revision=NO_STREAM)
        for expected in (NO_STREAM, 1, 7):
            self._refused(store, expected)
        store.append("order-1", _events(1), expected_revision=0)
        store.append("order-1", _events(2), expected_revision=EXISTS)
        store.append("order-1", _events(3), expected_revision=ANY)
        self._refused(store, 2)
        assert [event.data["number"] for event in store.read()] == [0, 1, 2, 3]

    def test_a_conflict_tells_both_revisions(self, store: Store) -> None:
        store.append("order-1", _events(0, 1))
        with pytest.raises(RevisionConflictError) as caught:
            store.append("order-1", _events(2), expected_revision=0)
        assert (caught.value.stream, caught.value.expected, caught.value.actual) == (
            "order-1",
            0,
            1,
        )

    def test_an_append_is_whole_or_absent(self, store: Store) -> None:
        first, second = _events(1, 2)
        store.append("order-1", first)
        other = DomainEvent("Counted", {"number": 9}, event_id=first.event_id)
        with pytest.raises(DuplicateEventError):
            store.append("order-1", [second, other])
        assert [event.event_id for event in store.read()] == [first.event_id]
        assert list(store.append("order-1", [])) == []

    def test_an_id_is_one_event(self, store: Store) -> None:
        events = _events(1, 2)
        first = store.append("order-1", events, expected_revision=NO_STREAM)
        store.append("order-1", _events(3))
        # Whatever is expected by now: it was written.
        assert store.append("order-1", events, expected_revision=NO_STREAM) == first
        assert store.append("order-1", [events[1], events[1]]) == (first[1], first[1])
        assert store.next_position == 3

    def test_an_id_with_other_content_is_refused(self, store: Store) -> None:
        (event,) = _events(1)
        store.append("order-1", event)
        for changes in (
            {"data": {"number": 2}},
            {"event_type": "Other"},
            {"actor": "bo"},
            {"occurred_on": "2020-01-01T00:00Z"},
            {"tags": ["x"]},
            {"metadata": {"a": 1}},
            {"schema_version": 2},
            {"causation_id": "c"},
        ):
            with pytest.raises(DuplicateEventError):
                store.append("order-1", event.replace(**changes))
        with pytest.raises(DuplicateEventError):
            store.append("order-2", event)
        assert store.next_position == 1

    def test_appends_that_go_together_are_refused_alone(self, store: Store) -> None:
        found = store.append_each(
            [
                Append("order-1", _events(1), NO_STREAM),
                Append("order-2", _events(2), 5),
                Append("order-1", _events(3), 0),
                Append("order-2", _events(4), ANY),
                Append("order-3", _events(5)),
            ]
        )
        assert [isinstance(one, LogError) for one in found] == [False, True, False, True, False]
        assert [event.data["number"] for event in store.read()] == [1, 3, 5]

    @pytest.mark.parametrize("name", HOSTILE)
    def test_names_are_data(self, store: Store, name: str) -> None:
        stream = f"order-{name}"
        event = DomainEvent(name, {name: name}, actor=name, tags=[name], metadata={name: name})
        (recorded,) = store.append(stream, event)
        assert recorded.data[name] == name
        assert list(store.read_stream(stream)) == [recorded] == list(store.read())
        assert list(store.read_stream("order-")) == []

    @pytest.mark.parametrize("stream", ["", "a\0b", "\ud800", "x" * 2000, 7, None])
    def test_names_that_cannot_be(self, store: Store, stream: Any) -> None:
        with pytest.raises(EventError):
            store.append(stream, _events(1))
        assert store.next_position == 0

    def test_what_was_read_stays_as_it_was(self, store: Store) -> None:
        store.append("order-1", _events(1, 2))
        reading = store.read()
        first = next(reading)
        store.append("order-1", _events(3))
        assert [first.position, *(event.position for event in reading)][:2] == [0, 1]
        assert [event.data["number"] for event in store.read_stream("order-1")] == [1, 2, 3]

    def test_threads_that_append_lose_nothing(self, store: Store) -> None:
        refused: list[str] = []

        def work(name: str) -> None:
            for _ in range(20):
                own = [event.revision for event in store.read_stream("order-hot")]
                try:
                    store.append(
                        "order-hot",
                        DomainEvent("Counted", {"by": name}),
                        expected_revision=own[-1] if own else NO_STREAM,
                    )
                except RevisionConflictError:
                    refused.append(name)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = list(store.read())
        assert len(found) + len(refused) == 80
        assert [event.revision for event in found] == list(range(len(found)))

    def _refused(self, store: Store, expected: Any) -> None:
        before = store.next_position
        with pytest.raises(RevisionConflictError):
            store.append("order-1", _events(99), expected_revision=expected)
        assert store.next_position == before
