"""The saga of the shop: order, payment, stock, parcel; and what it does when one of them fails."""

import contextlib
import random

import pytest

import esnb
from esnb import CommandRejected, StreamNotFoundError
from esnb.examples import shop
from esnb.examples.shop import commands as c
from esnb.testing import Clock

DOMAIN = (shop.Order, shop.Payment, shop.Product, shop.Shipment)


class Counter:
    """A shop with two products, of which there are a few."""

    def __init__(self, path):
        self.clock = Clock("2026-04-01T09:00Z")
        self.log = esnb.create(path, zone="Europe/Berlin", clock=self.clock, maintain=False)
        self.commands = self.log.commands(*DOMAIN)
        self.sagas = self.log.saga(shop.Fulfilment, self.log.commands(*DOMAIN))
        for name, quantity in (("lamp-1", 3), ("rug-2", 1)):
            self.send(c.ListProduct(product_id=name, price="10"))
            self.send(c.DeliverStock(product_id=name, quantity=quantity))

    def send(self, command):
        return self.commands.send(command, actor="ann")

    def bought(self, number="7"):
        """A lamp and a rug are ordered and confirmed."""
        where = {"currency": "EUR", "city": "Kiel", "zip": "24103"}
        of = {"order_id": number, "quantity": 1, "price": "10"}
        self.send(c.PlaceOrder(customer=1, sku="lamp-1", **of, **where))
        self.send(c.AddItem(sku="rug-2", **of))
        self.send(c.ConfirmOrder(order_id=number))
        self.sagas.run()

    def types(self, stream):
        return [event.event_type for event in self.log.read_stream(stream)]

    def state(self, number="7"):
        return self.log.timeline(shop.Order).as_of(self.log.next_position - 1).filter(
            f"stream = 'order-{number}'"
        ).project("status, paid, refunded").fetchone()  # fmt: skip

    def stock(self):
        states = self.log.timeline(shop.Product).as_of(self.log.next_position - 1)
        return dict(states.project("stream, stock").fetchall())

    def status(self):
        return dict(self.sagas.status().project("id, status").fetchall())


@pytest.fixture
def counter(tmp_path):
    made = Counter(tmp_path / "log")
    with made.log:
        yield made


def test_all_goes_well(counter):
    counter.bought()
    assert counter.types("payment-7") == ["PaymentRequested"]
    counter.send(c.CapturePayment(payment_id="7"))
    counter.sagas.run()
    assert counter.types("order-7")[-2:] == ["PaymentReceived", "OrderShipped"]
    assert counter.stock() == {"product-lamp-1": 2, "product-rug-2": 0}
    counter.send(c.DeliverParcel(shipment_id="7"))
    counter.sagas.run()
    assert counter.state() == ("delivered", 20, 0)
    assert counter.status() == {"7": "done"}
    # Nothing more follows, however often it runs.
    before = counter.log.next_position
    counter.sagas.run()
    assert counter.log.next_position == before


def test_what_belongs_to_an_order_is_one_conversation(counter):
    counter.bought()
    counter.send(c.CapturePayment(payment_id="7"))
    counter.sagas.run()
    asked = next(counter.log.read_stream("payment-7"))
    (confirmed,) = [
        e for e in counter.log.read_stream("order-7") if e.event_type == "OrderConfirmed"
    ]
    assert asked.correlation_id == confirmed.correlation_id
    assert asked.metadata["caused_by"] == confirmed.event_id
    assert asked.actor == "fulfilment"


def test_no_money_in_three_days(counter):
    counter.bought()
    counter.clock.advance(days=2)
    counter.sagas.run()
    assert counter.state()[0] == "confirmed"
    counter.clock.advance(days=1, seconds=1)
    counter.sagas.run()
    assert counter.state() == ("cancelled", 0, 0)
    assert counter.status() == {"7": "done"}
    assert counter.types("payment-7") == ["PaymentRequested", "PaymentAbandoned"]
    assert counter.stock() == {"product-lamp-1": 3, "product-rug-2": 1}


def test_the_bank_was_faster_by_a_moment(counter):
    counter.bought()
    counter.clock.advance(days=3, seconds=1)
    # Recorded after the deadline, and before a saga looked.
    counter.send(c.CapturePayment(payment_id="7"))
    counter.sagas.run()
    assert counter.state() == ("cancelled", 0, 0)
    assert counter.types("payment-7") == ["PaymentRequested", "PaymentCaptured", "PaymentRefunded"]
    assert counter.status() == {"7": "done"}


def test_the_bank_declines_three_times(counter):
    counter.bought()
    for _ in range(3):
        counter.send(c.DeclinePayment(payment_id="7", why="limit reached"))
        counter.sagas.run()
    assert counter.types("order-7")[-4:] == ["PaymentFailed"] * 3 + ["OrderCancelled"]
    assert counter.status() == {"7": "done"}


def test_sold_out(counter):
    counter.bought("7")
    counter.bought("8")
    for number in ("7", "8"):
        counter.send(c.CapturePayment(payment_id=number))
        counter.sagas.run()
    assert counter.state("7")[0] == "shipped"
    # The second rug is asked for three times; then everything goes back.
    assert counter.state("8")[0] == "paid"
    for _ in range(2):
        counter.clock.advance(days=1, seconds=1)
        counter.sagas.run()
    assert counter.state("8") == ("refunded", 20, 20)
    assert counter.types("payment-8")[-1] == "PaymentRefunded"
    assert counter.stock() == {"product-lamp-1": 2, "product-rug-2": 0}
    assert counter.status()["8"] == "done"
    assert list(counter.log.read_stream("shipment-8")) == []


def test_goods_that_come_in_time(counter):
    counter.bought("7")
    counter.bought("8")
    for number in ("7", "8"):
        counter.send(c.CapturePayment(payment_id=number))
    counter.sagas.run()
    counter.send(c.DeliverStock(product_id="rug-2", quantity=1))
    counter.clock.advance(hours=13)
    counter.sagas.run()
    assert {counter.state(number)[0] for number in ("7", "8")} == {"shipped"}


def test_a_customer_who_thinks_better_of_it(counter):
    where = {"currency": "EUR", "city": "Kiel", "zip": "24103"}
    counter.send(
        c.PlaceOrder(order_id="9", customer=1, sku="lamp-1", quantity=1, price="10", **where)
    )
    counter.send(c.CancelOrder(order_id="9", reason="changed mind"))
    counter.sagas.run()
    assert counter.status() == {"9": "done"}
    assert list(counter.log.read_stream("payment-9")) == []


def test_a_busy_week_leaves_the_books_in_order(counter):
    """Sixty orders, a bank that declines, goods that run out: whatever happens, it adds up."""
    chosen = random.Random(3)
    counter.send(c.DeliverStock(product_id="lamp-1", quantity=27))
    where = {"currency": "EUR", "city": "Kiel", "zip": "24103"}
    orders = [str(number) for number in range(100, 160)]
    for number in orders:
        sku = chosen.choice(["lamp-1", "lamp-1", "rug-2"])
        of = {"order_id": number, "quantity": chosen.choice([1, 2]), "price": "10"}
        counter.send(c.PlaceOrder(customer=1, sku=sku, **of, **where))
        counter.send(c.ConfirmOrder(order_id=number))
    counter.sagas.run()
    for _ in range(8):
        for number in orders:
            answer = chosen.choice(["captured", "declined", "nothing", "delivered"])
            with contextlib.suppress(CommandRejected, StreamNotFoundError):
                if answer == "captured":
                    counter.send(c.CapturePayment(payment_id=number))
                elif answer == "declined":
                    counter.send(c.DeclinePayment(payment_id=number, why="timed out"))
                elif answer == "delivered":
                    counter.send(c.DeliverParcel(shipment_id=number))
        counter.sagas.run()
        counter.clock.advance(hours=14)
        counter.sagas.run()
    ends = counter.sagas.status().project("id, status").fetchall()
    assert {status for _, status in ends} <= {"done", "running"}
    log = counter.log
    newest = log.next_position - 1
    states = {
        stream: rest
        for stream, *rest in log.timeline(shop.Order)
        .as_of(newest)
        .project("stream, status, paid, refunded")
        .fetchall()
    }
    payments = {
        of: (captured, refunded)
        for of, captured, refunded in log.timeline(shop.Payment)
        .as_of(newest)
        .project('"order", captured, refunded')
        .fetchall()
    }
    reached = {status for status, _, _ in states.values()}
    assert {"delivered", "refunded", "cancelled"} <= reached
    kept = {of: captured - refunded for of, (captured, refunded) in payments.items()}
    assert {of: states[of][1] - states[of][2] for of in kept} == kept
    for status, paid, refunded in states.values():
        assert (paid > refunded) == (status in ("paid", "shipped", "delivered"))
    held = dict(
        log.sql("""
            select data->>'$.order', sum(case event_type when 'StockReserved' then 1 else -1 end
                                         * (data->>'$.quantity')::int)
            from events where event_type in ('StockReserved', 'StockReleased') group by 1
        """).fetchall()
    )
    sent = {of for of, (status, _, _) in states.items() if status in ("shipped", "delivered")}
    assert {of for of, quantity in held.items() if quantity} == sent
    assert min(counter.stock().values()) >= 0
