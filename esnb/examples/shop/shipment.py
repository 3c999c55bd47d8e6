"""Parcels: one for each order that leaves the house."""

from __future__ import annotations

from esnb.aggregate import Aggregate
from esnb.errors import CommandRejected
from esnb.examples.shop.commands import DeliverParcel, ReturnParcel, SendParcel
from esnb.examples.shop.events import ParcelDelivered, ParcelReturned, ParcelSent
from esnb.write import handles

__all__ = ["Shipment"]


class Shipment(Aggregate):
    """The parcel of an order."""

    status: str = "new"
    order: str = ""
    carrier: str | None = None
    tracking: str | None = None
    city: str | None = None

    def when_sent(self, e: ParcelSent) -> None:
        self.status = "on its way"
        self.order = e.order
        self.carrier = e.carrier
        self.tracking = e.tracking
        self.city = e.city

    def when_delivered(self, e: ParcelDelivered) -> None:
        self.status = "delivered"

    def when_returned(self, e: ParcelReturned) -> None:
        self.status = "returned"

    @handles(SendParcel, creates=True)
    def send(self, command: SendParcel) -> ParcelSent:
        return ParcelSent(
            order=command.order,
            carrier=command.carrier,
            tracking=command.tracking,
            city=command.city,
        )

    @handles(DeliverParcel)
    def deliver(self, command: DeliverParcel) -> ParcelDelivered:
        if self.status != "on its way":
            raise CommandRejected("a parcel is delivered once", status=self.status)
        return ParcelDelivered(order=self.order)

    @handles(ReturnParcel)
    def give_back(self, command: ReturnParcel) -> ParcelReturned:
        if self.status != "delivered":
            raise CommandRejected("only a delivered parcel comes back", status=self.status)
        return ParcelReturned(order=self.order)
