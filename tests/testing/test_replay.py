"""What would have been refused of a recorded history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import Command, CommandError, CommandRejected, EventLog, handles
from esnb.testing import Clock, replay
from tests.write.orders import (
    AddItems,
    CancelOrder,
    ConfirmOrder,
    ItemAdded,
    Order,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    PlaceOrder,
    cancel,
)

RULE = "an order above 500 is checked first"


class Strict(Order, category="order"):
    @handles(ConfirmOrder)
    def confirm(self, command: ConfirmOrder) -> None:
        if self.total > 500:
            raise CommandRejected(RULE, total=self.total)
        super().confirm(command)


CONFIRMED = {OrderConfirmed: lambda e: ConfirmOrder(order_id=e.stream)}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    clock = Clock("2026-03-01T12:00Z")
    with esnb.create(tmp_path / "log", zone="UTC", clock=clock) as opened:
        commands = opened.commands(Order, cancel)
        for number, total in enumerate([10, 600, 20, 900]):
            clock.advance(hours=1)
            commands.send(PlaceOrder(order_id=f"{number}", customer="ann", total=total))
            commands.send(ConfirmOrder(order_id=f"{number}"), actor=f"clerk {number}")
        opened.append("customer-1", esnb.DomainEvent("Moved"))
        opened.append("order-1", esnb.DomainEvent("Nonsense"))
        yield opened


def test_an_event_type_that_nobody_knows_is_told(log: EventLog) -> None:
    with pytest.raises(CommandError, match=r"no event type 'Nope'.*'OrderConfirmed'"):
        replay(log, Strict, {"Nope": lambda e: None})
    assert replay(log, Strict, {"Nonsense": lambda e: None}).asked == 0


def test_what_a_changed_class_would_have_refused(log: EventLog) -> None:
    found = replay(log, Strict, CONFIRMED)
    assert (found.asked, found.events) == (4, 9)
    assert [(one.stream, one.revision, one.position, one.actor) for one in found.refused] == [
        ("order-1", 1, 3, "clerk 1"),
        ("order-3", 1, 7, "clerk 3"),
    ]
    first = found.refused[0]
    assert (first.command, first.rule, first.facts) == ("ConfirmOrder", RULE, {"total": 600})
    assert first.event_type == "OrderConfirmed"
    assert first.event_id == log.event(first.event_id).event_id  # type: ignore[union-attr]
    assert found.rules == {RULE: 2}
    assert list(found.df()["stream"]) == ["order-1", "order-3"]
    assert repr(found) == (
        f"Replayed(Strict: 2 of 4 would have been refused, 9 events)\n  2 by {RULE!r}"
    )
    assert "2 of 4 would have been refused" in found._repr_html_()
    assert replay(log, Order, CONFIRMED).refused == ()
    what_if = found.what_if()
    states = what_if.as_of(log.next_position - 3).project("stream, status").order("stream")
    assert states.fetchall() == [
        ("order-0", "confirmed"),
        ("order-1", "pending"),
        ("order-2", "confirmed"),
        ("order-3", "pending"),
    ]
    whole = replay(log, Order, CONFIRMED).what_if().as_of(7).order("stream")
    assert (
        whole.fetchall() == log.timeline(Order, unknown="keep").as_of(7).order("stream").fetchall()
    )


def test_guards_are_asked_without_commands(log: EventLog) -> None:
    class Guarded(Order, category="order"):
        def when_confirmed(self, e: OrderConfirmed) -> None:
            if self.total > 500:
                self.breach("above 500")
            else:
                self.status = "confirmed"

    found = replay(log, Guarded)
    assert [(one.stream, one.position, one.rule, one.command) for one in found.refused] == [
        ("order-1", 3, "above 500", None),
        ("order-3", 7, "above 500", None),
    ]
    assert (found.asked, found.events) == (9, 9)
    breaches = log.timeline(Guarded, unknown="keep").breaches().fetchall()
    assert len(breaches) == len(found.refused)


def test_what_was_refused_may_be_without_consequences_or_with(log: EventLog) -> None:
    log.append("order-3", [OrderCancelled(), OrderConfirmed()])

    class Once(Order, category="order"):
        @handles(CancelOrder)
        def cancel(self, command: CancelOrder) -> OrderCancelled:
            if self.status != "confirmed":
                raise CommandRejected("only a confirmed order is cancelled")
            return OrderCancelled()

        @handles(ConfirmOrder)
        def confirm(self, command: ConfirmOrder) -> OrderConfirmed:
            if self.total > 500 and self.status == "pending":
                raise CommandRejected(RULE)
            return OrderConfirmed()

    asks: dict[Any, Any] = {
        **CONFIRMED,
        "OrderCancelled": lambda e: CancelOrder(order_id=e.stream),
    }
    kept = replay(log, Once, asks)
    assert [(one.position, one.command) for one in kept.refused] == [
        (3, "ConfirmOrder"),
        (7, "ConfirmOrder"),
    ]
    gone = replay(log, Once, asks, cascade=True)
    assert [(one.position, one.command) for one in gone.refused] == [
        (3, "ConfirmOrder"),
        (7, "ConfirmOrder"),
        (10, "CancelOrder"),
        (11, "ConfirmOrder"),
    ]


def test_the_events_of_one_command_are_one_question(log: EventLog) -> None:
    commands = log.commands(Order, cancel)
    commands.send(AddItems(order_id="0", items={"a": 1, "b": 1, "c": 1}))
    start = log.next_position - 3

    class Few(Order, category="order"):
        @handles(AddItems)
        def add(self, command: AddItems) -> None:
            raise CommandRejected("no more items")

    asks = {ItemAdded: lambda e: AddItems(order_id=e.stream.removeprefix("order-"), items={})}
    found = replay(log, Few, asks, cascade=True)
    assert found.asked == 1
    assert [one.position for one in found.refused] == [start]
    items = found.what_if().as_of(log.next_position - 4).filter("stream = 'order-0'")
    assert str(items.project("items").fetchone()) == "({},)"


def test_commands_that_do_not_fit(log: EventLog) -> None:
    with pytest.raises(CommandError, match="made of the event at position 1 is for 'order-x', and"):
        replay(log, Order, {OrderConfirmed: lambda e: ConfirmOrder(order_id="x")})
    with pytest.raises(CommandError, match="OrderConfirmed: 'confirm' is no command"):
        replay(log, Order, {OrderConfirmed: lambda e: "confirm"})  # type: ignore[dict-item,return-value]
    with pytest.raises(CommandError, match="nothing handles CancelOrder"):
        replay(log, Order, {OrderConfirmed: lambda e: CancelOrder(order_id=e.stream)})
    assert replay(log, Order, {OrderConfirmed: lambda e: None}).asked == 0
    found = replay(
        log, Order, {"Nonsense": lambda e: CancelOrder(order_id=e.stream)}, handlers=[cancel]
    )
    assert (found.asked, found.refused) == (1, ())


COMMAND: st.SearchStrategy[Command] = st.one_of(
    st.builds(PlaceOrder, order_id=st.sampled_from("ab"), customer=st.just("x")),
    st.builds(ConfirmOrder, order_id=st.sampled_from("ab")),
    st.builds(
        AddItems,
        order_id=st.sampled_from("ab"),
        items=st.dictionaries(st.sampled_from("xy"), st.integers(1, 6), min_size=1),
    ),
)


@settings(max_examples=30)
@given(st.lists(COMMAND, max_size=15))
def test_a_class_that_was_not_changed_refuses_nothing(
    tmp_path_factory: pytest.TempPathFactory, sent: list[Command]
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    with esnb.create(path, zone="UTC", maintain=False) as log:
        log.commands(Order, cancel).send_many(sent)
        by_id = {str(command.command_id): command for command in sent}
        asks = {
            one: lambda e: by_id[e.causation_id] for one in (OrderPlaced, OrderConfirmed, ItemAdded)
        }
        found = replay(log, Order, asks)
        assert found.refused == ()
        assert found.asked == len({event.causation_id for event in log.read()})
        assert found.events == log.next_position
