"""A projection with something of everything, and the same in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from esnb import Event, RecordedEvent
from esnb.write import Projection, Table, on


class Placed(Event):
    customer: str
    total: Decimal = Decimal(0)
    due: date | None = None
    lines: list[dict[str, Any]] | None = None


class Paid(Event):
    amount: Decimal
    express: bool | None = None


class Rated(Event):
    rating: float


class Renamed(Event):
    customer: str | None


class Gone(Event):
    pass


class Poison(Event):
    note: str = ""


EVENTS = (Placed, Paid, Rated, Renamed, Gone, Poison)


class Board(Projection, category="order"):
    orders = Table(
        {"customer": str, "paid $.%s": Decimal},
        total=Decimal,
        payments=int,
        rating=float,
        express=bool,
        placed_on=datetime,
        due=date,
        lines=list,
    )
    customers = Table({"orders": int, 'su"m': Decimal}, name="customers by 'name' %s $ ?")

    def when_placed(self, e: Placed) -> None:
        self.orders.put(
            e.stream,
            customer=e.customer,
            total=e.total,
            placed_on=e.occurred_on,
            due=e.due,
            lines=e.lines,
        )
        if e.customer:
            self.customers.add(e.customer, {"orders": 1, 'su"m': e.total})

    @on(Paid)
    def money(self, e: Paid) -> None:
        self.orders.add(e.stream, {"paid $.%s": e.amount, "payments": 1})
        if e.express is not None:
            self.orders.put(e.stream, express=e.express)

    @on("Rated")
    def rated(self, e: RecordedEvent) -> None:
        self.orders.put(e.stream, rating=e.data["rating"])

    def when_renamed(self, e: Renamed) -> None:
        self.orders.put(e.stream, {"customer": e.customer})

    def when_gone(self, e: Gone) -> None:
        self.orders.delete(e.stream)

    def when_poison(self, e: Poison) -> None:
        self.orders.put(e.stream, customer="half done")
        raise ValueError(f"poison {e.note}")


ORDERS = tuple(Board.orders.columns)
CUSTOMERS = tuple(Board.customers.columns)
CUSTOMERS_TABLE = Board.customers.name


def reference(events: Iterable[RecordedEvent]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of both tables: one event after the other, as slow as it is plain."""
    orders: dict[str, dict[str, Any]] = {}
    customers: dict[str, dict[str, Any]] = {}

    def row(rows: dict[str, dict[str, Any]], key: str, names: tuple[str, ...]) -> dict[str, Any]:
        return rows.setdefault(key, dict.fromkeys(names))

    def plus(a: Any, b: Any) -> Any:
        return b if a is None else a + b

    for event in events:
        if event.category != "order":
            continue
        key, data = event.stream, event.data
        if event.event_type == "Placed":
            order = row(orders, key, ORDERS)
            total = Decimal(data["total"])
            order["customer"], order["total"] = data["customer"], total
            order["placed_on"] = event.occurred_on
            order["due"] = date.fromisoformat(data["due"]) if data["due"] else None
            order["lines"] = data["lines"]
            if data["customer"]:
                customer = row(customers, data["customer"], CUSTOMERS)
                customer["orders"] = plus(customer["orders"], 1)
                customer['su"m'] = plus(customer['su"m'], total)
        elif event.event_type == "Paid":
            order = row(orders, key, ORDERS)
            order["paid $.%s"] = plus(order["paid $.%s"], Decimal(data["amount"]))
            order["payments"] = plus(order["payments"], 1)
            if data["express"] is not None:
                order["express"] = data["express"]
        elif event.event_type == "Rated":
            row(orders, key, ORDERS)["rating"] = float(data["rating"])
        elif event.event_type == "Renamed":
            row(orders, key, ORDERS)["customer"] = data["customer"]
        elif event.event_type == "Gone":
            orders.pop(key, None)
    return {"orders": orders, CUSTOMERS_TABLE: customers}
