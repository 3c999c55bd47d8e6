"""Repository: what it loads is the fold of all events, whatever became of the snapshots."""

from __future__ import annotations

import multiprocessing
import sqlite3
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import Aggregate, DomainEvent, Event, EventLog, Repository
from esnb.errors import (
    AggregateError,
    CommandError,
    CommitUncertain,
    EventError,
    ReadOnlyLogError,
    RevisionConflictError,
    StreamNotFoundError,
)
from tests.write import model
from tests.write.model import Added, Address, Deleted, Level, Moved, Order, Placed, Weighed, fields

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
PRICE = st.decimals(-(10**6), 10**6, places=3)
AT = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1))
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Placed, customer=TEXT, at=st.none() | AT),
    st.builds(Added, sku=TEXT, qty=st.integers(-(2**40), 2**40), price=PRICE),
    st.builds(
        Moved, to=st.builds(Address, city=TEXT, zip=st.none() | TEXT), level=st.sampled_from(Level)
    ),
    st.builds(Weighed, kilos=st.floats(-1e300, 1e300)),
    st.just(Deleted()),
)
OLD = st.builds(lambda text: DomainEvent("Placed", {"client": text}, schema_version=1), TEXT)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="UTC") as opened:
        yield opened


def kept(log: EventLog) -> list[tuple[str, int]]:
    """Return the streams that have a snapshot, each with its revision."""
    path = log.path / "derived" / "snapshots.sqlite"
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        return connection.execute("select stream, revision from snapshots order by 1, 2").fetchall()
    finally:
        connection.close()


def added(count: int) -> list[Added]:
    return [Added(sku=f"s{n % 7}", qty=n, price=Decimal("1.10")) for n in range(count)]


class Other(Aggregate, category="order", ignores=["Placed", "Moved", "Weighed", "Deleted"]):
    """The same streams, seen by another class."""

    lines: int = 0

    def when_added(self, e: Added) -> None:
        self.lines += 1


@settings(max_examples=25)
@given(
    st.lists(st.lists(EVENTS | OLD, min_size=1, max_size=9), min_size=1, max_size=8),
    st.sampled_from([None, 1, 2, 5]),
    st.lists(st.sampled_from(["delete", "cut", "overwrite", "flip", "none", "seal"]), min_size=8),
)
def test_what_is_loaded_is_the_fold_of_all_events(
    tmp_path_factory: pytest.TempPathFactory,
    saves: list[list[Event | DomainEvent]],
    every: int | None,
    accidents: list[str],
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    with esnb.create(path, zone="UTC", maintain=False) as log:
        orders = Repository(log, Order, snapshot_every=every)
        snapshots = path / "derived" / "snapshots.sqlite"
        for given_events, accident in zip(saves, accidents, strict=False):
            log.append("order-1", given_events)
            whole = Order.fold(log.read_stream("order-1"))
            for repository in (orders, Repository(log, Order, snapshot_every=every)):
                found = repository.get("1")
                assert fields(found) == fields(whole)
                assert found.uncommitted == ()
                assert (
                    Repository(log, Other).get("order-1").lines
                    == Other.fold(log.read_stream("order-1")).lines
                )
            for revision in {0, whole.revision // 2, whole.revision}:
                earlier = list(log.read_stream("order-1"))[: revision + 1]
                assert fields(orders.get("1", at=revision)) == fields(Order.fold(earlier))
            if accident == "seal":
                log.seal()
            elif accident != "none" and snapshots.exists():
                content = bytearray(snapshots.read_bytes())
                if accident == "delete":
                    snapshots.unlink()
                elif accident == "cut":
                    snapshots.write_bytes(content[: len(content) // 2])
                elif accident == "overwrite":
                    snapshots.write_bytes(b"this is no database, but it is long enough" * 99)
                else:
                    place = content.rfind(b"order-1")
                    content[place + 40] ^= 1
                    snapshots.write_bytes(content)


@settings(max_examples=50)
@given(st.lists(EVENTS, min_size=1, max_size=12), st.integers(0, 11))
def test_what_was_applied_is_what_is_replayed(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], cut: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    with esnb.create(path, zone="UTC", maintain=False) as log:
        orders = Repository(log, Order, snapshot_every=3)
        order = Order("1")
        for number, event in enumerate(events):
            order.apply(event, actor="ann")
            if number == cut:
                orders.save(order)
        assert order.uncommitted == (
            tuple(events[cut + 1 :]) if cut < len(events) else tuple(events)
        )
        orders.save(order)
        assert order.uncommitted == ()
        assert order.stream == "order-1"
        assert (
            fields(order)
            == fields(orders.get("order-1"))
            == fields(Order.fold(log.read_stream("order-1")))
        )
        assert {event.actor for event in log.read()} == {"ann"}


def test_an_event_is_applied_as_it_is_written(log: EventLog) -> None:
    """JSON has one zero: a handler sees the one that replay will see."""
    order = Order("1")
    order.apply(Weighed(kilos=-0.0))
    Repository(log, Order).save(order)
    assert repr(order.kilos) == repr(Repository(log, Order).get("1").kilos) == "0.0"


def test_both_names_of_an_aggregate_work(log: EventLog) -> None:
    orders = Repository(log, Order)
    order = Order("17")
    order.apply(Placed(customer="ann"))
    [recorded] = orders.add(order, actor="bo", correlation_id="c", causation_id="cmd-1")
    assert (recorded.stream, recorded.revision) == ("order-17", 0)
    assert (recorded.actor, recorded.correlation_id, recorded.causation_id) == ("bo", "c", "cmd-1")
    assert orders.get("17").customer == orders.get("order-17").customer == "ann"
    assert orders.exists("17")
    assert orders.exists("order-17")
    assert not orders.exists("18")
    assert orders.save(order) == ()
    with pytest.raises(AggregateError, match="is at revision 0, so it is not new"):
        orders.add(order)


def test_a_wrong_name_brings_near_ones(log: EventLog) -> None:
    for number in range(100, 160):
        log.append(f"order-{number}", Placed(customer="x"))
    log.seal()
    orders = Repository(log, Order)
    with pytest.raises(
        StreamNotFoundError, match=r"no stream 'order-1099'. Did you mean 'order-109'"
    ):
        orders.get("1099")
    with pytest.raises(StreamNotFoundError, match="Check its name"):
        orders.get("日本")
    for name in ("", "a\0b", "\ud800", 17):
        with pytest.raises(EventError):
            orders.get(name)  # type: ignore[arg-type]


def test_revisions_that_cannot_be(log: EventLog) -> None:
    log.append("order-1", added(3))
    orders = Repository(log, Order)
    with pytest.raises(AggregateError, match="is at revision 2; there is no revision 3 yet"):
        orders.get("1", at=3)
    for at in (-1, True, "2"):
        with pytest.raises(AggregateError, match="say a revision"):
            orders.get("1", at=at)  # type: ignore[arg-type]
    earlier = orders.get("1", at=1)
    earlier.apply(Deleted())
    with pytest.raises(RevisionConflictError, match="is at revision 2, expected 1"):
        orders.save(earlier)


def test_of_two_that_save_one_wins_and_the_other_is_as_it_was(log: EventLog) -> None:
    orders = Repository(log, Order)
    log.append("order-1", Placed(customer="ann"))
    first, second = orders.get("1"), orders.get("1")
    for order in (first, second):
        order.apply(Added(sku="a", qty=1, price=Decimal("2.50")))
    orders.save(first)
    before = fields(second)
    with pytest.raises(RevisionConflictError):
        orders.save(second)
    assert fields(second) == before
    assert len(second.uncommitted) == 1
    rivals = [Order("2"), Order("2")]
    for order in rivals:
        order.apply(Placed(customer="bo"))
    orders.save(rivals[0])
    with pytest.raises(RevisionConflictError, match="expected NO_STREAM"):
        orders.save(rivals[1])


def test_saving_again_after_an_uncertain_commit_writes_nothing_twice(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = Repository(log, Order)
    order = Order("1")
    order.apply(Placed(customer="ann"))
    order.apply(Added(sku="a", qty=1, price=Decimal(2)))
    append = log.append

    def uncertain(*arguments: Any, **options: Any) -> Any:
        recorded = append(*arguments, **options)
        raise CommitUncertain([event.event_id for event in recorded], "the disk went away")

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", uncertain)
        with pytest.raises(CommitUncertain):
            orders.save(order, actor="ann")
    assert len(order.uncommitted) == 2
    recorded = orders.save(order, actor="ann")
    assert [event.position for event in recorded] == [0, 1]
    assert log.next_position == 2
    assert fields(orders.get("1")) == fields(order)


def test_one_event_may_happen_to_several(log: EventLog) -> None:
    orders = Repository(log, Order)
    placed = Placed(customer="ann")
    for name in ("1", "2"):
        order = Order(name)
        order.apply(placed)
        order.apply(placed)
        order.apply(order.uncommitted[0])
        orders.save(order)
    assert log.next_position == 6


def _save(path: str, name: str, start: Any, results: Any) -> None:
    with esnb.open(path) as log:
        orders = Repository(log, Order, snapshot_every=2)
        start.wait()
        won = 0
        for _ in range(60):
            order = orders.get("1")
            order.apply(Added(sku=name, qty=1, price=Decimal("0.10")))
            try:
                orders.save(order)
                won += 1
            except RevisionConflictError:
                pass
        results.put((name, won))


def test_two_processes_that_save_lose_nothing(log: EventLog) -> None:
    log.append("order-1", Placed(customer="ann"))
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    children = [
        context.Process(target=_save, args=(str(log.path), name, start, results)) for name in "ab"
    ]
    for child in children:
        child.start()
    won = dict(results.get(timeout=120) for _ in children)
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    order = Repository(log, Order).get("1")
    assert order.items == {name: count for name, count in won.items() if count}
    assert order.revision == sum(won.values())
    assert fields(order) == fields(Order.fold(log.read_stream("order-1")))


def test_update_loads_changes_and_saves(log: EventLog) -> None:
    orders = Repository(log, Order)
    log.append("order-1", Placed(customer="ann"))
    one = Added(sku="a", qty=1, price=Decimal(2))
    (event,) = orders.update("1", lambda order: one, actor="ann", correlation_id="c")
    assert (event.revision, event.actor, event.correlation_id) == (1, "ann", "c")
    assert len(orders.update("order-1", lambda order: [one, one])) == 2
    assert len(orders.update("1", lambda order: order.apply(one))) == 1
    assert orders.update("1", lambda order: None) == ()
    assert orders.get("1").items == {"a": 4}

    def refuses(order: Order) -> None:
        order.apply(one)
        raise ValueError(f"{order.customer} has enough")

    with pytest.raises(ValueError, match="ann has enough"):
        orders.update("1", refuses)
    with pytest.raises(StreamNotFoundError, match="order-1"):
        orders.update("11", lambda order: one)
    with pytest.raises(CommandError, match=r"lambda.* must give back events or nothing, not 5"):
        orders.update("1", lambda order: 5)

    def both(order: Order) -> Added:
        order.apply(one)
        return one

    with pytest.raises(CommandError, match="both applied events and gave some back"):
        orders.update("1", both)
    with pytest.raises(AggregateError, match="tries=0"):
        orders.update("1", lambda order: one, tries=0)
    with log.batch(), pytest.raises(AggregateError, match="outside of it"):
        orders.update("1", lambda order: one)
    assert log.next_position == 5


def test_update_decides_anew_when_somebody_else_was_faster(log: EventLog) -> None:
    orders = Repository(log, Order)
    log.append("order-1", Placed(customer="ann"))
    seen = []

    def change(order: Order) -> Added | None:
        seen.append(order.revision)
        if len(seen) <= 3:
            log.append("order-1", Added(sku="theirs", qty=1, price=Decimal(1)))
        # As a rule has it: at most three of them, whoever adds them.
        return None if len(order.prices) >= 3 else Added(sku="ours", qty=1, price=Decimal(1))

    assert orders.update("1", change) == ()
    assert seen == [0, 1, 2, 3]
    assert orders.get("1").items == {"theirs": 3}
    seen.clear()
    with pytest.raises(RevisionConflictError, match="is at revision 5, expected 4"):
        orders.update("1", lambda order: [change(order), Deleted()][1:], tries=2)
    assert log.next_position == 6


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("others", [True, False])
def test_update_finds_out_what_became_of_an_uncertain_commit(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, arrived: bool, others: bool
) -> None:
    orders = Repository(log, Order)
    log.append("order-1", Placed(customer="ann"))
    append, asked = log.append, []

    def uncertain(stream: str, events: Any, **options: Any) -> Any:
        monkeypatch.setattr(log, "append", append)
        if arrived:
            append(stream, events, **options)
        if others:
            append(stream, Added(sku="theirs", qty=1, price=Decimal(1)))
        raise CommitUncertain([event.event_id for event in events], "the disk went away")

    def change(order: Order) -> Added:
        asked.append(order.revision)
        return Added(sku="ours", qty=1, price=Decimal(1))

    monkeypatch.setattr(log, "append", uncertain)
    (event,) = orders.update("1", change)
    # Decided anew only where it is known that nothing arrived.
    assert asked == ([0, 1] if others and not arrived else [0])
    assert event.revision == (2 if others and not arrived else 1)
    assert orders.get("1").items == {"ours": 1, **({"theirs": 1} if others else {})}


def _update(path: str, name: str, start: Any, results: Any) -> None:
    with esnb.open(path) as log:
        orders = Repository(log, Order, snapshot_every=7)
        start.wait()
        called = 0

        def change(order: Order) -> Added:
            nonlocal called
            called += 1
            # The price tells on which state it was decided.
            return Added(sku=name, qty=1, price=Decimal(len(order.prices)))

        for _ in range(40):
            orders.update("1", change)
        results.put(called)


def test_processes_that_update_lose_nothing(log: EventLog) -> None:
    log.append("order-1", Placed(customer="ann"))
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    children = [
        context.Process(target=_update, args=(str(log.path), name, start, results))
        for name in "abc"
    ]
    for child in children:
        child.start()
    called = sum(results.get(timeout=120) for _ in children)
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    order = Repository(log, Order).get("1")
    assert order.items == {"a": 40, "b": 40, "c": 40}
    assert order.prices == [Decimal(number) for number in range(120)]
    # They did meet.
    assert called > 120


def test_snapshots_are_kept_as_events_come(log: EventLog) -> None:
    orders = Repository(log, Order, snapshot_every=10)
    order = Order("1")
    for number in range(25):
        order.apply(Added(sku="a", qty=number, price=Decimal(1)))
        orders.save(order)
        expected = [("order-1", (number + 1) // 10 * 10 - 1)] if number >= 9 else []
        assert kept(log) == expected
    assert orders.snapshot(order)
    assert kept(log) == [("order-1", 24)]
    log.append("order-2", added(35))
    assert not Repository(log, Order, snapshot_every=None).snapshot("2")
    assert kept(log) == [("order-1", 24)]
    orders.get("2")
    assert kept(log) == [("order-1", 24), ("order-2", 34)]


def test_a_snapshot_spares_the_events_before_it(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("order-1", added(300))
    orders = Repository(log, Order)
    whole = fields(orders.get("1"))
    log.append("order-1", added(2))
    replayed: list[int] = []
    replay = Order.replay

    def counted(order: Order, recorded: esnb.RecordedEvent) -> None:
        replayed.append(recorded.revision)
        replay(order, recorded)

    monkeypatch.setattr(Order, "replay", counted)
    assert fields(orders.get("1", at=299)) == whole
    assert replayed == []
    orders.get("1")
    assert replayed == [300, 301]


def test_events_that_were_applied_are_not_in_a_snapshot(log: EventLog) -> None:
    log.append("order-1", added(3))
    orders = Repository(log, Order)
    order = orders.get("1")
    order.apply(Deleted())
    order.kilos = 99.0
    assert orders.snapshot(order)
    assert fields(orders.get("1")) == fields(Order.fold(log.read_stream("order-1")))


def test_a_class_that_was_changed_does_not_trust_the_snapshots_of_before(log: EventLog) -> None:
    log.append("order-1", added(5))

    def made(factor: int) -> type[Aggregate]:
        class Order(Aggregate):
            total: int = 0

            def when_added(self, e: Added) -> None:
                self.total += factor * e.qty

        return Order

    for factor in (1, 2, 1, 3):
        repository = Repository(log, made(factor), snapshot_every=2)
        for _ in range(2):
            assert vars(repository.get("1"))["total"] == factor * 10
        assert kept(log) == [("order-1", 4)]


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ("RATE * e.qty", [Decimal("0.19"), Decimal("0.20"), 1, None]),
        ("TABLE['x'] * e.qty", [{"x": 1}, {"x": 2}, {"x": [1]}]),
        ("sum(STEP for _ in range(e.qty))", [1, 2]),
        ("helper(e.qty)", [1, Decimal(1), "1"]),
        ("len(Names) * e.qty", [Enum("Names", "a b"), Enum("Names", "a b c")]),
    ],
)
def test_a_class_whose_constants_were_changed_is_another(body: str, values: list[Any]) -> None:
    def fingerprint(value: Any) -> str:
        names = dict.fromkeys(("RATE", "TABLE", "STEP", "INNER", "Names"), value)
        names |= {"esnb": esnb, "Added": Added, "total": object(), "qty": object()}
        source = f"""
def helper(quantity):
    return [INNER for _ in range(quantity)]
class Order(esnb.Aggregate):
    total: object = None
    def when(self, e: Added):
        self.total = {body}
"""
        exec(source, names)  # noqa: S102 (as a cell of a notebook does)
        return names["Order"].description.fingerprint

    found = [fingerprint(value) for value in values]
    assert len(set(found)) == len(values)
    assert [fingerprint(value) for value in values] == found


def test_a_snapshot_of_an_event_that_the_log_does_not_have_is_not_used(log: EventLog) -> None:
    log.append("order-1", added(5))
    Repository(log, Order, snapshot_every=2).get("1")
    path = log.path / "derived" / "snapshots.sqlite"
    content = path.read_bytes()
    with esnb.create(log.path.parent / "other", zone="UTC") as other:
        other.append("order-1", added(9)[4:])
        (other.path / "derived").mkdir(exist_ok=True)
        (other.path / "derived" / "snapshots.sqlite").write_bytes(content)
        found = Repository(other, Order, snapshot_every=2).get("1")
        assert fields(found) == fields(Order.fold(other.read_stream("order-1")))
        assert found.items != Repository(log, Order).get("1").items


def test_a_forged_state_is_not_used(log: EventLog) -> None:
    log.append("order-1", added(5))
    orders = Repository(log, Order, snapshot_every=2)
    whole = fields(orders.get("1"))
    connection = sqlite3.connect(log.path / "derived" / "snapshots.sqlite")
    for column, value in (("state", "[]"), ("revision", 2), ("revision", "x"), ("event_id", None)):
        with connection:
            connection.execute(f"update snapshots set {column} = ?", [value])
        assert fields(orders.get("1")) == whole
        assert kept(log) == [("order-1", 4)]
    connection.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 9000, None])
def test_what_stands_in_the_place_of_the_file_does_no_harm(
    log: EventLog, content: bytes | None
) -> None:
    log.append("order-1", added(5))
    path = log.path / "derived" / "snapshots.sqlite"
    path.parent.mkdir(exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    orders = Repository(log, Order, snapshot_every=2)
    for _ in range(3):
        assert orders.get("1").revision == 4
    assert path.is_dir() or kept(log) == [("order-1", 4)]


def test_a_database_of_somebody_else_is_not_written_to(log: EventLog, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.sqlite"
    connection = sqlite3.connect(theirs)
    connection.execute("create table snapshots (mine)")
    connection.close()
    content = theirs.read_bytes()
    path = log.path / "derived" / "snapshots.sqlite"
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(theirs)
    log.append("order-1", added(5))
    orders = Repository(log, Order, snapshot_every=2)
    assert orders.get("1").revision == orders.get("1").revision == 4
    assert theirs.read_bytes() == content
    assert kept(log) == [("order-1", 4)]


def test_a_file_that_is_locked_is_done_without(log: EventLog) -> None:
    log.append("order-1", added(5))
    orders = Repository(log, Order, snapshot_every=2)
    orders.get("1")
    connection = sqlite3.connect(log.path / "derived" / "snapshots.sqlite", isolation_level=None)
    connection.execute("begin exclusive")
    log.append("order-1", added(5))
    assert orders.get("1").revision == 9
    connection.execute("rollback")
    connection.close()
    assert kept(log) == [("order-1", 4)]


def test_a_log_for_reading_gets_no_snapshots_and_uses_those_that_are_there(log: EventLog) -> None:
    log.append("order-1", added(5))
    with esnb.open(log.path, read_only=True) as reading:
        orders = Repository(reading, Order, snapshot_every=2)
        order = orders.get("1")
        assert not orders.snapshot(order)
        assert kept(log) == []
        Repository(log, Order, snapshot_every=2).get("1")
        assert fields(orders.get("1")) == fields(order)
        order.apply(Deleted())
        with pytest.raises(ReadOnlyLogError):
            orders.save(order)


def test_ended_aggregates_are_there_and_do_not_exist(log: EventLog) -> None:
    orders = Repository(log, Order, snapshot_every=1)
    order = Order("1")
    order.apply(Placed(customer="ann"))
    order.apply(Deleted())
    orders.save(order)
    for _ in range(2):
        found = orders.get("1")
        assert found.ended
        assert found.customer is None
        assert not orders.exists("1")
    found.apply(Placed(customer="bo"))
    orders.save(found)
    assert orders.exists("1")
    assert orders.get("1").customer == "bo"


def test_within_a_batch_a_save_is_part_of_the_commit(log: EventLog) -> None:
    orders = Repository(log, Order, snapshot_every=1)
    with log.batch():
        for number in range(5):
            order = Order(str(number))
            order.apply(Placed(customer="ann"))
            orders.save(order)
    assert log.next_position == 5
    assert fields(orders.get("4")) == fields(Order.fold(log.read_stream("order-4")))


class Opaque:
    """Something that has no JSON form."""


class Noted(Event):
    text: str


def shared(self: Any, e: Noted) -> None:
    self.first = self.second = [e.text]


def unlike(self: Any, e: Noted) -> None:
    self.first = {e.text: Decimal(1)}


def beside(self: Any, e: Noted) -> None:
    self.secret = e.text


def infinite(self: Any, e: Noted) -> None:
    self.number = float("inf")


def another(self: Any, e: Noted) -> None:
    self.second = (e.text,)


@pytest.mark.parametrize("handler", [shared, unlike, beside, infinite, another])
def test_a_state_that_would_not_come_back_is_not_kept_and_this_is_said_once(
    log: EventLog, handler: Any
) -> None:
    class Note(Aggregate):
        first: Any = None
        second: list[str]
        number: float | None = None

        def when_noted(self, e: Noted) -> None:
            handler(self, e)

    log.append("note-1", [Noted(text="a")] * 3)
    notes = Repository(log, Note, snapshot_every=1)
    with pytest.warns(RuntimeWarning, match="Note is folded without snapshots"):
        notes.get("1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert notes.get("1").revision == 2
    assert kept(log) == []


def test_amounts_that_begin_as_whole_numbers_are_kept(log: EventLog) -> None:
    class Sum(Aggregate, category="order"):
        exact: Decimal = 0  # type: ignore[assignment]
        rough: float = 0
        name: str

        def when_added(self, e: Added) -> None:
            if e.qty:
                self.exact += e.price
                self.rough += float(e.price)

    log.append("order-1", added(1))
    sums = Repository(log, Sum, snapshot_every=1)
    assert vars(sums.get("1")) == vars(sums.get("1"))
    assert type(sums.get("1").exact) is type(sums.get("1").rough) is int
    log.append("order-1", added(3))
    found = sums.get("1")
    assert (found.exact, found.rough, found.name) == (Decimal("2.20"), 2.2, None)
    assert kept(log) == [("order-1", 3)]
    assert fields(sums.get("1")) == fields(found)


def test_a_class_with_a_field_that_has_no_json_form_works_without_snapshots(log: EventLog) -> None:
    class Note(Aggregate):
        thing: Opaque | None = None

        def when_noted(self, e: Noted) -> None:
            self.thing = Opaque()

    log.append("note-1", Noted(text="a"))
    with pytest.warns(RuntimeWarning, match="its field 'thing'"):
        notes = Repository(log, Note, snapshot_every=1)
    assert isinstance(notes.get("1").thing, Opaque)
    assert not notes.snapshot("1")


def test_classes_that_have_no_streams_of_their_own_are_refused(log: EventLog) -> None:
    class Customer(Aggregate, by="customer"):
        pass

    with pytest.raises(AggregateError, match="across streams"):
        Repository(log, Customer)
    with pytest.raises(AggregateError, match="snapshot_every"):
        Repository(log, Order, snapshot_every=0)
    orders = Repository(log, Order)
    note = model.Order("")
    note.apply(Deleted())
    with pytest.raises(AggregateError, match=r"Order\('order-17'\)"):
        orders.save(note)

    class Note(Aggregate):
        pass

    with pytest.raises(AggregateError, match="keeps the category 'order', and Note is of 'note'"):
        orders.save(Note("note-1"))  # type: ignore[type-var]


def test_a_class_that_was_run_again_saves_what_the_one_before_loaded(log: EventLog) -> None:
    log.append("order-1", Placed(customer="ann"))
    before = Repository(log, Order).get("1")
    before.apply(Deleted())

    class Again(Order, category="order"):
        pass

    again = Repository(log, Again)
    again.save(before)  # type: ignore[type-var]
    assert again.get("1").ended


def test_a_log_takes_event_objects(log: EventLog) -> None:
    one = log.append("order-1", Placed(customer="ann"), expected_revision=esnb.NO_STREAM)
    several = log.append(
        "order-1",
        [Added(sku="a", qty=1, price=Decimal("1.10")), DomainEvent("Deleted"), Deleted()],
        expected_revision=0,
    )
    assert [event.event_type for event in (*one, *several)] == [
        "Placed", "Added", "Deleted", "Deleted",
    ]  # fmt: skip
    assert one[0].schema_version == 2
    assert several[0].data == {"sku": "a", "qty": 1, "price": "1.10"}
    with pytest.raises(EventError, match="must be events, not dict"):
        log.append("order-1", [{"type": "Deleted"}])  # type: ignore[list-item]
