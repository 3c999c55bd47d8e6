"""A trade by saga, for the tests: order, payment, stock, shipment, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from esnb import Aggregate, Command, CommandRejected, Event, Retry, Saga, handles, late, refused

SHELF = {"book": 3, "lamp": 1}


class OrderPlaced(Event):
    amount: Decimal
    sku: str
    carrier: str = "post"


class OrderAccepted(Event):
    pass


class OrderCompleted(Event):
    pass


class OrderCancelled(Event):
    pass


class AcceptOrder(Command):
    order_id: str


class CompleteOrder(Command):
    order_id: str


class CancelOrder(Command):
    order_id: str


class Order(Aggregate):
    status: str = "new"

    def when_placed(self, e: OrderPlaced) -> None:
        self.status = "placed"

    def when_accepted(self, e: OrderAccepted) -> None:
        self.status = "accepted"

    def when_completed(self, e: OrderCompleted) -> None:
        self.status = "completed"

    def when_cancelled(self, e: OrderCancelled) -> None:
        self.status = "cancelled"

    @handles(AcceptOrder)
    def accept(self, command: AcceptOrder) -> OrderAccepted:
        if self.status != "placed":
            raise CommandRejected("only an order that was placed is accepted", status=self.status)
        return OrderAccepted()

    @handles(CompleteOrder)
    def complete(self, command: CompleteOrder) -> OrderCompleted:
        if self.status != "accepted":
            raise CommandRejected("only an accepted order is completed", status=self.status)
        return OrderCompleted()

    @handles(CancelOrder)
    def cancel(self, command: CancelOrder) -> OrderCancelled:
        if self.status != "accepted":
            raise CommandRejected("only an accepted order is cancelled", status=self.status)
        return OrderCancelled()


class PaymentRequested(Event):
    order_id: str
    amount: Decimal


class PaymentReceived(Event):
    order_id: str


class PaymentDeclined(Event):
    order_id: str


class PaymentReturned(Event):
    amount: Decimal


class RequestPayment(Command):
    payment_id: str
    amount: Decimal


class ReturnPayment(Command):
    payment_id: str


class Payment(Aggregate):
    amount: Decimal = Decimal(0)
    requests: int = 0
    open: bool = False

    def when_requested(self, e: PaymentRequested) -> None:
        self.amount, self.open = e.amount, True
        self.requests += 1

    def when_received(self, e: PaymentReceived) -> None:
        pass

    def when_declined(self, e: PaymentDeclined) -> None:
        self.open = False

    def when_returned(self, e: PaymentReturned) -> None:
        self.open = False

    @handles(RequestPayment, creates=None)
    def request(self, command: RequestPayment) -> PaymentRequested:
        if self.open:
            raise CommandRejected("a payment is open already")
        return PaymentRequested(order_id=command.payment_id, amount=command.amount)

    @handles(ReturnPayment)
    def give_back(self, command: ReturnPayment) -> PaymentReturned:
        if not self.open:
            raise CommandRejected("nothing is open to give back")
        return PaymentReturned(amount=self.amount)


class Filled(Event):
    count: int


class Reserved(Event):
    order: str


class Released(Event):
    order: str


class ReserveStock(Command, stream="stock-{sku}"):
    sku: str
    order: str


class ReleaseStock(Command, stream="stock-{sku}"):
    sku: str
    order: str


class Stock(Aggregate):
    count: int = 0
    orders: set[str]

    def when_filled(self, e: Filled) -> None:
        self.count += e.count

    def when_reserved(self, e: Reserved) -> None:
        self.count -= 1
        self.orders.add(e.order)

    def when_released(self, e: Released) -> None:
        self.count += 1
        self.orders.discard(e.order)

    @handles(ReserveStock)
    def reserve(self, command: ReserveStock) -> Reserved:
        if command.order in self.orders:
            raise CommandRejected("it is reserved for this order already")
        if self.count < 1:
            raise CommandRejected("nothing is left", sku=command.sku)
        return Reserved(order=command.order)

    @handles(ReleaseStock)
    def release(self, command: ReleaseStock) -> Released:
        if command.order not in self.orders:
            raise CommandRejected("nothing is reserved for this order")
        return Released(order=command.order)


class ShipmentBooked(Event):
    order_id: str


class ShipmentLeft(Event):
    order_id: str


class ShipmentLost(Event):
    order_id: str


class ShipmentCalledOff(Event):
    pass


class BookShipment(Command):
    shipment_id: str
    carrier: str


class CallOffShipment(Command):
    shipment_id: str


class Carriers:
    """Carriers, which one reaches or not; the clock decides."""

    clock: Callable[[], datetime]
    begun: datetime

    def ask(self, carrier: str) -> None:
        since = self.clock() - self.begun
        if carrier == "down" or (carrier == "shaky" and since < timedelta(minutes=70)):
            raise ConnectionError(f"{carrier} does not answer")


carriers = Carriers()


class Shipment(Aggregate):
    status: str = "new"

    def when_booked(self, e: ShipmentBooked) -> None:
        self.status = "booked"

    def when_left(self, e: ShipmentLeft) -> None:
        self.status = "left"

    def when_lost(self, e: ShipmentLost) -> None:
        self.status = "lost"

    def when_off(self, e: ShipmentCalledOff) -> None:
        self.status = "off"

    @handles(BookShipment, creates=True)
    def book(self, command: BookShipment) -> ShipmentBooked:
        carriers.ask(command.carrier)
        return ShipmentBooked(order_id=command.shipment_id)

    @handles(CallOffShipment)
    def call_off(self, command: CallOffShipment) -> ShipmentCalledOff:
        return ShipmentCalledOff()


class Fulfilment(
    Saga,
    by="order",
    begins=OrderPlaced,
    retry=Retry(times=3, first=timedelta(minutes=1), factor=60),
):
    amount: Decimal = Decimal(0)
    sku: str
    carrier: str
    declined: int = 0
    paid: bool = False
    notes: list[str]

    def when_placed(self, e: OrderPlaced) -> None:
        self.amount, self.sku, self.carrier = e.amount, e.sku, e.carrier
        self.send(AcceptOrder(order_id=self.id), undo=CancelOrder(order_id=self.id))
        self._request()

    def _request(self) -> None:
        self.send(
            RequestPayment(payment_id=self.id, amount=self.amount),
            undo=ReturnPayment(payment_id=self.id),
            step="payment",
        )
        self.wait("payment", within=timedelta(hours=1))

    def when_paid(self, e: PaymentReceived) -> None:
        if self.paid:
            return
        self.paid = True
        self.got("payment")
        self.send(
            ReserveStock(sku=self.sku, order=self.id),
            undo=ReleaseStock(sku=self.sku, order=self.id),
            step="stock",
        )

    def when_declined(self, e: PaymentDeclined) -> None:
        if self.paid:
            return
        self.declined += 1
        self.forget("payment")
        if self.declined < 3:
            self._request()
        else:
            self.compensate("the payment was declined three times")

    def when_reserved(self, e: Reserved) -> None:
        self.send(
            BookShipment(shipment_id=self.id, carrier=self.carrier),
            undo=CallOffShipment(shipment_id=self.id),
            step="shipment",
        )
        self.wait("shipment", within=timedelta(days=3))

    def when_left(self, e: ShipmentLeft) -> None:
        self.got("shipment")
        self.send(CompleteOrder(order_id=self.id))
        self.done()

    def when_lost(self, e: ShipmentLost) -> None:
        self.compensate("the shipment was lost")

    @late("shipment")
    def shipment_late(self) -> None:
        self.notes.append("late")
        if len(self.notes) > 1:
            self.compensate("the shipment did not leave")
        else:
            self.wait("shipment", within=timedelta(days=2))

    @refused("stock")
    def no_stock(self, reason: str) -> None:
        self.notes.append(reason)
        self.compensate("no stock")


DOMAIN = (Order, Payment, Stock, Shipment)
