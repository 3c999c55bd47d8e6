"""From the basket to the door, without anybody at the counter: order, payment, stock, parcel."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from esnb.examples.shop.commands import (
    AbandonPayment,
    CancelOrder,
    DeliverOrder,
    IssueRefund,
    NoteFailure,
    NotePayment,
    RefundPayment,
    ReleaseStock,
    RequestPayment,
    ReserveStock,
    SendParcel,
    ShipOrder,
)
from esnb.examples.shop.events import (
    AddressChanged,
    ItemAdded,
    ItemRemoved,
    Items,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    ParcelDelivered,
    PaymentCaptured,
    PaymentDeclined,
    StockReserved,
)
from esnb.write import Retry, Saga, late, refused

__all__ = ["Fulfilment"]

_DECLINES = 3


class Fulfilment(Saga, by="order", begins=OrderPlaced):
    """What follows from an order.

    It asks for the payment when the order is confirmed, and cancels the order when none comes
    within three days or the bank declines three times.  Paid goods are reserved one by one; what
    is not in stock is asked for again twice, twelve and twenty-four hours later.  If it does not
    come, what is reserved is released, the money goes back and the order is cancelled.
    """

    total: Decimal = Decimal(0)
    currency: str = ""
    city: str = ""
    wanted: dict[str, int]
    held: dict[str, int]
    declined: int = 0

    def when_placed(self, e: OrderPlaced) -> None:
        self.currency, self.city = e.currency, e.city
        self._basket(e.items, e.total)

    def when_basket_changed(self, e: ItemAdded | ItemRemoved) -> None:
        self._basket(e.items, e.total)

    def when_address_changed(self, e: AddressChanged) -> None:
        self.city = e.city

    def when_confirmed(self, e: OrderConfirmed) -> None:
        self.send(
            RequestPayment(
                payment_id=self.id,
                order=self._order,
                amount=self.total,
                currency=self.currency,
                method="card",
            )
        )
        self.wait("money", within=timedelta(days=3))

    def when_declined(self, e: PaymentDeclined) -> None:
        self.declined += 1
        self.send(NoteFailure(order_id=self.id, failure=e.why))
        if self.declined == _DECLINES:
            self.got("money")
            self.no_money()

    def when_captured(self, e: PaymentCaptured) -> None:
        self.got("money")
        self.send(NotePayment(order_id=self.id, paid=e.captured, method="card"))
        self._next_goods()

    def when_reserved(self, e: StockReserved) -> None:
        sku = e.stream.removeprefix("product-")  # type: ignore[attr-defined]  # of the envelope
        self.held = {**self.held, sku: e.quantity}
        self._next_goods()

    def when_delivered(self, e: ParcelDelivered) -> None:
        self.send(DeliverOrder(order_id=self.id))
        self.done()

    def when_cancelled(self, e: OrderCancelled) -> None:
        # By the customer, before anything was asked for.
        self.done()

    @late("money")
    def no_money(self) -> None:
        self.send(AbandonPayment(payment_id=self.id), step="abandon")
        self.send(CancelOrder(order_id=self.id, reason="not paid"))
        self.done()

    @refused("abandon")
    def paid_after_all(self, reason: str) -> None:
        # The bank was faster by a moment.
        self.send(RefundPayment(payment_id=self.id, amount=self.total))

    @refused("goods")
    def no_goods(self, reason: str) -> None:
        for sku, quantity in self.held.items():
            self.send(
                ReleaseStock(product_id=sku, order=self._order, quantity=quantity),
                step=f"release {sku}",
            )
        self.send(RefundPayment(payment_id=self.id, amount=self.total))
        self.send(CancelOrder(order_id=self.id, reason="sold out"))
        self.send(IssueRefund(order_id=self.id, amount=self.total))
        self.done()

    def _next_goods(self) -> None:
        """Reserve what is wanted and not held yet; when there is nothing left, send the parcel."""
        for sku, quantity in self.wanted.items():
            if sku not in self.held:
                self.send(
                    ReserveStock(product_id=sku, order=self._order, quantity=quantity),
                    step="goods",
                    retry=Retry(
                        times=3,
                        first=timedelta(hours=12),
                        most=timedelta(days=1),
                        refusals=True,
                    ),
                )
                return
        how: dict[str, Any] = {"carrier": "Post", "tracking": f"TR-{self.id}"}
        self.send(SendParcel(shipment_id=self.id, order=self._order, city=self.city, **how))
        self.send(ShipOrder(order_id=self.id, **how))

    def _basket(self, items: Items, total: Decimal) -> None:
        self.total, self.wanted = total, {}
        for item in items:
            sku = str(item["sku"])
            self.wanted[sku] = self.wanted.get(sku, 0) + int(item["quantity"])

    @property
    def _order(self) -> str:
        return f"order-{self.id}"
