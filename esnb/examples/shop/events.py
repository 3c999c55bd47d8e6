"""What happens in the shop.

Most payloads are patches of the state: merged in order they give what is known, also to somebody
who has no class.  So an event that leads to another status says so.
"""

from __future__ import annotations

from decimal import Decimal

from esnb.aggregate import Event
from esnb.aggregate.event import Payload

__all__ = [
    "AddressChanged",
    "CustomerMoved",
    "CustomerRegistered",
    "ItemAdded",
    "ItemRemoved",
    "Items",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderCorrected",
    "OrderDelivered",
    "OrderPlaced",
    "OrderPlacedOnTheWeb",
    "OrderShipped",
    "ParcelDelivered",
    "ParcelReturned",
    "ParcelSent",
    "PaymentAbandoned",
    "PaymentCaptured",
    "PaymentDeclined",
    "PaymentFailed",
    "PaymentReceived",
    "PaymentRefunded",
    "PaymentRequested",
    "PaymentRequestedInCents",
    "PriceChanged",
    "ProductListed",
    "ProductRetired",
    "RefundIssued",
    "StockCounted",
    "StockDelivered",
    "StockReleased",
    "StockReserved",
    "TierChanged",
]

# Each with sku, quantity and price, which is text: "49.90".
Items = list[dict[str, str | int]]

# --- orders --------------------------------------------------------------------------------------


class OrderPlaced(Event):
    """An order begins.  Until 2026 there was only the web shop, and nobody noted the channel."""

    version = 2
    status: str = "placed"
    customer: int
    items: Items
    total: Decimal
    currency: str
    city: str
    zip: str
    channel: str

    def from1(d: Payload) -> Payload:  # type: ignore[misc]  # noqa: N805 (takes a payload)
        return {**d, "channel": "web"}  # type: ignore[return-value]


class OrderPlacedOnTheWeb(Event, name="OrderPlaced"):
    """An order as the shop wrote it until the end of 2025: version 1 of `OrderPlaced`."""

    status: str = "placed"
    customer: int
    items: Items
    total: Decimal
    currency: str
    city: str
    zip: str

    @property
    def channel(self) -> str:
        """Where it was placed."""
        return "web"


class ItemAdded(Event):
    items: Items
    total: Decimal


class ItemRemoved(Event):
    items: Items
    total: Decimal


class AddressChanged(Event):
    city: str
    zip: str


class OrderConfirmed(Event):
    status: str = "confirmed"


class PaymentFailed(Event):
    status: str = "payment failed"
    failure: str


class PaymentReceived(Event):
    status: str = "paid"
    paid: Decimal
    method: str
    failure: None = None  # what failed before is settled


class OrderCorrected(Event):
    total: Decimal
    note: str | None = None


class OrderShipped(Event):
    status: str = "shipped"
    carrier: str
    tracking: str


class OrderDelivered(Event):
    status: str = "delivered"


class OrderCancelled(Event):
    status: str = "cancelled"
    reason: str


class RefundIssued(Event):
    status: str = "refunded"
    refunded: Decimal


# --- payments ------------------------------------------------------------------------------------


class PaymentRequested(Event):
    """The payment of an order begins.  Until 2026 amounts were whole cents."""

    version = 2
    status: str = "requested"
    order: str
    amount: Decimal
    currency: str
    method: str

    def from1(d: Payload) -> dict[str, object]:  # type: ignore[misc]  # noqa: N805
        return {
            "status": d.status,
            "order": d.order,
            "amount": Decimal(d.cents) / 100,
            "currency": d.currency,
            "method": d.method,
        }


class PaymentRequestedInCents(Event, name="PaymentRequested"):
    """A payment as the shop wrote it until the end of 2025: version 1 of `PaymentRequested`."""

    status: str = "requested"
    order: str
    cents: int
    currency: str
    method: str

    @property
    def amount(self) -> Decimal:
        """The amount in whole currency."""
        return Decimal(self.cents) / 100


class PaymentDeclined(Event):
    status: str = "declined"
    order: str
    why: str


class PaymentAbandoned(Event):
    status: str = "abandoned"
    order: str


class PaymentCaptured(Event):
    status: str = "captured"
    order: str
    captured: Decimal


class PaymentRefunded(Event):
    status: str = "refunded"
    order: str
    refunded: Decimal


# --- products and their stock --------------------------------------------------------------------


class ProductListed(Event):
    status: str = "on sale"
    name: str
    price: Decimal
    currency: str


class PriceChanged(Event):
    price: Decimal


class StockDelivered(Event):
    quantity: int
    stock: int


class StockCounted(Event):
    missing: int
    stock: int


class StockReserved(Event):
    order: str
    quantity: int
    stock: int


class StockReleased(Event):
    order: str
    quantity: int
    stock: int


class ProductRetired(Event):
    status: str = "retired"


# --- parcels -------------------------------------------------------------------------------------


class ParcelSent(Event):
    status: str = "on its way"
    order: str
    carrier: str
    tracking: str
    city: str


class ParcelDelivered(Event):
    status: str = "delivered"
    order: str


class ParcelReturned(Event):
    status: str = "returned"
    order: str


# --- customers -----------------------------------------------------------------------------------


class CustomerRegistered(Event):
    name: str
    city: str
    zip: str
    tier: str = "standard"


class CustomerMoved(Event):
    city: str
    zip: str


class TierChanged(Event):
    tier: str
