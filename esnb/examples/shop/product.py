"""Products and how many of them lie in the storehouse."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from esnb.aggregate import Aggregate
from esnb.errors import CommandRejected
from esnb.examples.shop.commands import (
    ChangePrice,
    CountStock,
    DeliverStock,
    ListProduct,
    ReleaseStock,
    ReserveStock,
    RetireProduct,
)
from esnb.examples.shop.events import (
    PriceChanged,
    ProductListed,
    ProductRetired,
    StockCounted,
    StockDelivered,
    StockReleased,
    StockReserved,
)
from esnb.write import handles

__all__ = ["AuditedProduct", "Product"]


class Product(Aggregate):
    """A product.

    Attributes
    ----------
    stock
        How many can still be promised to an order.
    reserved
        How many were promised, whether they were shipped since or not.
    """

    status: str = "new"
    price: Decimal = Decimal(0)
    currency: str | None = None
    stock: int = 0
    reserved: int = 0
    missing: int = 0

    def when_listed(self, e: ProductListed) -> None:
        self.status = "on sale"
        self.price = e.price
        self.currency = e.currency

    def when_price_changed(self, e: PriceChanged) -> None:
        self.price = e.price

    def when_delivered(self, e: StockDelivered) -> None:
        self.stock = e.stock

    def when_counted(self, e: StockCounted) -> None:
        self.stock = e.stock
        self.missing += e.missing

    def when_reserved(self, e: StockReserved) -> None:
        self.stock = e.stock
        self.reserved += e.quantity

    def when_released(self, e: StockReleased) -> None:
        self.stock = e.stock
        self.reserved -= e.quantity

    def when_retired(self, e: ProductRetired) -> None:
        self.status = "retired"

    @handles(ListProduct, creates=True)
    def list_(self, command: ListProduct) -> ProductListed:
        name = command.product_id.removeprefix("product-")
        return ProductListed(name=name, price=command.price, currency=command.currency)

    @handles(ChangePrice)
    def change_price(self, command: ChangePrice) -> PriceChanged | None:
        self._listed()
        if command.price == self.price:
            return None
        return PriceChanged(price=command.price)

    @handles(DeliverStock)
    def deliver(self, command: DeliverStock) -> StockDelivered:
        return StockDelivered(quantity=command.quantity, stock=self.stock + command.quantity)

    @handles(CountStock)
    def count(self, command: CountStock) -> StockCounted:
        if command.missing > self.stock:
            raise CommandRejected(
                "no more is missing than was there", missing=command.missing, stock=self.stock
            )
        return StockCounted(missing=command.missing, stock=self.stock - command.missing)

    @handles(ReserveStock)
    def reserve(self, command: ReserveStock) -> StockReserved:
        if command.quantity > self.stock:
            raise CommandRejected(
                "only what is in stock is reserved", quantity=command.quantity, stock=self.stock
            )
        stock = self.stock - command.quantity
        return StockReserved(order=command.order, quantity=command.quantity, stock=stock)

    @handles(ReleaseStock)
    def release(self, command: ReleaseStock) -> StockReleased:
        if command.quantity > self.reserved:
            raise CommandRejected(
                "no more is released than was reserved", quantity=command.quantity
            )
        stock = self.stock + command.quantity
        return StockReleased(order=command.order, quantity=command.quantity, stock=stock)

    @handles(RetireProduct)
    def retire(self, command: RetireProduct) -> ProductRetired:
        self._listed()
        return ProductRetired()

    def _listed(self) -> None:
        if self.status != "on sale":
            raise CommandRejected("only a product on sale changes", status=self.status)


class AuditedProduct(Product, category="product"):
    """A product under a rule that nobody had written down while the shop ran."""

    def when_counted(self, e: StockCounted) -> None:
        late = e.recorded_on - e.occurred_on  # type: ignore[attr-defined]  # of the envelope
        if late > timedelta(days=2):
            self.breach("a count is typed in within two days")
        else:
            self.stock = e.stock
            self.missing += e.missing
