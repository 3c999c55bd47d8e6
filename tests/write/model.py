"""An aggregate for the tests of the write side, with something of everything in its state."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel

from esnb import Aggregate, Event


class Level(Enum):
    LOW = "low"
    HIGH = "high"


class Address(BaseModel):
    city: str
    zip: str | None = None


class Placed(Event):
    version = 2
    customer: str
    at: datetime | None = None

    def from1(d: Any) -> dict[str, Any]:
        return {"customer": d.client.upper()}


class Added(Event):
    sku: str
    qty: int
    price: Decimal


class Moved(Event):
    to: Address
    level: Level = Level.LOW


class Weighed(Event):
    kilos: float


class Deleted(Event):
    pass


class Order(Aggregate, ends=[Deleted]):
    customer: str
    at: datetime
    total: Decimal = Decimal(0)
    items: dict[str, int]
    prices: list[Decimal]
    seen: set[str]
    address: Address | None = None
    level: Level = Level.LOW
    kilos: float | None = None

    def when_placed(self, e: Placed) -> None:
        self.customer, self.at = e.customer, e.at

    def when_added(self, e: Added) -> None:
        self.total += e.qty * e.price
        self.items[e.sku] = self.items.get(e.sku, 0) + e.qty
        self.prices.append(e.price)
        self.seen.add(e.sku)

    def when_moved(self, e: Moved) -> None:
        self.address, self.level = e.to, e.level

    def when_weighed(self, e: Weighed) -> None:
        self.kilos = e.kilos if self.kilos is None else self.kilos + e.kilos


def fields(order: Aggregate) -> dict[str, Any]:
    """Return the state to the last detail."""

    def told(value: Any) -> str:
        if isinstance(value, datetime):
            return value.isoformat()
        return repr(sorted(value) if isinstance(value, set) else value)

    return {
        name: told(value)
        for name, value in vars(order).items()
        if name in type(order).description.fields or name in ("stream", "revision", "_ended")
    }
