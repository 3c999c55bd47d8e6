"""A small order domain with commands, for the tests of the write side."""

from __future__ import annotations

from decimal import Decimal

from esnb import Aggregate, Command, CommandRejected, Event, handles


class OrderPlaced(Event):
    customer: str
    total: Decimal


class ItemAdded(Event):
    sku: str
    quantity: int


class OrderConfirmed(Event):
    pass


class OrderCancelled(Event):
    reason: str | None = None


class OrderForgotten(Event):
    pass


class PlaceOrder(Command):
    order_id: str
    customer: str
    total: Decimal = Decimal(0)


class AddItems(Command, stream="order-{order_id}"):
    order_id: str
    items: dict[str, int]


class ConfirmOrder(Command):
    order_id: str


class CancelOrder(Command):
    order_id: str
    reason: str | None = None


class ForgetOrder(Command):
    order_id: str


PENDING = "only a pending order is confirmed"


class Order(Aggregate, ends=[OrderForgotten]):
    status: str = "new"
    customer: str | None = None
    total: Decimal = Decimal(0)
    items: dict[str, int]

    def when_placed(self, e: OrderPlaced) -> None:
        self.status, self.customer, self.total = "pending", e.customer, e.total

    def when_item(self, e: ItemAdded) -> None:
        self.items[e.sku] = self.items.get(e.sku, 0) + e.quantity

    def when_confirmed(self, e: OrderConfirmed) -> None:
        self.status = "confirmed"

    def when_cancelled(self, e: OrderCancelled) -> None:
        self.status = "cancelled"

    @handles(PlaceOrder, creates=True)
    def place(self, command: PlaceOrder) -> OrderPlaced:
        if command.total < 0:
            raise CommandRejected("a total is not below 0", total=command.total)
        return OrderPlaced(customer=command.customer, total=command.total)

    @handles(AddItems)
    def add(self, command: AddItems) -> None:
        for sku, quantity in command.items.items():
            # A rule that looks at what the events before it did.
            if self.items.get(sku, 0) + quantity > 9:
                raise CommandRejected("at most nine of a kind", sku=sku)
            self.apply(ItemAdded(sku=sku, quantity=quantity))

    @handles(ConfirmOrder)
    def confirm(self, command: ConfirmOrder) -> None:
        if self.status != "pending":
            raise CommandRejected(PENDING, status=self.status)
        self.apply(OrderConfirmed())

    @handles(ForgetOrder)
    def forget(self, command: ForgetOrder) -> OrderForgotten:
        return OrderForgotten()


@handles(CancelOrder)
def cancel(order: Order, command: CancelOrder) -> OrderCancelled | None:
    if order.status == "cancelled":
        return None
    return OrderCancelled(reason=command.reason)
