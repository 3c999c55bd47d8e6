"""Set-based projections, and those of states."""

from __future__ import annotations

from decimal import Decimal

from esnb import Aggregate
from esnb.write import Projection, Table

from .model import Gone, Paid, Placed, Poison, Rated, Renamed

_CUSTOMERS = """
    select data->>'$.customer' as key, count(*) as orders,
           sum((data->>'$.total')::decimal(38, 12)) as total,
           max(occurred_on) as seen, arg_max(stream, position) as "la""st"
    from events
    where event_type = 'Placed' and (data->>'$.customer') <> ''
    group by all
"""
_OPEN = """
    select stream as key,
           arg_max(data->>'$.customer', position) filter (event_type = 'Placed') as customer,
           arg_max(event_type, position) = 'Gone' as gone
    from events
    where event_type in ('Placed', 'Gone')
    group by all
"""


class Customers(Projection, category="order", event_types=["Placed", "Gone"]):
    customers = Table(
        {"la\"st": str}, orders=int, total=Decimal, seen=str, select=_CUSTOMERS,
        add=["orders", "total"],
    )  # fmt: skip
    opened = Table(customer=str, select=_OPEN, deleted="gone", name="open orders")


class Order(Aggregate, ends=[Gone], ignores=[Poison]):
    customer: str | None = None
    total: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    payments: int = 0
    rating: float | None = None

    def when_placed(self, e: Placed) -> None:
        self.customer, self.total = e.customer, e.total

    def when_paid(self, e: Paid) -> None:
        self.paid += e.amount
        self.payments += 1

    def when_rated(self, e: Rated) -> None:
        self.rating = e.rating

    def when_renamed(self, e: Renamed) -> None:
        self.customer = e.customer
