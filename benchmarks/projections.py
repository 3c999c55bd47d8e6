"""Projections: catching up a read model in each sink, beside eventsourcing in the same run.

Figures are events a second of one runner that begins at the first event: the log is read, and
rows and checkpoint are durable at the end.  The peer reads its events from memory, since its
subscriptions are over PostgreSQL or memory only, and PostgreSQL would want a pool of connections
that is installed for nothing else here.  Its view is once kept in SQLite, durable as ours are, and
once in memory, which is a dict and no read model that others could ask: its figure is the limit of
what a handler a event costs in Python.
"""

from __future__ import annotations

import statistics
import sys
import time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import psycopg.sql
from measure import Bench, orders

import esnb
from esnb.write import DuckDBSink, PostgreSQLSink, Projection, RedisSink, Table, on
from esnb.write.projections.readmodels import Sink

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.projection.services import PostgreSQLServer, RedisServer

TYPES = (
    "OrderPlaced", "ItemAdded", "ItemRemoved", "AddressChanged", "OrderConfirmed",
    "PaymentReceived", "OrderShipped",
)  # fmt: skip
SELECT = """
    select stream as key, arg_max(event_type, position) as last,
           sum((data->>'$.qty')::int) as items,
           sum((data->>'$.price')::decimal(9, 2)) as value
    from events group by 1
"""
EVENTS = 1_000_000
FEWER = 200_000
PEERS, FEW = 30_000, 3_000


class SetBased(Projection, category="order"):
    """One SELECT over each batch."""

    orders = Table(last=str, items=int, value=Decimal, select=SELECT, add=["items", "value"])


class Handled(Projection, category="order"):
    """The same in Python, event by event, as one writes it."""

    orders = Table(last=str, items=int, value=Decimal)

    @on(*TYPES)
    def happened(self, e: esnb.RecordedEvent) -> None:
        self.orders.put(e.stream, last=e.event_type)
        self.orders.add(e.stream, items=e.data["qty"], value=Decimal(str(e.data["price"])))


def catch_up(log: esnb.EventLog, projection: type[Projection], sink: Sink) -> float:
    """Return events a second of one catch-up into an empty place, or of a rebuild."""
    with log.project(projection, into=sink) as runner:
        again = runner.lag().position >= 0
        began = time.perf_counter()
        report = runner.rebuild() if again else runner.run()
        return report.events / (time.perf_counter() - began)


@cache
def peer_classes() -> tuple[Any, ...]:
    """Return aggregate, application, view and projection of the peer; they may be defined once."""
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate, event
    from eventsourcing.persistence import Tracking
    from eventsourcing.popo import POPOTrackingRecorder
    from eventsourcing.projection import Projection as PeerProjection
    from eventsourcing.sqlite import SQLiteTrackingRecorder

    class PeerOrder(Aggregate):
        @event("Placed")
        def __init__(self) -> None:
            self.total = 0

        @event("Added")
        def add(self, sku: str, qty: int, price: float) -> None:
            self.total += qty

    class Shop(Application):  # type: ignore[type-arg]
        pass

    class View(POPOTrackingRecorder):
        def __init__(self) -> None:
            super().__init__()
            self.rows: dict[Any, list[Any]] = {}

        def note(self, key: Any, last: str, qty: int, price: float, tracking: Tracking) -> None:
            with self._database_lock:
                self._assert_tracking_uniqueness(tracking)
                self._insert_tracking(tracking)
                row = self.rows.setdefault(key, ["", 0, Decimal(0)])
                row[0] = last
                row[1] += qty
                row[2] += Decimal(str(price))

        def total(self) -> int:
            return sum(row[1] for row in self.rows.values())

    class DurableView(SQLiteTrackingRecorder):
        def construct_create_table_statements(self) -> list[str]:
            rows = "create table rows(key text primary key, last text, items int, value text)"
            return [*super().construct_create_table_statements(), rows]

        def note(self, key: Any, last: str, qty: int, price: float, tracking: Tracking) -> None:
            with self.datastore.transaction(commit=True) as cursor:
                self._insert_tracking(cursor, tracking)
                cursor.execute("select items, value from rows where key = ?", [str(key)])
                items, value = cursor.fetchone() or (0, "0")
                # SQLite has no decimals.
                value = str(Decimal(value) + Decimal(str(price)))
                cursor.execute(
                    "insert or replace into rows values (?, ?, ?, ?)",
                    [str(key), last, items + qty, value],
                )

        def total(self) -> int:
            with self.datastore.transaction(commit=False) as cursor:
                cursor.execute("select sum(items) from rows")
                return int(cursor.fetchone()[0])

    class Board(PeerProjection[Any]):
        name = "board"

        def process_event(self, domain_event: Any, tracking: Tracking) -> None:
            qty = getattr(domain_event, "qty", 0)
            price = getattr(domain_event, "price", 0.0)
            name = type(domain_event).__name__
            self.view.note(domain_event.originator_id, name, qty, price, tracking)

    return PeerOrder, Shop, View, DurableView, Board


def peer(count: int, database: Path | None = None) -> float:
    """Return events a second of a projection of eventsourcing, into memory or an SQLite file."""
    from eventsourcing.projection import ApplicationSubscription
    from eventsourcing.sqlite import SQLiteDatastore

    peer_order, shop_class, view_class, durable_class, board_class = peer_classes()
    # Its own runner would begin with the first event: here all are saved before the clock starts.
    shop = shop_class()
    if database is None:
        view = view_class()
    else:
        view = durable_class(SQLiteDatastore(str(database)))
        view.create_table()
    board = board_class(view)
    for _ in range(count // 11):
        order = peer_order()
        for _ in range(10):
            order.add("SKU7", 3, 12.5)
        shop.save(order)
    began = time.perf_counter()
    done = 0
    with ApplicationSubscription(shop, gt=None) as subscription:
        for happened, tracking in subscription:
            board.process_event(happened, tracking)
            done += 1
            if done == count // 11 * 11:
                break
    rate = done / (time.perf_counter() - began)
    assert view.total() == count // 11 * 30
    return rate


def following(log: esnb.EventLog, seconds: float) -> float:
    """Return the share of one core that waiting for events takes."""
    end = time.monotonic() + seconds
    began = time.process_time()
    waiting = log.subscribe(log.next_position - 1, follow=True, stop=lambda: time.monotonic() > end)
    assert next(waiting, None) is None
    return (time.process_time() - began) / seconds


def main() -> None:
    bench = Bench("projections")
    folder = bench.folder
    many = esnb.create(folder / "many", zone="UTC")
    many.append_frame(orders(EVENTS))
    fewer = esnb.create(folder / "fewer", zone="UTC")
    fewer.append_frame(orders(FEWER))
    memory = statistics.median(peer(PEERS) for _ in range(3))
    durable = statistics.median(peer(FEW, folder / f"peer-{n}.sqlite") for n in range(3))

    def row(what: str, rate: float, promise: int) -> None:
        bench.row(what, rate, "events/s", "limit", promise, rate / promise, "≥ 1", rate >= promise)
        bench.row(
            what, rate, "events/s", "eventsourcing, view in SQLite", durable, rate / durable,
            "≥ 1", rate >= durable,
        )  # fmt: skip
        bench.row(
            what, rate, "events/s", "eventsourcing, view in memory", memory, rate / memory,
            "none", True,
        )  # fmt: skip

    rates = [catch_up(many, SetBased, DuckDBSink(folder / f"{n}.duckdb")) for n in range(3)]
    row("projection to DuckDB, set-based, 1 M events", statistics.median(rates), 200_000)
    rates = [catch_up(fewer, Handled, DuckDBSink(folder / f"h{n}.duckdb")) for n in range(3)]
    row("projection to DuckDB, Python handlers", statistics.median(rates), 20_000)
    server = PostgreSQLServer()
    try:
        for projection, how in ((SetBased, "set-based"), (Handled, "Python handlers")):
            schema = projection.__name__
            with psycopg.connect(server.url, autocommit=True) as connection:
                name = psycopg.sql.Identifier(schema)
                connection.execute(psycopg.sql.SQL("create schema {}").format(name))
            sink = PostgreSQLSink(server.url, schema=schema)
            rates = [catch_up(fewer, projection, sink) for _ in range(3)]
            row(f"projection to PostgreSQL, {how}", statistics.median(rates), 20_000)
    finally:
        server.end()
    place = folder / "redis"
    place.mkdir()
    redis = RedisServer(place)
    try:
        for projection, how in ((SetBased, "set-based"), (Handled, "Python handlers")):
            rates = [catch_up(fewer, projection, RedisSink(redis.url)) for _ in range(3)]
            row(f"projection to Redis, {how}", statistics.median(rates), 20_000)
    finally:
        redis.stop()
    share = following(fewer, 5)
    bench.row(
        "waiting for events", share * 100, "% of a core", "limit", 1, share * 100, "≤ 1",
        share <= 0.01,
    )  # fmt: skip
    many.close()
    fewer.close()
    bench.done()


if __name__ == "__main__":
    main()
