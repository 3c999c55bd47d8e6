"""Many commands in one commit are as many commands one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import (
    Aggregate,
    Command,
    CommandError,
    CommandRejected,
    Commands,
    EsnbError,
    EventLog,
    Outcome,
    Repository,
    RevisionConflictError,
    StreamNotFoundError,
    handles,
)
from esnb.errors import EventError, StorageError
from esnb.log import ANY, NO_STREAM, Append
from tests.write.orders import (
    PENDING,
    AddItems,
    CancelOrder,
    ConfirmOrder,
    ForgetOrder,
    ItemAdded,
    Order,
    OrderCancelled,
    OrderConfirmed,
    PlaceOrder,
    cancel,
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="UTC") as opened:
        yield opened


@pytest.fixture
def commands(log: EventLog) -> Commands:
    return log.commands(Order, cancel)


def told(ended: Outcome | EsnbError) -> Any:
    """Return how a command ended, without times."""
    if isinstance(ended, Outcome):
        events = [(e.stream, e.revision, e.event_id, e.event_type, e.data) for e in ended.events]
        return events, ended.stream, ended.revision, ended.repeated
    return type(ended), str(ended)


# --- against a model -------------------------------------------------------------------------


class Model:
    """The same shop as plain dicts: the obvious way, slow and right."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[str]] = {}
        self.done: dict[UUID, tuple[str, str, list[str]]] = {}

    def send(self, command: Command) -> tuple[str, Any]:
        name, stream = type(command).__name__, f"order-{command.order_id}"  # type: ignore[attr-defined]
        before = self.done.get(command.command_id)
        if before is not None:
            if before[:2] != (name, stream):
                return "error", None
            return "repeated", before[2]
        kind, found = self._decide(command, stream)
        if kind == "accepted" and found:
            self.events.setdefault(stream, []).extend(found)
            self.done[command.command_id] = (name, stream, found)
        return kind, found

    def _decide(self, command: Any, stream: str) -> tuple[str, Any]:
        order = self.orders.get(stream)
        if isinstance(command, PlaceOrder):
            if order is not None:
                return "rejected", "the order is there already"
            if command.total < 0:
                return "rejected", "a total is not below 0"
            self.orders[stream] = {"status": "pending", "items": {}}
            return "accepted", ["OrderPlaced"]
        if order is None:
            if stream not in self.events:
                return "not found", None
            return "rejected", "the order has ended"
        if isinstance(command, AddItems):
            items = dict(order["items"])
            for sku, quantity in command.items.items():
                if items.get(sku, 0) + quantity > 9:
                    return "rejected", "at most nine of a kind"
                items[sku] = items.get(sku, 0) + quantity
            order["items"] = items
            return "accepted", ["ItemAdded"] * len(command.items)
        if isinstance(command, ConfirmOrder):
            if order["status"] != "pending":
                return "rejected", PENDING
            order["status"] = "confirmed"
            return "accepted", ["OrderConfirmed"]
        if isinstance(command, CancelOrder):
            if order["status"] == "cancelled":
                return "accepted", []
            order["status"] = "cancelled"
            return "accepted", ["OrderCancelled"]
        del self.orders[stream]
        return "accepted", ["OrderForgotten"]


def kind_of(ended: Outcome | EsnbError) -> tuple[str, Any]:
    if isinstance(ended, Outcome):
        types = [event.event_type for event in ended.events]
        return ("repeated" if ended.repeated else "accepted"), types
    if isinstance(ended, CommandRejected):
        return "rejected", ended.rule
    if isinstance(ended, StreamNotFoundError):
        return "not found", None
    assert isinstance(ended, CommandError)
    return "error", None


def attempt(send: Callable[[Command], Outcome], command: Command) -> Outcome | EsnbError:
    try:
        return send(command)
    except EsnbError as error:
        return error


NAME = st.sampled_from(["1", "2", "ä-3"])
# Few ids: many commands are sent again, some as another command.
ID = st.none() | st.integers(0, 9).map(lambda number: UUID(int=number))
FIELDS: dict[type[Command], dict[str, st.SearchStrategy[Any]]] = {
    PlaceOrder: {"customer": st.just("ann"), "total": st.decimals(-1, 9, places=2)},
    AddItems: {"items": st.dictionaries(st.sampled_from("ab"), st.integers(1, 6), max_size=2)},
    ConfirmOrder: {},
    CancelOrder: {"reason": st.none() | st.text(max_size=3)},
    ForgetOrder: {},
}


@st.composite
def a_command(draw: st.DrawFn) -> Command:
    kind = draw(st.sampled_from(list(FIELDS)))
    fields = {name: draw(strategy) for name, strategy in FIELDS[kind].items()}
    command_id = draw(ID)
    if command_id is not None:
        fields["command_id"] = command_id
    return kind(order_id=draw(NAME), **fields)


# A command alone, several together, or something else that happens to the log.
STEP = a_command() | st.lists(a_command(), max_size=12) | st.sampled_from(["seal", "reopen"])


@settings(max_examples=60)
@given(st.lists(STEP, max_size=12), st.sampled_from([0, 1, 100]))
def test_random_commands_end_as_in_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], hold: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = esnb.create(path, zone="UTC", maintain=False)
    try:
        commands = log.commands(Order, cancel, hold=hold, snapshot_every=3)
        model = Model()
        for step in steps:
            if step == "seal":
                log.seal()
            elif step == "reopen":
                log.close()
                log = esnb.open(path, maintain=False)
                commands = log.commands(Order, cancel, hold=hold, snapshot_every=3)
            elif isinstance(step, Command):
                assert kind_of(attempt(commands.send, step)) == model.send(step)
            else:
                ended = commands.send_many(step)
                assert [kind_of(one) for one in ended] == [model.send(one) for one in step]
        orders = Repository(log, Order)
        for stream, types in model.events.items():
            assert [event.event_type for event in log.read_stream(stream)] == types
            order = orders.get(stream.removeprefix("order-"))
            expected = model.orders.get(stream)
            assert order.ended == (expected is None)
            if expected is not None:
                assert (order.status, order.items) == (expected["status"], expected["items"])
        assert log.next_position == sum(map(len, model.events.values()))
        # Whatever was sent leaves a log that can be folded by SQL too.
        if log.next_position:
            rows = log.timeline(Order).as_of(log.next_position - 1).fetchall()
            assert len(rows) == len(model.orders)
    finally:
        log.close()


# --- one after the other ---------------------------------------------------------------------


def test_each_ends_alone_and_in_order(log: EventLog, commands: Commands) -> None:
    place = PlaceOrder(order_id="1", customer="ann")
    many: list[Command] = [
        place,
        ConfirmOrder(order_id="1"),
        ConfirmOrder(order_id="1"),
        ConfirmOrder(order_id="2"),
        place,
        PlaceOrder(order_id="2", customer="bo"),
        ConfirmOrder(order_id="2"),
        PlaceOrder(order_id="3", customer="cy", command_id=place.command_id),
        CancelOrder(order_id="1", reason="late"),
        CancelOrder(order_id="1"),
    ]
    ended = commands.send_many(many, actor="batch", correlation_id="night")
    assert [kind_of(one)[0] for one in ended] == [
        "accepted", "accepted", "rejected", "not found", "repeated", "accepted", "accepted",
        "error", "accepted", "accepted",
    ]  # fmt: skip
    assert [(event.stream, event.event_type) for event in log.read()] == [
        ("order-1", "OrderPlaced"),
        ("order-1", "OrderConfirmed"),
        ("order-2", "OrderPlaced"),
        ("order-2", "OrderConfirmed"),
        ("order-1", "OrderCancelled"),
    ]
    assert {(event.actor, event.correlation_id) for event in log.read()} == {("batch", "night")}
    again = commands.send_many(many)
    assert [told(one) for one in again if isinstance(one, Outcome) and one.events] == [
        (events, stream, revision, True)
        for events, stream, revision, _ in (
            told(one) for one in ended if isinstance(one, Outcome) and one.events
        )
    ]
    assert log.next_position == 5


def test_thousands_are_written_in_some_commits(log: EventLog, commands: Commands) -> None:
    many: list[Command] = [PlaceOrder(order_id=f"{n}", customer="ann") for n in range(1500)]
    many += [ConfirmOrder(order_id=f"{n}") for n in range(1500)]
    many += [ConfirmOrder(order_id="7")]
    ended = commands.send_many(iter(many))
    assert [kind_of(one)[0] for one in ended] == ["accepted"] * 3000 + ["rejected"]
    assert log.next_position == 3000
    assert commands.send_many([]) == []


def test_a_rival_between_is_seen(log: EventLog) -> None:
    """What was decided before a rival's event, a refusal too, is decided anew after it."""

    class Interrupt(Command):
        order_id: str

    rivals = iter([[OrderCancelled(reason="rival"), ItemAdded(sku="r", quantity=1)]])

    @handles(Interrupt)
    def interrupt(order: Order, command: Interrupt) -> ItemAdded:
        for events in rivals:
            log.append("order-1", events)
        return ItemAdded(sku="i", quantity=1)

    commands = log.commands(Order, interrupt)
    commands.send_many([PlaceOrder(order_id=name, customer="ann") for name in "12"])
    ended = commands.send_many(
        [
            ConfirmOrder(order_id="1"),
            ConfirmOrder(order_id="2"),
            Interrupt(order_id="1"),
            # As many events as the rival wrote stand between: the revision would fit by chance.
            AddItems(order_id="1", items={"a": 1}),
            ConfirmOrder(order_id="1"),
        ]
    )
    assert [kind_of(one) for one in ended] == [
        ("rejected", PENDING),
        ("accepted", ["OrderConfirmed"]),
        ("accepted", ["ItemAdded"]),
        ("accepted", ["ItemAdded"]),
        ("rejected", PENDING),
    ]
    assert "status='cancelled'" in str(ended[0])
    assert [event.event_type for event in log.read_stream("order-1")] == [
        "OrderPlaced", "OrderCancelled", "ItemAdded", "ItemAdded", "ItemAdded",
    ]  # fmt: skip


def test_two_classes_that_decide_on_one_stream(log: EventLog) -> None:
    """Each sees what the other one did before it, in a group too."""

    class Packing(Aggregate, category="order", ignores=["OrderPlaced", "OrderConfirmed"]):
        packed: int = 0

        def when_item(self, e: ItemAdded) -> None:
            self.packed += e.quantity

        @handles(PackOrder)
        def pack(self, command: PackOrder) -> ItemAdded:
            if self.packed >= 3:
                raise CommandRejected("three to a parcel", packed=self.packed)
            return ItemAdded(sku="p", quantity=1)

    commands = log.commands(Order, Packing)
    add = {"a": 1}
    many: list[Command] = [PlaceOrder(order_id="1", customer="ann")]
    many += [AddItems(order_id="1", items=add), PackOrder(order_id="1"), ConfirmOrder(order_id="1")]
    many += [PackOrder(order_id="1"), PackOrder(order_id="1"), AddItems(order_id="1", items=add)]
    ended = commands.send_many(many)
    assert [kind_of(one)[0] for one in ended] == [*["accepted"] * 5, "rejected", "accepted"]
    assert [event.event_type for event in log.read()] == [
        "OrderPlaced", "ItemAdded", "ItemAdded", "OrderConfirmed", "ItemAdded", "ItemAdded",
    ]  # fmt: skip


class PackOrder(Command):
    order_id: str


def test_a_rival_without_end_is_told_of_each_command(log: EventLog) -> None:
    class Interrupt(Command):
        order_id: str

    @handles(Interrupt)
    def interrupt(order: Order, command: Interrupt) -> ItemAdded:
        log.append("order-1", ItemAdded(sku="r", quantity=1))
        return ItemAdded(sku="i", quantity=1)

    commands = log.commands(Order, interrupt, tries=3)
    commands.send_many([PlaceOrder(order_id=name, customer="ann") for name in "12"])
    once = Interrupt(order_id="1")
    ended = commands.send_many([once, ConfirmOrder(order_id="2"), once, ConfirmOrder(order_id="1")])
    assert isinstance(ended[0], RevisionConflictError)
    assert kind_of(ended[1]) == ("accepted", ["OrderConfirmed"])
    assert isinstance(ended[2], RevisionConflictError)
    assert isinstance(ended[3], RevisionConflictError)


def test_a_batch_collects(log: EventLog, commands: Commands) -> None:
    with commands.batch() as batch:
        placed = batch.send(PlaceOrder(order_id="1", customer="ann"), actor="ann")
        refused = batch.send(PlaceOrder(order_id="1", customer="bo"), actor="bo")
        with pytest.raises(CommandError, match="was not sent yet"):
            placed.result()
        assert log.next_position == 0
    assert placed.result().events[0].actor == "ann"
    with pytest.raises(CommandRejected, match="is there already"):
        refused.result()

    def interrupted() -> None:
        with commands.batch() as batch:
            batch.send(ConfirmOrder(order_id="1"))
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert log.next_position == 1


def test_an_error_in_a_handler_ends_the_group(log: EventLog) -> None:
    class Break(Command):
        order_id: str
        how: str = "bug"

    @handles(Break)
    def broken(order: Order, command: Break) -> ItemAdded:
        if command.how == "bug":
            raise ZeroDivisionError
        return ItemAdded(sku="a", quantity="many")  # type: ignore[arg-type]

    commands = log.commands(Order, broken)
    place = PlaceOrder(order_id="1", customer="ann")
    with pytest.raises(ZeroDivisionError) as caught:
        commands.send_many([place, Break(order_id="1")])
    assert "decides on Break for 'order-1'" in caught.value.__notes__[0]
    assert log.next_position == 0
    ended = commands.send_many([place, Break(order_id="1", how="misfit")])
    assert isinstance(ended[0], Outcome)
    assert isinstance(ended[1], EventError)
    assert log.next_position == 1


def test_a_disk_that_refuses_loses_nothing(
    log: EventLog, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.send(PlaceOrder(order_id="1", customer="ann"))

    def full(*_: Any) -> Any:
        raise StorageError("the disk is full")

    many = [ConfirmOrder(order_id="1"), PlaceOrder(order_id="2", customer="bo")]
    with monkeypatch.context() as patch:
        patch.setattr(log, "append_each", full)
        with pytest.raises(StorageError):
            commands.send_many(many)
    assert [kind_of(one)[0] for one in commands.send_many(many)] == ["accepted"] * 2


# --- what they rest on -----------------------------------------------------------------------


def test_appends_in_one_commit_are_refused_alone(log: EventLog) -> None:
    def added(number: int) -> Any:
        return [ItemAdded(sku=str(number), quantity=number).to_domain_event()]

    one = added(1)
    log.append("order-9", OrderConfirmed())
    found = log.append_each(
        [
            Append("order-1", one, NO_STREAM),
            Append("order-1", added(2), NO_STREAM),
            # After the one that was refused, whatever the revision is.
            Append("order-1", added(3), 0),
            Append("order-1", added(4), ANY),
            Append("order-2", added(5), NO_STREAM),
            Append("order-2", added(6), 0),
            Append("order-9", added(7), 3),
            Append("order-3", added(8)),
        ]
    )
    assert [isinstance(one, RevisionConflictError) for one in found] == [
        False, True, True, True, False, False, True, False,
    ]  # fmt: skip
    assert [(event.stream, event.data["sku"]) for event in log.read(after=0)] == [
        ("order-1", "1"), ("order-2", "5"), ("order-2", "6"), ("order-3", "8"),
    ]  # fmt: skip
    assert log.append_each([]) == []
    (again,) = log.append_each([Append("order-1", one, NO_STREAM)])
    assert again == found[0]
    assert log.next_position == 5


def test_a_glance_tells_where_streams_stand(log: EventLog) -> None:
    ids = []
    for number in range(1200):
        (event,) = log.append(f"order-{number % 700}", ItemAdded(sku="a", quantity=number))
        ids.append(event.event_id)
        if number == 500:
            log.seal()
            log.append("order-0", [])
    log.seal()
    seen = log.glance([*ids, "unknown"], [f"order-{n}" for n in range(800)])
    assert seen.known == set(ids)
    assert seen.heads is not None
    assert set(seen.heads) == {f"order-{n}" for n in range(700)}
    assert tuple(seen.heads["order-3"]) == (1, 703)
    assert tuple(seen.heads["order-650"]) == (0, 650)
    assert log.glance([], []) == ({}, set())
    for stream in ("order-3", "order-650", "order-none"):
        whole = [event for event in log.read() if event.stream == stream]
        assert list(log.read_stream(stream)) == whole
        assert list(log.read_stream(stream, after=0)) == whole[1:]
    assert log.event(ids[0]) == next(log.read())
    assert log.event("unknown") is None
