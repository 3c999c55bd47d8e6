"""Events for the fold benchmark: short orders of a shop, long accounts, and their classes.

Orders live for a few days within 500 and have about 10.8 events of 11 types.  One event in a
hundred is told late, every order has two events at one instant, some values are null, and the
first hundred days are in an older version of two payloads.  Money is text in the payloads.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import duckdb

from esnb import Aggregate, Event

EVENTS_PER_ORDER = 10.8
DAYS = 500
# Kinds of events by number, and the ways that orders go with their share of a hundred.
TYPES = (
    "OrderPlaced", "AddressChanged", "ItemAdded", "ItemRemoved", "TagAdded", "TagRemoved",
    "OrderConfirmed", "PaymentReceived", "OrderShipped", "OrderDelivered", "OrderCancelled",
)  # fmt: skip
WAYS = (
    (40, (0, 1, 2, 2, 2, 4, 6, 7, 8, 9)),
    (20, (0, 1, 2, 2, 2, 2, 2, 2, 3, 4, 6, 7, 8, 9)),
    (15, (0, 2, 2, 2, 2, 1, 1, 4, 5, 6, 7, 7, 8, 9)),
    (10, (0, 1, 2, 2, 6, 7, 10)),
    (8, (0, 2, 2, 3, 4, 6, 8, 7, 9)),
    # Added to, and cancelled, after it was shipped: what a rule has to turn away.
    (5, (0, 1, 2, 2, 6, 8, 2, 10, 9)),
    (2, (0, 2, 2)),
)


class OrderPlaced(Event):
    version = 2
    customer: str
    currency: str

    def from1(d):  # noqa: N805
        return {"customer": d.client, "currency": d.currency}


class AddressChanged(Event):
    city: str
    zip: str | None


class ItemAdded(Event):
    sku: str
    qty: int
    price: Decimal


class ItemRemoved(Event):
    sku: str
    qty: int
    price: Decimal


class TagAdded(Event):
    tag: str


class TagRemoved(Event):
    tag: str


class OrderConfirmed(Event):
    pass


class PaymentReceived(Event):
    version = 2
    amount: Decimal

    def from1(d):  # noqa: N805
        return {"amount": Decimal(d.amount_cents) / 100}


class OrderShipped(Event):
    carrier: str


class OrderDelivered(Event):
    pass


class OrderCancelled(Event):
    reason: str


class Order(Aggregate, ignores=[TagRemoved]):
    """Twelve fields, none of which looks at the state."""

    status: str
    customer: str
    currency: str
    placed_on: datetime
    total: Decimal = Decimal(0)
    items: int = 0
    paid: Decimal = Decimal(0)
    city: str
    zip: str | None
    carrier: str
    tag: str
    reason: str

    def when_placed(self, e: OrderPlaced):
        self.status = "pending"
        self.customer = e.customer
        self.currency = e.currency
        self.placed_on = e.occurred_on

    def when_added(self, e: ItemAdded):
        self.total += e.qty * e.price
        self.items += e.qty

    def when_removed(self, e: ItemRemoved):
        self.total -= e.qty * e.price
        self.items -= e.qty

    def when_moved(self, e: AddressChanged):
        self.city = e.city
        self.zip = e.zip

    def when_tagged(self, e: TagAdded):
        self.tag = e.tag

    def when_confirmed(self, e: OrderConfirmed):
        self.status = "confirmed"

    def when_paid(self, e: PaymentReceived):
        self.paid += e.amount

    def when_shipped(self, e: OrderShipped):
        self.status = "shipped"
        self.carrier = e.carrier

    def when_delivered(self, e: OrderDelivered):
        self.status = "delivered"

    def when_cancelled(self, e: OrderCancelled):
        self.status = "cancelled"
        self.reason = e.reason


class Unguarded(Aggregate, category="order", ignores=[AddressChanged, TagAdded, TagRemoved]):
    """The fields of `Guarded`, without its rules."""

    status: str
    total: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    carrier: str
    changes: int = 0

    def when_placed(self, e: OrderPlaced):
        self.status = "pending"

    def when_added(self, e: ItemAdded):
        self.total += e.qty * e.price
        self.changes += 1

    def when_removed(self, e: ItemRemoved):
        self.total -= e.qty * e.price
        self.changes += 1

    def when_confirmed(self, e: OrderConfirmed):
        self.status = "confirmed"

    def when_paid(self, e: PaymentReceived):
        self.paid += e.amount

    def when_shipped(self, e: OrderShipped):
        self.status = "shipped"
        self.carrier = e.carrier

    def when_delivered(self, e: OrderDelivered):
        self.status = "delivered"

    def when_cancelled(self, e: OrderCancelled):
        self.status = "cancelled"


class Guarded(Aggregate, category="order", ignores=[AddressChanged, TagAdded, TagRemoved]):
    """Rules that read the state: what comes at the wrong time is counted and changes nothing."""

    status: str
    total: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    carrier: str
    refused: int = 0

    def when_placed(self, e: OrderPlaced):
        self.status = "pending"

    def when_added(self, e: ItemAdded):
        if self.status == "pending":
            self.total += e.qty * e.price
        else:
            self.refused += 1

    def when_removed(self, e: ItemRemoved):
        if self.status == "pending":
            self.total -= e.qty * e.price
        else:
            self.refused += 1

    def when_confirmed(self, e: OrderConfirmed):
        if self.status == "pending":
            self.status = "confirmed"
        else:
            self.refused += 1

    def when_paid(self, e: PaymentReceived):
        self.paid += e.amount

    def when_shipped(self, e: OrderShipped):
        if self.status == "confirmed":
            self.status = "shipped"
            self.carrier = e.carrier
        else:
            self.refused += 1

    def when_delivered(self, e: OrderDelivered):
        if self.status == "shipped":
            self.status = "delivered"
        else:
            self.refused += 1

    def when_cancelled(self, e: OrderCancelled):
        if self.status == "pending" or self.status == "confirmed":
            self.status = "cancelled"
        else:
            self.refused += 1


class Deposited(Event):
    amount: Decimal


class Withdrawn(Event):
    amount: Decimal


class Renamed(Event):
    owner: str | None


class Account(Aggregate):
    balance: Decimal = Decimal(0)
    owner: str | None
    deposits: int = 0
    largest: Decimal = Decimal(0)

    def when_deposited(self, e: Deposited):
        self.balance += e.amount
        self.deposits += 1
        self.largest = max(self.largest, e.amount)

    def when_withdrawn(self, e: Withdrawn):
        self.balance -= e.amount

    def when_renamed(self, e: Renamed):
        self.owner = e.owner


def write_orders(path: Path, orders: int, folder: Path) -> None:
    """Write the events of so many orders to a Parquet file, as ``append_frame`` takes them."""
    ways, share = [], 0
    for percent, kinds in WAYS:
        share += percent
        ways.append(f"WHEN i * 7919 % 100 < {share} THEN {list(kinds)}")
    names = ", ".join(f"'{name}'" for name in TYPES)
    gap = DAYS * 86_400_000_000 // orders
    _write(
        f"""
        WITH orders AS (
            SELECT i, CASE {" ".join(ways)} END AS way,
                {gap} * i AS start, 600_000_000 + i * 104_729 % 43_200 * 1_000_000 AS step
            FROM range({orders}) AS t(i)
        ), events AS (
            SELECT i, unnest(way) AS kind, unnest(range(len(way))) AS j, start, step FROM orders
        ), told AS (
            SELECT *, i * 31 + j AS n, start + step * greatest(j - 1, 0) AS tick FROM events
        )
        SELECT printf('order-%08x', i * 2654435761 % 4294967296) AS stream,
            [{names}][kind + 1] AS event_type,
            CASE kind
                WHEN 0 THEN '{{"' || if(tick < 8_640_000_000_000, 'client', 'customer') || '":"c'
                    || (n % 50_000) || '","currency":"' || ['EUR', 'USD', 'GBP'][1 + n % 3] || '"}}'
                WHEN 1 THEN '{{"city":"' || ['Köln', 'Wien', 'Bern', 'Graz'][1 + n % 4]
                    || '","zip":' || if(n % 5 = 0, 'null', '"' || (10_000 + n % 80_000) || '"')
                    || '}}'
                WHEN 4 THEN '{{"tag":"t' || (n % 40) || '"}}'
                WHEN 5 THEN '{{"tag":"t' || (n % 40) || '"}}'
                WHEN 7 THEN if(tick < 8_640_000_000_000,
                    '{{"amount_cents":' || (n % 90_000) || '}}',
                    '{{"amount":"' || (n % 90_000 / 100)::DECIMAL(9, 2) || '"}}')
                WHEN 8 THEN '{{"carrier":"' || ['DHL', 'UPS', 'GLS'][1 + n % 3] || '"}}'
                WHEN 10 THEN '{{"reason":"' || ['late', 'mind', 'fraud'][1 + n % 3] || '"}}'
                WHEN 6 THEN '{{}}' WHEN 9 THEN '{{}}'
                ELSE '{{"sku":"SKU' || (n % 500) || '","qty":' || (1 + n % 4) || ',"price":"'
                    || (100 + n % 9_900 / 100)::DECIMAL(9, 2) || '"}}'
            END AS data,
            if(kind IN (0, 7) AND tick >= 8_640_000_000_000, 2, 1)::INTEGER AS schema_version,
            TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_microseconds(tick
                - if(n % 100 = 7, 3_600_000_000 * (1 + n % 70), 0)) AS occurred_on,
            TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_microseconds(tick) AS recorded_on
        FROM told ORDER BY tick, i, j
        """,
        path,
        folder,
    )


def write_accounts(path: Path, accounts: int, events: int, folder: Path) -> None:
    """Write accounts of so many events each, all of them alive the whole time."""
    _write(
        f"""
        SELECT printf('account-%05d', n % {accounts}) AS stream,
            CASE WHEN h % 50 = 0 THEN 'Renamed' WHEN h % 3 = 0 THEN 'Withdrawn'
                ELSE 'Deposited' END AS event_type,
            CASE WHEN h % 50 = 0 THEN if(h % 7 = 0, '{{"owner":null}}',
                    '{{"owner":"owner ' || (h % 1000) || '"}}')
                ELSE '{{"amount":"' || (h % 100_000 / 100)::DECIMAL(9, 2) || '"}}' END AS data,
            TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_microseconds(n * {gap_of(accounts * events)})
                AS occurred_on
        FROM (SELECT n, n * 2654435761 % 4294967296 AS h FROM range({accounts * events}) AS t(n))
        ORDER BY n
        """,
        path,
        folder,
    )


def gap_of(events: int) -> int:
    """Return the microseconds between `events` that are spread over all days."""
    return DAYS * 86_400_000_000 // events


def _write(sql: str, path: Path, folder: Path) -> None:
    with duckdb.connect(
        config={"temp_directory": str(folder / "spill"), "memory_limit": "2GB"}
    ) as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(f"COPY ({sql}) TO '{path}' (COMPRESSION zstd)")
