"""Each rule of the shop: given what happened, when a command comes, then this happens."""

from decimal import Decimal

import pytest

from esnb.examples.shop import (
    AuditedOrder,
    CentPayment,
    Customer,
    Order,
    Payment,
    Product,
    Shipment,
    WebOrder,
)
from esnb.examples.shop import commands as c
from esnb.examples.shop import events as e
from esnb.testing import given, rejected, state

LAMP = {"sku": "lamp-1", "quantity": 2, "price": "9.95"}
RUG = {"sku": "rug-2", "quantity": 1, "price": "40.00"}
WHERE = {"city": "Kiel", "zip": "24103"}
ORDER = {"order_id": "7"}
PLACED = e.OrderPlaced(
    customer=3, items=[LAMP], total="19.90", currency="EUR", channel="app", **WHERE
)
FULL = e.ItemAdded(items=[LAMP, RUG], total="59.90")
CONFIRMED = e.OrderConfirmed()
FAILED = e.PaymentFailed(failure="timed out")
PAID = e.PaymentReceived(paid="19.90", method="card")
SHIPPED = e.OrderShipped(carrier="Post", tracking="TR1")
DELIVERED = e.OrderDelivered()
CANCELLED = e.OrderCancelled(reason="too slow")
REFUNDED = e.RefundIssued(refunded="19.90")
NEW = []
OPEN = [PLACED]
DUE = [PLACED, CONFIRMED]
BOUGHT = [PLACED, CONFIRMED, PAID]
AWAY = [*BOUGHT, SHIPPED]
THERE = [*AWAY, DELIVERED]

BASKET = "the basket of an order changes until it is confirmed"
CANCEL = "an order is cancelled until it is shipped, and once"
PAY = "only a confirmed order is paid, and once"
REFUND = "only a cancelled or delivered order is refunded, and once"
ADDRESS = "the address of an order changes until it is shipped"


def place(**more):
    return c.PlaceOrder(
        **ORDER, customer=3, sku="lamp-1", quantity=2, price="9.95", currency="EUR", **WHERE, **more
    )


def item(sku="rug-2"):
    return c.AddItem(**ORDER, sku=sku, quantity=1, price="40.00")


def pay(amount="19.90"):
    return c.NotePayment(**ORDER, paid=amount, method="card")


def refund(amount="19.90"):
    return c.IssueRefund(**ORDER, amount=amount)


@pytest.mark.parametrize(
    ("before", "command", "after"),
    [
        (NEW, place(channel="app"), [PLACED]),
        (OPEN, item(), [FULL]),
        ([*OPEN, FULL], c.RemoveItem(**ORDER, sku="rug-2"),
         [e.ItemRemoved(items=[LAMP], total="19.90")]),
        (OPEN, c.ChangeAddress(**ORDER, city="Graz", zip="8010"),
         [e.AddressChanged(city="Graz", zip="8010")]),
        (OPEN, c.ConfirmOrder(**ORDER), [CONFIRMED]),
        (DUE, c.NoteFailure(**ORDER, failure="timed out"), [FAILED]),
        ([*DUE, FAILED], c.NoteFailure(**ORDER, failure="timed out"), [FAILED]),
        (DUE, pay(), [PAID]),
        ([*DUE, FAILED], pay(), [PAID]),
        (BOUGHT, c.ShipOrder(**ORDER, carrier="Post", tracking="TR1"), [SHIPPED]),
        (AWAY, c.DeliverOrder(**ORDER), [DELIVERED]),
        (OPEN, c.CancelOrder(**ORDER, reason="too slow"), [CANCELLED]),
        (BOUGHT, c.CancelOrder(**ORDER, reason="too slow"), [CANCELLED]),
        (THERE, refund(), [REFUNDED]),
        ([*BOUGHT, CANCELLED], refund("9.90"), [e.RefundIssued(refunded="9.90")]),
        (BOUGHT, c.CorrectTotal(**ORDER, total="9.90"), [e.OrderCorrected(total="9.90")]),
    ],
)  # fmt: skip
def test_an_order_goes_on(before, command, after):
    given(Order, *before).when(command).then(*after)


@pytest.mark.parametrize(
    ("before", "command", "rule"),
    [
        (OPEN, place(), "the order is there already"),
        (DUE, item(), BASKET),
        (DUE, c.RemoveItem(**ORDER, sku="lamp-1"), BASKET),
        (OPEN, c.RemoveItem(**ORDER, sku="rug-2"), "only what is in an order is taken out"),
        (OPEN, c.RemoveItem(**ORDER, sku="lamp-1"), "an order has at least one item"),
        (AWAY, c.ChangeAddress(**ORDER, **WHERE), ADDRESS),
        (DUE, c.ConfirmOrder(**ORDER), "only a placed order is confirmed"),
        ([PLACED, CANCELLED], c.ConfirmOrder(**ORDER), "only a placed order is confirmed"),
        (OPEN, c.NoteFailure(**ORDER, failure="x"),
         "a payment fails between confirmation and payment"),
        (BOUGHT, c.NoteFailure(**ORDER, failure="x"),
         "a payment fails between confirmation and payment"),
        (OPEN, pay(), PAY),
        (BOUGHT, pay(), PAY),
        (DUE, pay("19.91"), "what is paid is what the order comes to"),
        (OPEN, c.CorrectTotal(**ORDER, total="1"),
         "a total is corrected once the order is confirmed"),
        (DUE, c.ShipOrder(**ORDER, carrier="Post", tracking="TR1"),
         "only a paid order is shipped, and once"),
        (AWAY, c.ShipOrder(**ORDER, carrier="Post", tracking="TR1"),
         "only a paid order is shipped, and once"),
        (BOUGHT, c.DeliverOrder(**ORDER), "only what was shipped is delivered"),
        (THERE, c.DeliverOrder(**ORDER), "only what was shipped is delivered"),
        (AWAY, c.CancelOrder(**ORDER, reason="late"), CANCEL),
        ([PLACED, CANCELLED], c.CancelOrder(**ORDER, reason="twice"), CANCEL),
        (BOUGHT, refund(), REFUND),
        ([*THERE, REFUNDED], refund(), REFUND),
        (THERE, refund("19.91"), "no more is refunded than was paid"),
        ([PLACED, CANCELLED], refund("0.01"), "no more is refunded than was paid"),
    ],
)  # fmt: skip
def test_an_order_refuses(before, command, rule):
    given(Order, *before).when(command).then(rejected(rule))


def test_the_shop_of_2025_wrote_version_1_and_is_read_as_version_2():
    when = given(WebOrder).when(place())
    (placed,) = when.events
    written = placed.to_domain_event()
    assert (written.event_type, written.schema_version) == ("OrderPlaced", 1)
    assert "channel" not in written.data
    when.then(state(channel="web", total=Decimal("19.90"), status="placed"))
    read = e.OrderPlaced.from_payload(written.data, version=1)
    assert read == PLACED.model_copy(update={"channel": "web"})


NOTED = "the total of a paid order changes only with a note"


def test_the_audited_order_wants_a_note():
    correct = c.CorrectTotal(**ORDER, total="9.90")
    given(Order, *BOUGHT).when(correct).then(state(total=Decimal("9.90")))
    given(AuditedOrder, *BOUGHT).when(correct).then(rejected(NOTED))
    given(AuditedOrder, *DUE).when(correct).then(state(total=Decimal("9.90")))
    noted = c.CorrectTotal(**ORDER, total="9.90", note="price list")
    given(AuditedOrder, *BOUGHT).when(noted).then(state(total=Decimal("9.90")))


def test_the_audited_order_wants_four_eyes():
    # A guard, not a refusal: what happened is kept, and breaks the rule.
    by_ann = CONFIRMED.to_domain_event(actor="ann")
    history = [PLACED, by_ann, PAID, SHIPPED, DELIVERED]
    given(AuditedOrder, *history).when(refund(), actor="ann").then(
        state(status="delivered", refunded=Decimal(0))
    )
    given(AuditedOrder, *history).when(refund(), actor="bo").then(state(status="refunded"))


REQUESTED = e.PaymentRequested(order="order-7", amount="19.90", currency="EUR", method="card")
DECLINED = e.PaymentDeclined(order="order-7", why="limit reached")
CAPTURED = e.PaymentCaptured(order="order-7", captured="19.90")
ABANDONED = e.PaymentAbandoned(order="order-7")
BACK = e.PaymentRefunded(order="order-7", refunded="19.90")
PAYMENT = {"payment_id": "7"}


def request():
    return c.RequestPayment(
        **PAYMENT, order="order-7", amount="19.90", currency="EUR", method="card"
    )


@pytest.mark.parametrize(
    ("before", "command", "then"),
    [
        ([], request(), REQUESTED),
        ([REQUESTED], c.DeclinePayment(**PAYMENT, why="limit reached"), DECLINED),
        ([REQUESTED, DECLINED], c.CapturePayment(**PAYMENT), CAPTURED),
        ([REQUESTED, CAPTURED], c.RefundPayment(**PAYMENT, amount="19.90"), BACK),
        ([REQUESTED, DECLINED], c.AbandonPayment(**PAYMENT), ABANDONED),
        ([REQUESTED, CAPTURED], c.AbandonPayment(**PAYMENT),
         rejected("only an open payment is abandoned")),
        ([REQUESTED, ABANDONED], c.CapturePayment(**PAYMENT),
         rejected("only an open payment is captured, and once")),
        ([REQUESTED], request(), rejected("the payment is there already")),
        ([REQUESTED, CAPTURED], c.DeclinePayment(**PAYMENT, why="x"),
         rejected("only an open payment is declined")),
        ([REQUESTED, CAPTURED], c.CapturePayment(**PAYMENT),
         rejected("only an open payment is captured, and once")),
        ([REQUESTED], c.RefundPayment(**PAYMENT, amount="0.01"),
         rejected("no more goes back than was captured")),
        ([REQUESTED, CAPTURED, BACK], c.RefundPayment(**PAYMENT, amount="0.01"),
         rejected("no more goes back than was captured")),
    ],
)  # fmt: skip
def test_a_payment(before, command, then):
    given(Payment, *before).when(command).then(then)


def test_cents_of_2025_are_read_as_amounts():
    when = given(CentPayment).when(request())
    written = when.events[0].to_domain_event()
    assert (written.schema_version, written.data["cents"]) == (1, 1990)
    when.then(state(amount=Decimal("19.9"), order="order-7"))
    assert e.PaymentRequested.from_payload(written.data, version=1) == REQUESTED


GOOD = {"product_id": "lamp-1"}
FOR = {"order": "order-7", **GOOD}
LISTED = e.ProductListed(name="lamp-1", price="9.95", currency="EUR")
FIVE = e.StockDelivered(quantity=5, stock=5)
TWO = e.StockReserved(order="order-7", quantity=2, stock=3)


@pytest.mark.parametrize(
    ("before", "command", "then"),
    [
        ([], c.ListProduct(**GOOD, price="9.95"), LISTED),
        ([LISTED], c.ChangePrice(**GOOD, price="8"), e.PriceChanged(price="8")),
        ([LISTED], c.DeliverStock(**GOOD, quantity=5), FIVE),
        ([LISTED, FIVE], c.ReserveStock(**FOR, quantity=2), TWO),
        ([LISTED, FIVE, TWO], c.ReserveStock(**FOR, quantity=3),
         e.StockReserved(order="order-7", quantity=3, stock=0)),
        ([LISTED, FIVE, TWO], c.ReleaseStock(**FOR, quantity=2),
         e.StockReleased(order="order-7", quantity=2, stock=5)),
        ([LISTED, FIVE, TWO], c.CountStock(**GOOD, missing=3), e.StockCounted(missing=3, stock=0)),
        ([LISTED], c.RetireProduct(**GOOD), e.ProductRetired()),
        ([LISTED, FIVE, TWO], c.ReserveStock(**FOR, quantity=4),
         rejected("only what is in stock is reserved", stock=3)),
        ([LISTED, FIVE, TWO], c.ReleaseStock(**FOR, quantity=3),
         rejected("no more is released than was reserved")),
        ([LISTED, FIVE, TWO], c.CountStock(**GOOD, missing=4),
         rejected("no more is missing than was there")),
        ([LISTED, e.ProductRetired()], c.ChangePrice(**GOOD, price="8"),
         rejected("only a product on sale changes")),
        ([LISTED, e.ProductRetired()], c.RetireProduct(**GOOD),
         rejected("only a product on sale changes")),
    ],
)  # fmt: skip
def test_a_product(before, command, then):
    given(Product, *before).when(command).then(then)


def test_a_price_that_is_the_same_changes_nothing():
    given(Product, LISTED).when(c.ChangePrice(**GOOD, price="9.95")).then()


SENT = e.ParcelSent(order="order-7", carrier="Post", tracking="TR1", city="Kiel")
ARRIVED = e.ParcelDelivered(order="order-7")
PARCEL = {"shipment_id": "7"}


@pytest.mark.parametrize(
    ("before", "command", "then"),
    [
        ([], c.SendParcel(**PARCEL, order="order-7", carrier="Post", tracking="TR1", city="Kiel"),
         SENT),
        ([SENT], c.DeliverParcel(**PARCEL), ARRIVED),
        ([SENT, ARRIVED], c.ReturnParcel(**PARCEL), e.ParcelReturned(order="order-7")),
        ([SENT], c.SendParcel(**PARCEL, order="order-7", carrier="P", tracking="T", city="Kiel"),
         rejected("the shipment is there already")),
        ([SENT, ARRIVED], c.DeliverParcel(**PARCEL), rejected("a parcel is delivered once")),
        ([SENT], c.ReturnParcel(**PARCEL), rejected("only a delivered parcel comes back")),
    ],
)  # fmt: skip
def test_a_parcel(before, command, then):
    given(Shipment, *before).when(command).then(then)


def test_a_customer():
    ann = e.CustomerRegistered(name="Ann", **WHERE)
    own = {"customer_id": 3}
    given(Customer).when(c.RegisterCustomer(name="Ann", **WHERE, **own)).then(ann)
    moved = c.MoveCustomer(city="Graz", zip="8010", **own)
    given(Customer, ann).when(moved).then(e.CustomerMoved(city="Graz", zip="8010"))
    gold = c.ChangeTier(tier="gold", **own)
    given(Customer, ann).when(gold).then(e.TierChanged(tier="gold"))
    given(Customer, ann, e.TierChanged(tier="gold")).when(gold).then(
        rejected("a tier changes to another one")
    )
