"""Appending: revisions, conditions, idempotency, batches, limits."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb.errors import (
    AppendConditionError,
    DuplicateEventError,
    EventError,
    LogError,
    LogExistsError,
    LogNotFoundError,
    ReadOnlyLogError,
    RevisionConflictError,
)
from esnb.event import DomainEvent
from esnb.log import ANY, EXISTS, NO_STREAM, Append, EventQuery, Log


def event(number: int = 0, **fields: object) -> DomainEvent:
    return DomainEvent("Happened", {"number": number}, **fields)  # type: ignore[arg-type]


def test_an_event_comes_back_as_it_was_written(log: Log) -> None:
    written = DomainEvent(
        "OrderPlaced",
        '{"b": 1.10, "a": [1, {"x": null}], "big": 12345678901234567890123}',
        occurred_on="2026-03-01T12:00:00.000001+01:00",
        actor="Ånn",
        correlation_id="c",
        causation_id="d",
        tags=["customer:7", "ü"],
        metadata={"ip": "::1"},
        schema_version=3,
    )
    (recorded,) = log.append("order-1", written)
    for source in (recorded, next(log.read()), next(log.read_stream("order-1"))):
        assert (source.position, source.stream, source.revision) == (0, "order-1", 0)
        assert source.category == "order"
        for name in DomainEvent._fields:
            assert getattr(source, name) == getattr(written, name)
    log.seal()
    assert next(log.read()) == recorded
    assert next(log.read_stream("order-1")) == recorded
    assert log.event(written.event_id) == recorded


def test_expected_revision(log: Log) -> None:
    with pytest.raises(RevisionConflictError, match="does not exist, expected EXISTS"):
        log.append("a-1", event(), expected_revision=EXISTS)
    with pytest.raises(RevisionConflictError, match="does not exist, expected 0"):
        log.append("a-1", event(), expected_revision=0)
    log.append("a-1", event(), expected_revision=NO_STREAM)
    log.append("a-1", event(), expected_revision=EXISTS)
    log.append("a-1", event(), expected_revision=1)
    log.append("a-1", event(), expected_revision=ANY)
    for wrong in (0, 1, 2, 4, NO_STREAM):
        with pytest.raises(RevisionConflictError) as caught:
            log.append("a-1", event(), expected_revision=wrong)
        assert caught.value.actual == 3
    assert [e.revision for e in log.read_stream("a-1")] == [0, 1, 2, 3]
    for nonsense in (-1, 1.5, "2", True):
        with pytest.raises(EventError, match="expected_revision"):
            log.append("a-1", event(), expected_revision=nonsense)  # type: ignore[arg-type]


@pytest.mark.parametrize("sealed", [False, True])
def test_the_same_id_is_one_event(log: Log, sealed: bool) -> None:
    first = event(1)
    recorded = log.append("a-1", first, expected_revision=NO_STREAM)
    log.append("a-1", event(2))
    if sealed:
        log.seal()
        log.append("b-1", event(9))
        log.seal()
    assert log.append("a-1", first, expected_revision=NO_STREAM) == recorded
    for change in (
        {"data": {"number": 3}},
        {"event_type": "Other"},
        {"actor": "eve"},
        {"tags": ["x"]},
        {"occurred_on": "2020-01-01T00:00:00Z"},
    ):
        with pytest.raises(DuplicateEventError) as caught:
            log.append("a-1", first.replace(**change))
        assert caught.value.event_id == first.event_id
    with pytest.raises(DuplicateEventError, match="stream"):
        log.append("a-2", first)
    same_json = first.replace(data=' { "number" : 1 } ')
    assert log.append("a-1", same_json) == recorded
    # A mixed append writes what is new.
    third = event(3)
    assert [e.revision for e in log.append("a-1", [first, third, third])] == [0, 2, 2]
    assert log.verify().ok


def test_several_streams_all_or_nothing(log: Log) -> None:
    log.append("a-1", event())
    with pytest.raises(RevisionConflictError):
        log.append_many(Append("b-1", [event()]), Append("a-1", [event()], NO_STREAM))
    assert log.next_position == 1
    done = log.append_many(
        Append("b-1", [event(), event()], NO_STREAM), Append("a-1", [event()], 0)
    )
    assert [(e.position, e.stream, e.revision) for e in done] == [
        (1, "b-1", 0),
        (2, "b-1", 1),
        (3, "a-1", 1),
    ]
    with pytest.raises(EventError, match="twice"):
        log.append_many(Append("b-1", [event()]), Append("b-1", [event()]))
    assert log.append("a-1", []) == ()


@pytest.mark.parametrize("sealed", [False, True])
def test_append_condition(log: Log, sealed: bool) -> None:
    seat = EventQuery(event_types=["SeatTaken"], tags=["seat:7"])
    log.append("x-1", event())
    (taken,) = log.append(
        "s-1",
        DomainEvent("SeatTaken", tags=["seat:7", "row:1"]),
        fail_if_events_match=seat,
        after=0,
    )
    if sealed:
        log.seal()
    with pytest.raises(AppendConditionError) as caught:
        log.append("s-2", DomainEvent("SeatTaken", tags=["seat:7"]), fail_if_events_match=seat)
    assert caught.value.position == taken.position
    log.append("s-2", event(), fail_if_events_match=seat, after=taken.position)
    log.append("s-3", event(), fail_if_events_match=EventQuery(tags=["seat:7", "row:9"]))
    with pytest.raises(AppendConditionError):
        log.append("s-4", event(), fail_if_events_match=[EventQuery(streams=["x-1"]), seat])
    with pytest.raises(AppendConditionError):
        log.append("s-4", event(), fail_if_events_match=EventQuery(categories=["s"]))


def test_a_conditional_append_can_be_repeated(log: Log) -> None:
    query = EventQuery(tags=["seat:7"])
    mine = DomainEvent("SeatTaken", tags=["seat:7"])
    done = log.append("s-1", mine, fail_if_events_match=query)
    assert log.append("s-1", mine, fail_if_events_match=query) == done


def test_a_batch_is_one_commit(log: Log) -> None:
    with log.batch():
        log.append("a-1", event())
        with pytest.raises(RevisionConflictError):
            log.append("a-1", event(), expected_revision=NO_STREAM)
        with log.batch():
            log.append("a-1", event(), expected_revision=0)
        assert log.next_position == 0
    assert log.next_position == 2

    def fail_in_a_batch() -> None:
        with log.batch():
            log.append("a-1", event())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_a_batch()
    assert log.next_position == 2
    log.append("a-1", event(), expected_revision=1)


def test_threads_share_commits_and_lose_nothing(log: Log) -> None:
    def work(name: int) -> None:
        for number in range(40):
            log.append(f"hot-{number % 3}", event(name * 1000 + number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(e.data["number"] for e in log.read()) == sorted(
        name * 1000 + number for name in range(6) for number in range(40)
    )
    assert log.verify().ok


def test_recorded_on_never_goes_back(log: Log) -> None:
    for number in range(50):
        log.append("a-1", event(number, occurred_on=datetime(2030 - number, 1, 1, tzinfo=UTC)))
    times = [e.recorded_on for e in log.read()]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ("", "empty"),
        ("-1", "no category"),
        ("a\x00", "NUL"),
        ("a\ud800", "surrogate"),
        ("a" * 1025, "1025 bytes"),
        (7, "must be text"),
    ],
)
def test_names_that_cannot_stand(log: Log, stream: str, reason: str) -> None:
    with pytest.raises(EventError, match=reason):
        log.append(stream, event())


HOSTILE = [
    "../../etc/passwd",
    "a'; drop table events; --",
    'q"q',
    "ü-ß",
    "a" * 1024,
    "a;b",
    "*",
    "A",
]


@pytest.mark.parametrize("stream", HOSTILE)
def test_names_are_plain_data(log: Log, stream: str) -> None:
    log.append(stream, DomainEvent(stream[:250], {stream: stream}, actor=stream, tags=[stream]))
    log.seal()
    (found,) = log.read_stream(stream)
    assert (found.stream, found.actor, found.tags) == (stream, stream, (stream,))
    assert found.data[stream] == stream
    names = {path.name for path in log.path.rglob("*")}
    assert not any("passwd" in name or "drop" in name for name in names)


def test_limits_are_exact(log: Log) -> None:
    log.append("a-" + "x" * 1022, DomainEvent("t" * 256, event_id="i" * 256))
    for bad in ({"event_type": "t" * 257}, {"event_type": "t", "event_id": "i" * 257}):
        with pytest.raises(EventError):
            DomainEvent(**bad)  # type: ignore[arg-type]
    room = 16 * 1024 * 1024 - len('{"a":""}')
    log.append("big-1", DomainEvent("T", '{"a":"' + "x" * room + '"}'))
    with pytest.raises(EventError, match="allowed"):
        DomainEvent("T", '{"a":"' + "x" * (room + 1) + '"}')


def test_create_open_close(tmp_path: Path) -> None:
    with pytest.raises(LogNotFoundError, match=r"esnb\.create"):
        Log.open(tmp_path / "none")
    log = Log.create(tmp_path / "log", zone="Europe/Berlin")
    with pytest.raises(LogExistsError, match=r"esnb\.open"):
        Log.create(tmp_path / "log")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(LogExistsError, match="not empty"):
        Log.create(tmp_path / "full")
    log.append("a-1", event())
    log.close()
    log.close()
    with pytest.raises(LogError, match="closed"):
        log.append("a-1", event())
    with Log.open(tmp_path / "log") as again:
        assert again.zone == "Europe/Berlin"
        assert again.log_id == log.log_id
        info = again.info()
        assert (info.events, info.sealed, info.streams, info.segments) == (1, 1, 1, 1)
    with Log.open(tmp_path / "log", read_only=True) as reading:
        assert len(list(reading.read())) == 1
        with pytest.raises(ReadOnlyLogError):
            reading.append("a-1", event())


def test_subscribe_catches_up_and_follows(log: Log) -> None:
    log.append("a-1", [event(0), event(1)])
    log.seal()
    log.append("a-1", event(2))
    assert [e.data["number"] for e in log.subscribe(follow=False)] == [0, 1, 2]
    assert [e.data["number"] for e in log.subscribe(after=0, follow=False)] == [1, 2]
    following = log.subscribe(after=2, follow=True, poll=0.01)
    threading.Timer(0.05, lambda: log.append("a-1", event(3))).start()
    assert next(following).data["number"] == 3
    assert list(log.subscribe(after=3, follow=True, poll=0.01, stop=lambda: True)) == []


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["append", "repeat", "seal", "compact", "reopen", "batch"]),
            st.sampled_from(["a-1", "a-2", "b", "ü-1"]),
            st.one_of(st.none(), st.integers(0, 4)),
        ),
        max_size=25,
    )
)
def test_the_log_is_a_list(
    steps: list[tuple[str, str, int | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is done, the log holds what a plain list holds."""
    path = tmp_path_factory.mktemp("model") / "log"
    log = Log.create(path, maintain=False)
    model: list[tuple[str, str]] = []
    written: dict[str, tuple[str, DomainEvent]] = {}
    for number, (action, stream, expected) in enumerate(steps):
        size = sum(1 for name, _ in model if name == stream)
        if action in ("append", "batch"):
            fresh = event(number, event_id=f"id-{number}")
            fits = expected is None or expected == size - 1
            arguments = {} if expected is None else {"expected_revision": expected}
            try:
                if action == "batch":
                    with log.batch():
                        log.append(stream, fresh, **arguments)  # type: ignore[arg-type]
                else:
                    log.append(stream, fresh, **arguments)  # type: ignore[arg-type]
            except RevisionConflictError:
                assert not fits
            else:
                assert fits
                model.append((stream, fresh.event_id))
                written[fresh.event_id] = (stream, fresh)
        elif action == "repeat" and written:
            name, again = list(written.values())[number % len(written)]
            (found,) = log.append(name, again)
            assert model[found.position] == (name, again.event_id)
        elif action == "seal":
            log.seal()
        elif action == "compact":
            log.compact(grace=0)
        elif action == "reopen":
            log.close()
            log = Log.open(path, maintain=False)
    assert [(e.stream, e.event_id) for e in log.read()] == model
    assert [e.position for e in log.read()] == list(range(len(model)))
    for stream in {name for name, _ in model}:
        assert [e.event_id for e in log.read_stream(stream)] == [i for s, i in model if s == stream]
    report = log.verify()
    assert report.ok, str(report)
    log.close()
