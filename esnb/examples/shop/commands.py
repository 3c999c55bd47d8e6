"""What people and services want of the shop."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from esnb.write import Command

__all__ = [
    "AbandonPayment",
    "AddItem",
    "CancelOrder",
    "CapturePayment",
    "ChangeAddress",
    "ChangePrice",
    "ChangeTier",
    "ConfirmOrder",
    "CorrectTotal",
    "CountStock",
    "DeclinePayment",
    "DeliverOrder",
    "DeliverParcel",
    "DeliverStock",
    "IssueRefund",
    "ListProduct",
    "MoveCustomer",
    "NoteFailure",
    "NotePayment",
    "PlaceOrder",
    "RefundPayment",
    "RegisterCustomer",
    "ReleaseStock",
    "RemoveItem",
    "RequestPayment",
    "ReserveStock",
    "RetireProduct",
    "ReturnParcel",
    "SendParcel",
    "ShipOrder",
]

Quantity = Annotated[int, Field(ge=1)]
Amount = Annotated[Decimal, Field(gt=0, decimal_places=2)]
Price = Annotated[Decimal, Field(ge=0, decimal_places=2)]

# --- orders --------------------------------------------------------------------------------------


class PlaceOrder(Command):
    order_id: str
    customer: int
    sku: str
    quantity: Quantity
    price: Price
    currency: str
    city: str
    zip: str
    channel: str = "web"


class AddItem(Command):
    order_id: str
    sku: str
    quantity: Quantity
    price: Price


class RemoveItem(Command):
    """Take the newest item of a product out of an order."""

    order_id: str
    sku: str


class ChangeAddress(Command):
    order_id: str
    city: str
    zip: str


class ConfirmOrder(Command):
    order_id: str


class NoteFailure(Command):
    order_id: str
    failure: str


class NotePayment(Command):
    order_id: str
    paid: Amount
    method: str


class CorrectTotal(Command):
    order_id: str
    total: Amount
    note: str | None = None


class ShipOrder(Command):
    order_id: str
    carrier: str
    tracking: str


class DeliverOrder(Command):
    order_id: str


class CancelOrder(Command):
    order_id: str
    reason: str


class IssueRefund(Command):
    order_id: str
    amount: Amount


# --- payments ------------------------------------------------------------------------------------


class RequestPayment(Command):
    payment_id: str
    order: str
    amount: Amount
    currency: str
    method: str


class DeclinePayment(Command):
    payment_id: str
    why: str


class AbandonPayment(Command):
    """Ask for a payment no more."""

    payment_id: str


class CapturePayment(Command):
    payment_id: str


class RefundPayment(Command):
    payment_id: str
    amount: Amount


# --- products and their stock --------------------------------------------------------------------


class ListProduct(Command):
    product_id: str
    price: Price
    currency: str = "EUR"


class ChangePrice(Command):
    product_id: str
    price: Price


class DeliverStock(Command):
    product_id: str
    quantity: Quantity


class CountStock(Command):
    """Say how many are missing from the shelf."""

    product_id: str
    missing: Annotated[int, Field(ge=0)]


class ReserveStock(Command):
    product_id: str
    order: str
    quantity: Quantity


class ReleaseStock(Command):
    product_id: str
    order: str
    quantity: Quantity


class RetireProduct(Command):
    product_id: str


# --- parcels -------------------------------------------------------------------------------------


class SendParcel(Command):
    shipment_id: str
    order: str
    carrier: str
    tracking: str
    city: str


class DeliverParcel(Command):
    shipment_id: str


class ReturnParcel(Command):
    shipment_id: str


# --- customers -----------------------------------------------------------------------------------


class RegisterCustomer(Command):
    customer_id: int
    name: str
    city: str
    zip: str


class MoveCustomer(Command):
    customer_id: int
    city: str
    zip: str


class ChangeTier(Command):
    customer_id: int
    tier: str
