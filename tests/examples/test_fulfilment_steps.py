"""What the shop's saga says should be done, without a log, a shop or a clock that runs."""

import doctest
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from esnb import CommandRejected
from esnb.examples import shop
from esnb.examples.shop import commands as c
from esnb.examples.shop import events as e
from esnb.testing import answers, given, in_stream, state

LAMP, RUG = ({"sku": sku, "quantity": 1, "price": Decimal(10)} for sku in ("lamp-1", "rug-2"))
PLACED = e.OrderPlaced(
    customer=1, items=[LAMP, RUG], total=20, currency="EUR", city="Kiel", zip="24103", channel="web"
)
CONFIRMED, CAPTURED = e.OrderConfirmed(), e.PaymentCaptured(order="order-7", captured=20)
DECLINED = e.PaymentDeclined(order="order-7", why="limit reached")
ASK = c.RequestPayment(payment_id="7", order="order-7", amount=20, currency="EUR", method="card")
NOTE = c.NotePayment(order_id="7", paid=20, method="card")
CANCEL, ABANDON = c.CancelOrder(order_id="7", reason="not paid"), c.AbandonPayment(payment_id="7")
REFUND = c.RefundPayment(payment_id="7", amount=20)
SOLD_OUT = answers(c.ReserveStock, CommandRejected("there is not enough"))


def reserve(sku):
    return c.ReserveStock(product_id=sku, order="order-7", quantity=1)


def reserved(sku):
    """The event stands in the stream of the product, and the saga looks at that."""
    return in_stream(f"product-{sku}", e.StockReserved(order="order-7", quantity=1, stock=0))


def at(*events):
    return given(shop.Fulfilment, PLACED, *events, id="7")


def test_step_by_step():
    at().when(CONFIRMED).then(ASK, state(waiting="money"))
    at(CONFIRMED).when(CAPTURED).then(NOTE, reserve("lamp-1"), state(waiting=None))
    at(CONFIRMED, CAPTURED).when(reserved("lamp-1")).then(reserve("rug-2"))
    at(CONFIRMED, CAPTURED, reserved("lamp-1")).when(reserved("rug-2")).then(
        c.SendParcel(
            shipment_id="7", order="order-7", carrier="Post", tracking="TR-7", city="Kiel"
        ),
        c.ShipOrder(order_id="7", carrier="Post", tracking="TR-7"),
    )


def test_what_the_basket_holds_at_the_end():
    fewer = e.ItemRemoved(items=[RUG], total=10)
    at(fewer).when(CONFIRMED).then(ASK.model_copy(update={"amount": Decimal(10)}))
    moved = e.AddressChanged(city="Graz", zip="8010")
    sent = at(fewer, moved, CONFIRMED, CAPTURED).when(reserved("rug-2")).commands
    assert [(one.name, one.fields.get("city")) for one in sent] == [
        ("SendParcel", "Graz"), ("ShipOrder", None),
    ]  # fmt: skip


def test_no_money_in_three_days():
    three_days = timedelta(days=3)
    at(CONFIRMED).when(three_days - timedelta(seconds=1)).then()
    at(CONFIRMED).when(three_days).then(ABANDON, CANCEL, state(status="done"))
    # The bank was faster by a moment.
    paid = answers(c.AbandonPayment, CommandRejected("it was captured"))
    at(CONFIRMED, paid).when(three_days).then(ABANDON, CANCEL, REFUND, state(status="done"))


def test_the_bank_declines_three_times():
    failed = c.NoteFailure(order_id="7", failure="limit reached")
    at(CONFIRMED, DECLINED).when(DECLINED).then(failed, state(waiting="money"))
    at(CONFIRMED, DECLINED, DECLINED).when(DECLINED).then(failed, ABANDON, CANCEL)
    at(CONFIRMED, DECLINED, DECLINED).when(CAPTURED).then(NOTE, reserve("lamp-1"))


def test_sold_out_twice_over():
    half, day = timedelta(hours=12), timedelta(days=1)
    waits = at(CONFIRMED, CAPTURED, SOLD_OUT).when(reserved("lamp-1"))
    waits.then(reserve("rug-2"), state(tries=1, status="running"))
    goes_back = [
        c.ReleaseStock(product_id="lamp-1", order="order-7", quantity=1),
        REFUND,
        c.CancelOrder(order_id="7", reason="sold out"),
        c.IssueRefund(order_id="7", amount=20),
    ]
    at(CONFIRMED, CAPTURED, SOLD_OUT, reserved("lamp-1")).when(half + day).then(
        reserve("rug-2"), reserve("rug-2"), *goes_back, state(status="done")
    )
    in_time = answers(c.ReserveStock, CommandRejected("there is not enough"), True)
    at(CONFIRMED, CAPTURED, in_time, reserved("lamp-1")).when(half + day).then(
        reserve("rug-2"), state(status="running", tries=0)
    )


def test_a_customer_who_thinks_better_of_it():
    at().when(e.OrderCancelled(reason="changed mind")).then(state(status="done"))


def test_a_saga_that_forgets_is_found_out():
    with pytest.raises(AssertionError, match="other commands were sent"):
        at(CONFIRMED).when(CAPTURED).then(NOTE)


def test_the_example_of_the_document():
    text = (Path(__file__).parents[2] / "docs" / "sagas.md").read_text()
    (block,) = re.findall(r"^```python\n(>>>.*?)^```", text, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest(block, {}, "testing", "sagas.md", 0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    assert (runner.failures, runner.tries > 10) == (0, True)
