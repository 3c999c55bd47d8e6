"""The saga of the shop: order, payment, stock, parcel; and what it does when one of them fails."""

import pytest

import esnb
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
    assert counter.status() == {"7": "compensated"}
    assert counter.stock() == {"product-lamp-1": 3, "product-rug-2": 1}


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
