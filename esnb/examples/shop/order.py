"""Orders: what they are, and which rules they follow."""

from __future__ import annotations

from decimal import Decimal

from esnb.aggregate import Aggregate
from esnb.errors import CommandRejected
from esnb.examples.shop.commands import (
    AddItem,
    CancelOrder,
    ChangeAddress,
    ConfirmOrder,
    CorrectTotal,
    DeliverOrder,
    IssueRefund,
    NoteFailure,
    NotePayment,
    PlaceOrder,
    RemoveItem,
    ShipOrder,
)
from esnb.examples.shop.events import (
    AddressChanged,
    ItemAdded,
    ItemRemoved,
    Items,
    OrderCancelled,
    OrderConfirmed,
    OrderCorrected,
    OrderDelivered,
    OrderPlaced,
    OrderPlacedOnTheWeb,
    OrderShipped,
    PaymentFailed,
    PaymentReceived,
    RefundIssued,
)
from esnb.write import handles

__all__ = ["AuditedOrder", "Order", "WebOrder"]


class Order(Aggregate):
    """An order, from the basket to the door."""

    status: str = "new"
    customer: int | None = None
    channel: str | None = None
    city: str | None = None
    currency: str | None = None
    items: Items
    total: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    failures: int = 0
    carrier: str | None = None
    confirmed_by: str | None = None

    def when_placed(self, e: OrderPlaced) -> None:
        self.status = "placed"
        self.customer = e.customer
        self.channel = e.channel
        self.city = e.city
        self.currency = e.currency
        self.items = e.items
        self.total = e.total

    def when_basket_changed(self, e: ItemAdded | ItemRemoved) -> None:
        self.items = e.items
        self.total = e.total

    def when_address_changed(self, e: AddressChanged) -> None:
        self.city = e.city

    def when_confirmed(self, e: OrderConfirmed) -> None:
        self.status = "confirmed"
        self.confirmed_by = e.actor  # type: ignore[attr-defined]  # of the envelope

    def when_payment_failed(self, e: PaymentFailed) -> None:
        self.status = "payment failed"
        self.failures += 1

    def when_paid(self, e: PaymentReceived) -> None:
        self.status = "paid"
        self.paid += e.paid

    def when_corrected(self, e: OrderCorrected) -> None:
        self.total = e.total

    def when_shipped(self, e: OrderShipped) -> None:
        self.status = "shipped"
        self.carrier = e.carrier

    def when_delivered(self, e: OrderDelivered) -> None:
        self.status = "delivered"

    def when_cancelled(self, e: OrderCancelled) -> None:
        self.status = "cancelled"

    def when_refunded(self, e: RefundIssued) -> None:
        self.status = "refunded"
        self.refunded += e.refunded

    @handles(PlaceOrder, creates=True)
    def place(self, command: PlaceOrder) -> OrderPlaced | OrderPlacedOnTheWeb:
        items = [_item(command)]
        return OrderPlaced(
            customer=command.customer,
            items=items,
            total=_total(items),
            currency=command.currency,
            city=command.city,
            zip=command.zip,
            channel=command.channel,
        )

    @handles(AddItem)
    def add(self, command: AddItem) -> ItemAdded:
        self._open_basket()
        items = [*self.items, _item(command)]
        return ItemAdded(items=items, total=_total(items))

    @handles(RemoveItem)
    def remove(self, command: RemoveItem) -> ItemRemoved:
        self._open_basket()
        found = [n for n, item in enumerate(self.items) if item["sku"] == command.sku]
        if not found:
            raise CommandRejected("only what is in an order is taken out", sku=command.sku)
        items = [*self.items[: found[-1]], *self.items[found[-1] + 1 :]]
        if not items:
            raise CommandRejected("an order has at least one item")
        return ItemRemoved(items=items, total=_total(items))

    @handles(ChangeAddress)
    def change_address(self, command: ChangeAddress) -> AddressChanged:
        if self.status not in ("placed", "confirmed", "payment failed", "paid"):
            raise CommandRejected(
                "the address of an order changes until it is shipped", status=self.status
            )
        return AddressChanged(city=command.city, zip=command.zip)

    @handles(ConfirmOrder)
    def confirm(self, command: ConfirmOrder) -> OrderConfirmed:
        if self.status != "placed":
            raise CommandRejected("only a placed order is confirmed", status=self.status)
        return OrderConfirmed()

    @handles(NoteFailure)
    def note_failure(self, command: NoteFailure) -> PaymentFailed:
        if self.status not in ("confirmed", "payment failed"):
            raise CommandRejected(
                "a payment fails between confirmation and payment", status=self.status
            )
        return PaymentFailed(failure=command.failure)

    @handles(NotePayment)
    def note_payment(self, command: NotePayment) -> PaymentReceived:
        if self.status not in ("confirmed", "payment failed"):
            raise CommandRejected("only a confirmed order is paid, and once", status=self.status)
        if command.paid != self.total:
            raise CommandRejected(
                "what is paid is what the order comes to", paid=command.paid, total=self.total
            )
        return PaymentReceived(paid=command.paid, method=command.method)

    @handles(CorrectTotal)
    def correct(self, command: CorrectTotal) -> OrderCorrected:
        if self.status == "placed":
            raise CommandRejected("a total is corrected once the order is confirmed")
        return OrderCorrected(total=command.total, note=command.note)

    @handles(ShipOrder)
    def ship(self, command: ShipOrder) -> OrderShipped:
        if self.status != "paid":
            raise CommandRejected("only a paid order is shipped, and once", status=self.status)
        return OrderShipped(carrier=command.carrier, tracking=command.tracking)

    @handles(DeliverOrder)
    def deliver(self, command: DeliverOrder) -> OrderDelivered:
        if self.status != "shipped":
            raise CommandRejected("only what was shipped is delivered", status=self.status)
        return OrderDelivered()

    @handles(CancelOrder)
    def cancel(self, command: CancelOrder) -> OrderCancelled:
        if self.status not in ("placed", "confirmed", "payment failed", "paid"):
            raise CommandRejected(
                "an order is cancelled until it is shipped, and once", status=self.status
            )
        return OrderCancelled(reason=command.reason)

    @handles(IssueRefund)
    def refund(self, command: IssueRefund) -> RefundIssued:
        if self.status not in ("cancelled", "delivered"):
            raise CommandRejected(
                "only a cancelled or delivered order is refunded, and once", status=self.status
            )
        if command.amount > self.paid - self.refunded:
            raise CommandRejected(
                "no more is refunded than was paid", amount=command.amount, paid=self.paid
            )
        return RefundIssued(refunded=command.amount)

    def _open_basket(self) -> None:
        if self.status != "placed":
            raise CommandRejected(
                "the basket of an order changes until it is confirmed", status=self.status
            )


class WebOrder(Order, category="order"):
    """An order of the shop as it was until the end of 2025, when there was only the web."""

    @handles(PlaceOrder, creates=True)
    def place(self, command: PlaceOrder) -> OrderPlacedOnTheWeb:
        items = [_item(command)]
        return OrderPlacedOnTheWeb(
            customer=command.customer,
            items=items,
            total=_total(items),
            currency=command.currency,
            city=command.city,
            zip=command.zip,
        )


class AuditedOrder(Order, category="order"):
    """An order under two rules that nobody had written down while the shop ran.

    Over a history its guards find the events that broke them (`Timeline.breaches`).  Of the first
    rule it also makes one that commands have to follow.
    """

    def when_corrected(self, e: OrderCorrected) -> None:
        if self.paid > 0 and e.note is None:
            self.breach("the total of a paid order changes only with a note")
        else:
            self.total = e.total

    def when_refunded(self, e: RefundIssued) -> None:
        if e.actor == self.confirmed_by:  # type: ignore[attr-defined]  # of the envelope
            self.breach("who confirmed an order does not refund it")
        else:
            self.status = "refunded"
            self.refunded += e.refunded

    @handles(CorrectTotal)
    def correct(self, command: CorrectTotal) -> OrderCorrected:
        if self.paid > 0 and command.note is None:
            raise CommandRejected("the total of a paid order changes only with a note")
        return super().correct(command)


def _item(command: PlaceOrder | AddItem) -> dict[str, str | int]:
    return {"sku": command.sku, "quantity": command.quantity, "price": str(command.price)}


def _total(items: Items) -> Decimal:
    worth = (int(item["quantity"]) * Decimal(item["price"]) for item in items)
    return sum(worth, Decimal("0.00"))
