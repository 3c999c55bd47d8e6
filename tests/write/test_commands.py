"""Commands: decided on the state as it is, refused with the rule, done once."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

import esnb
from esnb import (
    Aggregate,
    Command,
    CommandError,
    CommandRejected,
    Commands,
    CommitUncertain,
    Event,
    EventLog,
    Outcome,
    Repository,
    RevisionConflictError,
    StreamNotFoundError,
    handles,
)
from esnb.errors import EventError, ReadOnlyLogError
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
    OrderPlaced,
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


def types(log: EventLog) -> list[str]:
    return [event.event_type for event in log.read()]


def test_a_command_is_decided_on_and_its_events_know_it(log: EventLog, commands: Commands) -> None:
    placed = commands.send(PlaceOrder(order_id="17", customer="ann", total="9.90"))
    assert (placed.stream, placed.revision, placed.repeated) == ("order-17", 0, False)
    command = ConfirmOrder(order_id="order-17")
    outcome = commands.send(
        command,
        actor="bo",
        correlation_id="checkout-8",
        causation_id=placed.events[0].event_id,
        tags=["customer:ann"],
        metadata={"ip": "::1"},
        occurred_on="2026-03-01T12:00Z",
    )
    (event,) = outcome.events
    assert (event.event_type, event.revision, event.actor) == ("OrderConfirmed", 1, "bo")
    assert event.event_id == str(uuid5(command.command_id, "0"))
    assert event.causation_id == outcome.command_id == str(command.command_id)
    assert event.correlation_id == "checkout-8"
    assert event.tags == ("customer:ann",)
    assert event.occurred_on == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert dict(event.metadata) == {
        "ip": "::1",
        "command": "ConfirmOrder",
        "caused_by": placed.events[0].event_id,
    }
    # A command that is part of no conversation begins one.
    assert placed.events[0].correlation_id == placed.command_id
    assert list(log.read()) == [*placed.events, event]
    assert Repository(log, Order).get("17").status == "confirmed"


def test_a_rule_refuses_with_its_name_and_nothing_happens(
    log: EventLog, commands: Commands
) -> None:
    commands.send(PlaceOrder(order_id="17", customer="ann"))
    commands.send(ConfirmOrder(order_id="17"))
    command = ConfirmOrder(order_id="17")
    with pytest.raises(CommandRejected) as caught:
        commands.send(command)
    refused = caught.value
    assert (refused.rule, refused.facts) == (PENDING, {"status": "confirmed"})
    assert (refused.command, refused.stream, refused.revision) == (command, "order-17", 1)
    assert str(refused) == (
        "ConfirmOrder to 'order-17' (revision 1) was refused: only a pending order is confirmed "
        "(status='confirmed')"
    )
    again = pickle.loads(pickle.dumps(refused))  # noqa: S301
    assert str(again) == str(refused)
    assert again.command == command
    assert log.next_position == 2


def test_what_was_applied_before_a_refusal_did_not_happen(
    log: EventLog, commands: Commands
) -> None:
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    with pytest.raises(CommandRejected, match="nine of a kind"):
        commands.send(AddItems(order_id="1", items={"a": 2, "b": 10}))
    assert types(log) == ["OrderPlaced"]
    outcome = commands.send(AddItems(order_id="1", items={"a": 5, "b": 9}))
    assert [event.data["sku"] for event in outcome.events] == ["a", "b"]
    assert outcome.revision == 2
    with pytest.raises(CommandRejected, match="nine of a kind"):
        commands.send(AddItems(order_id="1", items={"a": 5}))
    assert Repository(log, Order).get("1").items == {"a": 5, "b": 9}


def test_a_command_is_sent_once_however_often_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "log"
    place = PlaceOrder(order_id="1", customer="ann")
    confirm = ConfirmOrder(order_id="1")
    add = AddItems(order_id="1", items={"a": 1, "b": 2, "c": 3})
    with esnb.create(path, zone="UTC") as log:
        commands = log.commands(Order, cancel)
        first = [commands.send(command) for command in (place, confirm, add)]
        # By now the order is something else, and is not there at all.
        commands.send(CancelOrder(order_id="1"))
        commands.send(ForgetOrder(order_id="1"))
        for log_again in (log, esnb.open(path)):
            again = log_again.commands(Order, cancel)
            for before, command in zip(first, (place, confirm, add), strict=True):
                found = again.send(command, actor="somebody else")
                assert found.repeated
                assert found.events == before.events
                assert (found.stream, found.revision) == (before.stream, before.revision)
        log_again.close()
        assert log.next_position == 7
        log.seal()
        log.append("order-2", OrderPlaced(customer="bo", total=1))
        log.seal()
        assert commands.send(confirm).events == first[1].events
        assert log.next_position == 8


def test_a_command_that_led_to_nothing_is_decided_on_again(
    log: EventLog, commands: Commands
) -> None:
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    refused = ConfirmOrder(order_id="1")
    commands.send(CancelOrder(order_id="1"))
    idle = commands.send(CancelOrder(order_id="1"))
    assert (idle.events, idle.revision, idle.repeated) == ((), 1, False)
    with pytest.raises(CommandRejected):
        commands.send(refused)
    log.append("order-1", OrderPlaced(customer="ann", total=0))
    assert commands.send(refused).events[0].event_type == "OrderConfirmed"


def test_an_id_names_one_command(commands: Commands) -> None:
    command = PlaceOrder(order_id="1", customer="ann")
    commands.send(command)
    commands.send(PlaceOrder(order_id="2", customer="ann"))
    other = PlaceOrder(order_id="2", customer="ann", command_id=command.command_id)
    with pytest.raises(CommandError, match="an id names one command for ever"):
        commands.send(other)
    with pytest.raises(CommandError, match="was that of 'PlaceOrder' to 'order-1', and now is"):
        commands.send(ConfirmOrder(order_id="1", command_id=command.command_id))


def test_whether_the_aggregate_is_there(log: EventLog) -> None:
    class TouchOrder(Command):
        order_id: str

    @handles(TouchOrder, creates=None)
    def touch(order: Order, command: TouchOrder) -> ItemAdded:
        return ItemAdded(sku="t", quantity=1)

    commands = log.commands(Order, touch)
    with pytest.raises(StreamNotFoundError, match="no stream 'order-1'"):
        commands.send(ConfirmOrder(order_id="1"))
    assert commands.send(TouchOrder(order_id="1")).revision == 0
    assert commands.send(TouchOrder(order_id="1")).revision == 1
    with pytest.raises(CommandRejected, match="the order is there already"):
        commands.send(PlaceOrder(order_id="1", customer="x"))
    commands.send(ForgetOrder(order_id="1"))
    with pytest.raises(CommandRejected, match="the order has ended"):
        commands.send(ConfirmOrder(order_id="1"))
    # What has ended may begin again.
    assert commands.send(PlaceOrder(order_id="1", customer="y")).revision == 3
    assert Repository(log, Order).get("1").customer == "y"


def test_the_newest_state_decides_whoever_wrote_it(log: EventLog, commands: Commands) -> None:
    """The state that is held in memory is checked before every decision."""
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    log.append("order-1", OrderConfirmed())
    with pytest.raises(CommandRejected):
        commands.send(ConfirmOrder(order_id="1"))
    with esnb.open(log.path) as other:
        other.append("order-1", OrderPlaced(customer="bo", total=2))
    assert commands.send(ConfirmOrder(order_id="1")).revision == 3


def test_a_state_that_was_never_recorded_decides_nothing(log: EventLog) -> None:
    """A handler that changes fields by itself harms its own command only."""

    class Spoil(Command):
        order_id: str

    @handles(Spoil)
    def spoil(order: Order, command: Spoil) -> None:
        order.status = "confirmed"
        order.items["x"] = 9
        raise CommandRejected("never")

    commands = log.commands(Order, spoil)
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    commands.send(AddItems(order_id="1", items={"x": 1}))
    with pytest.raises(CommandRejected, match="never"):
        commands.send(Spoil(order_id="1"))
    commands.send(AddItems(order_id="1", items={"x": 1}))
    assert commands.send(ConfirmOrder(order_id="1")).revision == 3


def test_a_conflict_is_decided_on_again(log: EventLog) -> None:
    seen: list[str] = []

    class Rush(Command):
        order_id: str

    @handles(Rush)
    def rush(order: Order, command: Rush) -> OrderCancelled:
        seen.append(order.status)
        if len(seen) == 1:
            # Somebody else is faster, once.
            log.append("order-1", OrderConfirmed())
        return OrderCancelled(reason=order.status)

    commands = log.commands(Order, rush)
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    outcome = commands.send(Rush(order_id="1"))
    assert seen == ["pending", "confirmed"]
    assert outcome.events[0].data["reason"] == "confirmed"
    assert outcome.revision == 2


def test_a_conflict_without_end_is_given_up_on(log: EventLog) -> None:
    class Rush(Command):
        order_id: str

    tries = 0

    @handles(Rush)
    def rush(order: Order, command: Rush) -> OrderCancelled:
        nonlocal tries
        tries += 1
        log.append("order-1", ItemAdded(sku="a", quantity=1))
        return OrderCancelled()

    commands = log.commands(Order, rush, tries=4)
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    with pytest.raises(RevisionConflictError, match="is at revision 4, expected 3"):
        commands.send(Rush(order_id="1"))
    assert tries == 4
    assert set(types(log)[1:]) == {"ItemAdded"}


def test_after_an_uncertain_commit_it_is_sent_again(
    log: EventLog, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    append = log.append_many

    def uncertain(*arguments: Any, **options: Any) -> Any:
        recorded = append(*arguments, **options)
        raise CommitUncertain([event.event_id for event in recorded], "the disk went away")

    command = ConfirmOrder(order_id="1")
    with monkeypatch.context() as patch:
        patch.setattr(log, "append_many", uncertain)
        with pytest.raises(CommitUncertain):
            commands.send(command)
    assert commands.send(command).repeated
    assert types(log) == ["OrderPlaced", "OrderConfirmed"]


def test_a_command_that_would_lead_to_more_by_now_leads_to_what_it_led_to(
    tmp_path: Path,
) -> None:
    """Its first event would be the same to the letter, since the clock stands still."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    with esnb.create(tmp_path / "log", zone="UTC", clock=lambda: now) as log:

        class More(Command):
            order_id: str

        @handles(More)
        def more(order: Order, command: More) -> Any:
            yield ItemAdded(sku="a", quantity=1)
            if order.items["a"] > 1:
                yield ItemAdded(sku="b", quantity=1)

        commands = log.commands(Order, more)
        place, first = PlaceOrder(order_id="1", customer="ann"), More(order_id="1")
        for command in (place, first):
            assert not commands.send(command).repeated
            assert commands.send(command).repeated
        assert [one.revision for one in commands.send_many([first, place])] == [1, 0]  # type: ignore[union-attr]
        log.append("order-1", ItemAdded(sku="a", quantity=1))
        again = commands.send(first)
        assert (again.repeated, again.revision, len(again.events)) == (True, 1, 1)
        assert log.next_position == 3


def test_threads_that_send_one_command_send_it_once(log: EventLog, commands: Commands) -> None:
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    found: list[Outcome] = []
    for number in range(20):
        command = AddItems(order_id="1", items={f"s{number}": 1, f"t{number}": 1})
        start = threading.Barrier(4)

        def send(command: Command = command, start: threading.Barrier = start) -> None:
            start.wait()
            found.append(commands.send(command))

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({outcome.events for outcome in found[-4:]}) == 1
    assert log.next_position == 41


def test_sending_without_waiting(log: EventLog) -> None:
    class ChargeOrder(Command):
        order_id: str

    @handles(ChargeOrder)
    async def charge(order: Order, command: ChargeOrder) -> ItemAdded:
        await asyncio.sleep(0)
        if order.status != "pending":
            raise CommandRejected("only a pending order is charged")
        return ItemAdded(sku="charge", quantity=1)

    commands = log.commands(Order, cancel, charge)

    async def shop() -> list[Any]:
        await commands.asend(PlaceOrder(order_id="1", customer="ann"))
        sent = await asyncio.gather(
            *(commands.asend(ChargeOrder(order_id="1"), actor="ann") for _ in range(9)),
            *(commands.asend(PlaceOrder(order_id=f"a{n}", customer="ann")) for n in range(20)),
        )
        await commands.asend(CancelOrder(order_id="1"))
        with pytest.raises(CommandRejected, match="only a pending order is charged"):
            await commands.asend(ChargeOrder(order_id="1"))
        return sent

    sent = asyncio.run(shop())
    assert all(isinstance(outcome, Outcome) for outcome in sent)
    assert sorted(outcome.revision for outcome in sent[:9]) == [*range(1, 10)]
    assert Repository(log, Order).get("1").items == {"charge": 9}
    with pytest.raises(CommandError, match=r"is async; say await commands.asend"):
        commands.send(ChargeOrder(order_id="1"))
    with pytest.raises(CommandError, match="is async"):
        commands.send_many([ChargeOrder(order_id="1")])


def test_the_loop_does_other_work_meanwhile(log: EventLog) -> None:
    """While a handler that is not async holds on, the loop goes round."""
    gone = threading.Event()

    class HoldOrder(Command):
        order_id: str

    @handles(HoldOrder)
    def hold(order: Order, command: HoldOrder) -> ItemAdded:
        assert gone.wait(30), "the loop stood still"
        return ItemAdded(sku="h", quantity=1)

    commands = log.commands(Order, hold)
    commands.send(PlaceOrder(order_id="1", customer="ann"))

    async def both() -> None:
        sending = asyncio.ensure_future(commands.asend(HoldOrder(order_id="1")))
        await asyncio.sleep(0)
        gone.set()
        await sending

    asyncio.run(both())
    assert log.next_position == 2


def test_what_a_handler_may_give_back(log: EventLog) -> None:
    class Try(Command):
        order_id: str
        how: str

    @handles(Try)
    def tried(order: Order, command: Try) -> Any:
        one = ItemAdded(sku="a", quantity=1)
        if command.how == "applies and gives":
            order.apply(one)
            return [one]
        if command.how == "generator":
            return (ItemAdded(sku=f"{n}-{len(order.items)}", quantity=1) for n in range(2))
        if command.how == "names an id":
            order.apply(one, event_id="mine")
        if command.how == "says more":
            order.apply(one, actor="the handler", metadata={"command": "x", "y": 1})
            return None
        if command.how == "misfit":
            return ItemAdded(sku="a", quantity="many")  # type: ignore[arg-type]
        if command.how == "bug":
            return {}["missing"]
        return {
            "text": "OrderConfirmed",
            "mapping": {"a": 1},
            "number": 3,
            "texts": ["OrderConfirmed"],
            "domain event": esnb.DomainEvent("ItemAdded", {}),
            "none": None,
            "empty": [],
        }[command.how]

    commands = log.commands(Order, tried)
    commands.send(PlaceOrder(order_id="1", customer="ann"))

    def send(how: str) -> Outcome:
        return commands.send(Try(order_id="1", how=how), actor="the sender")

    for how, message in {
        "applies and gives": "both applied events and gave some back",
        "text": "must give back events or nothing, not 'OrderConfirmed'",
        "mapping": "must give back events or nothing",
        "number": "must give back events or nothing, not 3",
        "texts": "gave back 'OrderConfirmed', no object of an event class",
        "domain event": "no object of an event class",
        "names an id": "the event_id of an event comes from its command",
    }.items():
        with pytest.raises(CommandError, match=message):
            send(how)
    with pytest.raises(EventError, match=r"quantity: .*integer.*ItemAdded, made by .*tried"):
        send("misfit")
    with pytest.raises(KeyError) as caught:
        send("bug")
    assert "decides on Try for 'order-1' at revision 0; nothing was" in caught.value.__notes__[0]
    assert send("none").events == send("empty").events == ()
    assert [event.data["sku"] for event in send("generator").events] == ["0-0", "1-1"]
    (event,) = send("says more").events
    assert event.actor == "the handler"
    assert dict(event.metadata) == {"command": "Try", "y": 1}
    assert log.next_position == 4


def test_handlers_that_cannot_be(log: EventLog) -> None:
    @handles(ConfirmOrder, of=Order)
    def second(order: Any, command: ConfirmOrder) -> None: ...

    with pytest.raises(
        CommandError, match=r"ConfirmOrder is handled twice, by Order.confirm and .*second"
    ):
        log.commands(Order, second)
    log.commands(Order, Order)

    @handles(ConfirmOrder)
    def unsaid(order, command):  # type: ignore[no-untyped-def]
        ...

    with pytest.raises(CommandError, match="does not say of which aggregate"):
        log.commands(unsaid)
    with pytest.raises(CommandError, match="is no handler: say @handles"):
        log.commands(len)
    with pytest.raises(CommandError, match="is no aggregate class"):
        log.commands(int)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="say who handles commands"):
        log.commands()
    with pytest.raises(CommandError, match=r"takes command classes"):
        handles(Order)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="say which command"):
        handles()
    for option in ({"tries": 0}, {"hold": -1}, {"tries": "x"}):
        with pytest.raises(CommandError, match="say a whole number from"):
            log.commands(Order, **option)

    class Elsewhere(Command, stream="customer-{name}"):
        name: str

    @handles(Elsewhere, of=Order)
    def elsewhere(order: Order, command: Elsewhere) -> None: ...

    with pytest.raises(CommandError, match="for the category 'customer'"):
        log.commands(elsewhere)

    class Nowhere(Command):
        name: str

    @handles(Nowhere, of=Order)
    def nowhere(order: Order, command: Nowhere) -> None: ...

    with pytest.raises(CommandError, match="Nowhere does not say which order: give it a field"):
        log.commands(nowhere)
    with pytest.raises(CommandError, match="nothing handles CancelOrder; handled are: AddItems, "):
        log.commands(Order).send(CancelOrder(order_id="1"))
    with pytest.raises(CommandError, match="a command is an object of a command class"):
        log.commands(Order).send(OrderConfirmed())  # type: ignore[arg-type]


def test_a_class_that_extends_another_decides_otherwise(log: EventLog) -> None:
    class Strict(Order, category="order"):
        def confirm(self, command: ConfirmOrder) -> None:
            raise CommandRejected("never on a Sunday")

    commands = log.commands(Strict)
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    with pytest.raises(CommandRejected, match="never on a Sunday"):
        commands.send(ConfirmOrder(order_id="1"))


def test_rules_are_no_part_of_what_decides_states() -> None:
    """A rule may change without any state being folded anew."""

    def made(rule: str) -> str:
        class Thing(Aggregate):
            count: int = 0

            def when(self, e: ItemAdded) -> None:
                self.count += e.quantity

            @handles(ConfirmThing)
            def confirm(self, command: ConfirmThing) -> None:
                raise CommandRejected(rule)

        return Thing.description.fingerprint

    assert made("a") == made("b")


class ConfirmThing(Command):
    thing_id: str


# --- commands --------------------------------------------------------------------------------


def test_commands_are_frozen_and_validated() -> None:
    command = PlaceOrder(order_id="1", customer="ann", total="1.50")
    with pytest.raises(ValueError, match="frozen"):
        command.total = 3  # type: ignore[misc,assignment]
    for wrong, message in (
        ({}, r"PlaceOrder.order_id: Field required \(1 more like it\)"),
        ({"order_id": "1", "customer": 3}, "PlaceOrder.customer: .*string, not 3"),
        ({"order_id": "1", "customer": "a", "nonsense": 1}, "PlaceOrder.nonsense: Extra inputs"),
        ({"order_id": "1", "customer": "a", "command_id": "x"}, "PlaceOrder.command_id: .*UUID"),
    ):
        with pytest.raises(CommandError, match=message):
            PlaceOrder(**wrong)
    assert PlaceOrder.model_validate_json(command.model_dump_json()) == command
    assert pickle.loads(pickle.dumps(command)) == command  # noqa: S301
    assert isinstance(command.command_id, UUID)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("order-{nothing}", r"names \{nothing\}; say fields and nothing more, such as a, b"),
        ("order-{a.__class__}", "say fields and nothing more"),
        ("order-{a!r}", "say fields and nothing more"),
        ("order-{a:>9}", "say fields and nothing more"),
        ("order-{}", "say fields and nothing more"),
        ("order-{a}{b}", "needs a text between its fields"),
        ("{a}-{b}", "has no category"),
        ("order{a}", "has no category"),
        ("", "has no category"),
        ("order-{a", "cannot be read"),
        (17, "cannot be read"),
    ],
)
def test_patterns_that_name_no_stream(pattern: Any, message: str) -> None:
    with pytest.raises(CommandError, match=message):

        class Broken(Command, stream=pattern):
            a: str
            b: int


def test_options_that_there_are_not() -> None:
    with pytest.raises(CommandError, match="has no option 'category'; there is stream"):

        class Broken(Command, category="order"):
            a: str


def test_two_commands_never_name_one_stream_by_different_fields() -> None:
    class TakeSeat(Command, stream="seat-{flight}-{number}"):
        flight: str
        number: str | int | UUID | bool | None

    assert TakeSeat(flight="LH1", number="2-B").stream_in("seat") == "seat-LH1-2-B"
    assert TakeSeat(flight="LH1", number=2).stream_in("seat") == "seat-LH1-2"
    unique = uuid4()
    assert TakeSeat(flight="x", number=unique).stream_in("seat") == f"seat-x-{unique}"
    for flight, number, message in (
        ("LH-1", "2", "'-' stands behind it"),
        ("LH1", "", "is empty"),
        ("LH1", True, "named by a text, a whole number or a UUID"),
        ("LH1", None, "named by a text"),
        ("LH1", "a\0b", "names no stream: stream: holds a NUL"),
        ("LH1", "x" * 2000, "names no stream: stream: has 2009 bytes"),
    ):
        with pytest.raises(CommandError, match=message):
            TakeSeat(flight=flight, number=number).stream_in("seat")
    with pytest.raises(CommandError, match="does not say which customer"):
        ConfirmOrder(order_id="1").stream_in("customer")


@pytest.mark.parametrize(
    "name", ["日本-🙂", "a' or 1=1 --", "<script>", "../../etc", "\u202e", " "]
)
def test_hostile_names_are_names(log: EventLog, commands: Commands, name: str) -> None:
    commands.send(PlaceOrder(order_id=name, customer=name))
    assert commands.send(ConfirmOrder(order_id=name)).stream == f"order-{name}"
    assert Repository(log, Order).get(name).customer == name


# --- where and when --------------------------------------------------------------------------


def test_time_is_injected(tmp_path: Path) -> None:
    now = datetime(2025, 12, 24, 18, tzinfo=UTC)
    with esnb.create(tmp_path / "log", zone="UTC", clock=lambda: now) as log:
        commands = log.commands(Order)
        (event,) = commands.send(PlaceOrder(order_id="1", customer="ann")).events
        assert event.recorded_on == event.occurred_on == now
        earlier = datetime(2025, 1, 1, tzinfo=UTC)
        now, before = earlier, now
        (event,) = commands.send(ConfirmOrder(order_id="1")).events
        # The record never goes back, whatever the clock says.
        assert (event.occurred_on, event.recorded_on) == (earlier, before)
        valid = log.commands(Order, cancel, clock=lambda: before)
        (event,) = valid.send(CancelOrder(order_id="1")).events
        assert event.occurred_on == before


def test_logs_that_take_no_commands(log: EventLog, commands: Commands) -> None:
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    with log.batch(), pytest.raises(CommandError, match="group commands with send_many"):
        commands.send(ConfirmOrder(order_id="1"))
    with pytest.raises(CommandError, match="'command' is esnb's own"):
        commands.send(ConfirmOrder(order_id="1"), metadata={"command": "x"})
    with pytest.raises(CommandError, match="metadata of a command as a mapping"):
        commands.send(ConfirmOrder(order_id="1"), metadata="{}")
    with esnb.open(log.path, read_only=True) as readable:
        with pytest.raises(ReadOnlyLogError):
            readable.commands(Order).send(ConfirmOrder(order_id="1"))
        with pytest.raises(CommandRejected, match="below 0"):
            readable.commands(Order).send(PlaceOrder(order_id="2", customer="x", total=-1))
    assert log.next_position == 1


def test_long_streams_are_begun_from_snapshots(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = log.commands(Order, snapshot_every=10)
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    for number in range(24):
        commands.send(AddItems(order_id="1", items={f"s{number}": 1}))
    replayed: list[int] = []
    replay = esnb.Aggregate.replay

    def counted(order: esnb.Aggregate, recorded: esnb.RecordedEvent) -> None:
        replayed.append(recorded.revision)
        replay(order, recorded)

    # Of the base: a class with another method is another class.
    monkeypatch.setattr(esnb.Aggregate, "replay", counted)
    fresh = log.commands(Order, snapshot_every=10)
    fresh.send(AddItems(order_id="1", items={"x": 1}))
    assert replayed == [20, 21, 22, 23, 24]
    replayed.clear()
    # Held in memory, it takes in its own event before the next command, and nothing else.
    fresh.send(AddItems(order_id="1", items={"x": 1}))
    assert replayed == [25]
    for number in range(200):
        fresh.send(PlaceOrder(order_id=f"o{number}", customer="ann"))
    few = log.commands(Order, hold=3)
    for number in range(9):
        few.send(ConfirmOrder(order_id=f"o{number}"))
    assert len(few._dispatcher.recent._held) == 3


def test_many_commands_of_one_event_class(log: EventLog) -> None:
    """One event object, let happen to two aggregates and twice to one."""
    same = ItemAdded(sku="a", quantity=1)

    class Same(Command):
        order_id: str

    @handles(Same)
    def twice(order: Order, command: Same) -> list[Event]:
        return [same, same]

    commands = log.commands(Order, twice)
    for name in "12":
        commands.send(PlaceOrder(order_id=name, customer="ann"))
        commands.send(Same(order_id=name))
        assert Repository(log, Order).get(name).items == {"a": 2}
    assert log.next_position == 6
