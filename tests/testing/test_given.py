"""Given, when, then: what passes passes, and what fails says how."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import Aggregate, Command, CommandError, CommandRejected, DomainEvent, Event, handles
from esnb.errors import AggregateError, SchemaError
from esnb.testing import Clock, given, rejected, state
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
    OrderForgotten,
    OrderPlaced,
    PlaceOrder,
    cancel,
)

PLACED = OrderPlaced(customer="ann", total=3)
CONFIRM = ConfirmOrder(order_id="17")


def text(of: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        of()
    return str(caught.value)


def test_what_is_expected_passes() -> None:
    when = given(Order, PLACED).when(CONFIRM, actor="ann")
    assert when.then(OrderConfirmed()) is when
    assert when.then(OrderConfirmed(), state(status="confirmed", customer="ann")) is when
    assert when.then(state(status="confirmed")) is when
    assert (when.events, when.refused) == ((OrderConfirmed(),), None)
    assert (when.aggregate.stream, when.aggregate.revision) == ("order-17", 1)
    given(Order("17"), PLACED).when(CONFIRM).then(OrderConfirmed())
    given(Order("order-17"), DomainEvent("OrderPlaced", {"customer": "x", "total": "1"})).when(
        CONFIRM
    ).then(OrderConfirmed())
    given(Order).when(PlaceOrder(order_id="1", customer="ann", total=3)).then(PLACED)
    given(Order, PLACED, OrderConfirmed()).when(CONFIRM).then(rejected(PENDING))
    given(Order, PLACED, OrderConfirmed()).when(CONFIRM).then(
        rejected(re.compile("^only a pending"), status="confirmed"), state(status="confirmed")
    )
    given(Order).when(CONFIRM).then(rejected("there is no such order"))
    given(Order, PLACED).when(PlaceOrder(order_id="1", customer="x")).then(
        rejected("the order is there already")
    )
    given(Order, PLACED, OrderForgotten()).when(CONFIRM).then(rejected("the order has ended"))
    given(Order, PLACED).when(ForgetOrder(order_id="1")).then(
        OrderForgotten(), state(ended=True, status="new")
    )
    given(Order, PLACED, OrderCancelled(), handlers=[cancel]).when(CancelOrder(order_id="1")).then()
    given(Order, PLACED).when(AddItems(order_id="1", items={"a": 1, "b": 2})).then(
        ItemAdded(sku="a", quantity=1),
        ItemAdded(sku="b", quantity=2),
        state(items={"a": 1, "b": 2}),
    )


def test_what_is_given_may_come_from_a_log(tmp_path: Path) -> None:
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        log.append("order-3", PLACED)
        log.append("order-17", PLACED)
        given(Order, *log.read_stream("order-17")).when(CONFIRM).then(OrderConfirmed())
        log.append("order-17", OrderConfirmed())
        when = given(Order, *log.read_stream("order-17")).when(CONFIRM).then(rejected(PENDING))
        assert "after OrderPlaced, OrderConfirmed:" in text(lambda: when.then(OrderConfirmed()))
    for wrong in ({"customer": "ann"}, CONFIRM, OrderPlaced):
        with pytest.raises(AggregateError, match="given is what happened"):
            given(Order, wrong)


def test_what_is_not_expected_tells_the_difference() -> None:
    add = AddItems(order_id="1", items={"a": 1, "ü": 2})
    when = given(Order, PLACED).when(add)
    assert text(
        lambda: when.then(ItemAdded(sku="a", quantity=1), ItemAdded(sku="b", quantity=2))
    ) == (
        "AddItems on Order after OrderPlaced: other events happened\n"
        "  (- expected, + happened)\n"
        '      ItemAdded {"sku": "a", "quantity": 1}\n'
        '  -   ItemAdded {"sku": "b", "quantity": 2}\n'
        "  ?                      ^\n"
        "\n"
        '  +   ItemAdded {"sku": "ü", "quantity": 2}\n'
        "  ?                      ^\n"
    )
    assert text(lambda: when.then()) == (
        "AddItems on Order after OrderPlaced: other events happened\n"
        "  (- expected, + happened)\n"
        "  -   nothing\n"
        '  +   ItemAdded {"sku": "a", "quantity": 1}\n'
        '  +   ItemAdded {"sku": "ü", "quantity": 2}'
    )
    assert text(lambda: when.then(rejected("at most nine of a kind"))).startswith(
        "AddItems on Order after OrderPlaced: expected a refusal by 'at most nine of a kind', and "
        'it was accepted:\n  ItemAdded {"sku": "a", "quantity": 1}'
    )
    assert text(lambda: when.then(state(status="confirmed", items={}))) == (
        "AddItems on Order after OrderPlaced: the state is another\n"
        "  (- expected, + happened)\n"
        "  - status = 'confirmed'\n"
        "  + status = 'pending'\n"
        "  - items = {}\n"
        "  + items = {'a': 1, 'ü': 2}"
    )
    many = [PLACED, *[ItemAdded(sku="a", quantity=1)] * 7, OrderConfirmed()]
    refused = given(Order, *many).when(CONFIRM)
    assert text(lambda: refused.then(OrderConfirmed())) == (
        f"ConfirmOrder on Order after 3 more, {'ItemAdded, ' * 5}"
        f"OrderConfirmed: expected events, and it was refused by {PENDING!r} (status='confirmed')"
    )
    assert "expected nothing to happen, and it was refused" in text(lambda: refused.then())
    assert f"by 'another rule', and it was refused by {PENDING!r}" in text(
        lambda: refused.then(rejected("another rule"))
    )
    assert "expected a refusal by /^another/" in text(
        lambda: refused.then(rejected(re.compile("^another")))
    )
    assert text(lambda: refused.then(rejected(status="new"))).endswith(
        "expected a refusal that tells status='new', and it tells\n  status='confirmed'"
    )
    new = given(Order).when(PlaceOrder(order_id="1", customer="ann", total=-1))
    assert text(lambda: new.then(state(status="pending"))).startswith(
        "PlaceOrder on Order that is new: expected nothing to happen, and it was refused by"
    )


def test_what_cannot_be_asked() -> None:
    when = given(Order, PLACED).when(CONFIRM)
    with pytest.raises(CommandError, match="Order has no field 'colour'; there are status, cust"):
        when.then(state(colour="red"))
    with pytest.raises(CommandError, match="then says events, rejected"):
        when.then("OrderConfirmed")  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="what is refused has no events"):
        when.then(OrderConfirmed(), rejected())
    with pytest.raises(CommandError, match="nothing handles CancelOrder"):
        given(Order, PLACED).when(CancelOrder(order_id="1"))
    with pytest.raises(CommandError, match="is for 'order-17', and given is 'order-18'"):
        given(Order("18"), PLACED).when(CONFIRM)
    used = Order("1")
    used.apply(PLACED)
    with pytest.raises(AggregateError, match="it must be new"):
        given(used)
    with pytest.raises(SchemaError, match="does not know the event type 'Nonsense'"):
        given(Order, DomainEvent("Nonsense")).when(CONFIRM)
    with pytest.raises(TypeError):
        given(Order, PLACED).when(CONFIRM, colour="red")


class Spoil(Command):
    order_id: str
    how: str


@handles(Spoil)
def spoil(order: Order, command: Spoil) -> Event | None:
    if command.how == "field":
        order.status = "spoilt"
    if command.how == "float":
        order.apply(OrderCancelled())
        order.status = "spoilt"
    return None


@pytest.mark.parametrize("how", ["field", "float"])
def test_a_handler_that_changes_fields_by_itself_is_found_out(how: str) -> None:
    """Such a state is gone when the aggregate is loaded again."""
    failure = text(
        lambda: given(Order, PLACED, handlers=[spoil]).when(Spoil(order_id="1", how=how))
    )
    assert "the handler left status = 'spoilt', and replay of its events gives" in failure


class Wait(Command):
    order_id: str


@handles(Wait)
async def wait(order: Order, command: Wait) -> OrderConfirmed:
    await asyncio.sleep(0)
    if order.status == "confirmed":
        raise CommandRejected("once")
    return OrderConfirmed()


def test_handlers_that_are_async() -> None:
    before = given(Order, PLACED, handlers=[wait])
    before.when(Wait(order_id="1")).then(OrderConfirmed())
    given(Order, PLACED, OrderConfirmed(), handlers=[wait]).when(Wait(order_id="1")).then(
        rejected("once")
    )

    async def inside() -> None:
        (await before.awhen(Wait(order_id="1"))).then(OrderConfirmed())
        (await before.awhen(CONFIRM)).then(OrderConfirmed())
        with pytest.raises(CommandError, match="say await given"):
            before.when(Wait(order_id="1"))

    asyncio.run(inside())


class Stamped(Event):
    at: datetime


class Stamp(Command):
    thing_id: str


class Thing(Aggregate):
    at: datetime | None = None
    by: str | None = None

    def when(self, e: Stamped) -> None:
        self.at, self.by = e.occurred_on, e.actor

    @handles(Stamp, creates=None)
    def stamp(self, command: Stamp) -> Stamped:
        return Stamped(at=datetime(2026, 1, 1, tzinfo=UTC))


def test_time_stands_still() -> None:
    clock = Clock("2026-03-01T12:00Z")
    when = given(Thing, clock=clock).when(Stamp(thing_id="1"), actor="ann")
    when.then(state(at=datetime(2026, 3, 1, 12, tzinfo=UTC), by="ann"))
