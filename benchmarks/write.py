"""Commands one by one and grouped, loading with snapshots; bare SQLite and eventsourcing beside."""

from __future__ import annotations

import os
import sqlite3
import statistics
import time
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from measure import Bench, seconds

from esnb import Aggregate, Command, CommandRejected, Event, Outcome, Repository, create, handles

DATA = '{"sku":"SKU7","qty":3,"price":12.5}'


class Placed(Event):
    customer: str


class Added(Event):
    sku: str
    qty: int
    price: Decimal


class Confirmed(Event):
    pass


class Place(Command):
    order_id: str
    customer: str


class Add(Command):
    order_id: str
    sku: str
    qty: int
    price: Decimal


class Confirm(Command):
    order_id: str


class Order(Aggregate):
    status: str = "new"
    customer: str | None = None
    total: Decimal = Decimal(0)
    items: dict[str, int]

    def when_placed(self, e: Placed) -> None:
        self.status, self.customer = "pending", e.customer

    def when_added(self, e: Added) -> None:
        self.items[e.sku] = self.items.get(e.sku, 0) + e.qty
        self.total += e.qty * e.price

    def when_confirmed(self, e: Confirmed) -> None:
        self.status = "confirmed"

    @handles(Place, creates=True)
    def place(self, command: Place) -> Placed:
        return Placed(customer=command.customer)

    @handles(Add)
    def add(self, command: Add) -> Added:
        if self.status != "pending":
            raise CommandRejected("only a pending order grows", status=self.status)
        return Added(sku=command.sku, qty=command.qty, price=command.price)

    @handles(Confirm)
    def confirm(self, command: Confirm) -> Confirmed:
        if self.status != "pending":
            raise CommandRejected("only a pending order is confirmed", status=self.status)
        return Confirmed()


def life(number: int) -> list[Command]:
    """Return the commands of one order."""
    name = str(number)
    items = [Add(order_id=name, sku=f"SKU{n}", qty=3, price="12.5") for n in range(3)]
    return [Place(order_id=name, customer="ann"), *items, Confirm(order_id=name)]


@cache
def peer_class() -> Any:
    """Return the same aggregate of the peer; it may be defined once."""
    from eventsourcing.domain import Aggregate as Theirs
    from eventsourcing.domain import event

    class PeerOrder(Theirs):
        @event("Placed")
        def __init__(self, customer: str) -> None:
            self.customer = customer
            self.status = "pending"
            self.total = Decimal(0)
            self.items: dict[str, int] = {}

        @event("Added")
        def added(self, sku: str, qty: int, price: Decimal) -> None:
            self.items[sku] = self.items.get(sku, 0) + qty
            self.total += qty * price

        def add(self, sku: str, qty: int, price: Decimal) -> None:
            if self.status != "pending":
                raise ValueError("only a pending order grows")
            self.added(sku, qty, price)

        @event("Confirmed")
        def confirmed(self) -> None:
            self.status = "confirmed"

        def confirm(self) -> None:
            if self.status != "pending":
                raise ValueError("only a pending order is confirmed")
            self.confirmed()

    return PeerOrder


def peer(database: Path, snapshots: bool = False) -> Any:
    """Return an application of the peer on an SQLite file."""
    os.environ |= {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(database)}
    from eventsourcing.application import Application

    class Shop(Application):
        is_snapshotting_enabled = snapshots

    return Shop()


def one_by_one(folder: Path, orders: int) -> tuple[float, float, float, float]:
    """Return the median seconds of a durable bare insert, and of a command: ours, the peer's.

    The three take turns, so that a slow moment of the disk meets all of them.  The last figure
    is the CPU time of one of our commands.
    """
    db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute(
        "create table e(position integer primary key, id text unique, stream text,"
        " revision int, data text, unique(stream, revision))"
    )
    log = create(folder / "single")
    commands = log.commands(Order)
    app, theirs_class = peer(folder / "peer.sqlite"), peer_class()
    bare, ours, theirs, cpu = [], [], [], 0.0
    position = 0
    for number in range(orders):
        ids: list[Any] = []

        def place(ids: list[Any] = ids) -> None:
            order = theirs_class("ann")
            app.save(order)
            ids.append(order.id)

        def act(name: str, *arguments: Any, ids: list[Any] = ids) -> None:
            order = app.repository.get(ids[0])
            getattr(order, name)(*arguments)
            app.save(order)

        for command in life(number):
            values = (position, f"id-{position}", f"order-{number}", position % 5, DATA)
            position += 1
            bare.append(seconds(lambda v=values: db.execute("insert into e values (?,?,?,?,?)", v)))
            start = time.process_time()
            ours.append(seconds(lambda c=command: commands.send(c)))
            cpu += time.process_time() - start
            if isinstance(command, Place):
                theirs.append(seconds(place))
            elif isinstance(command, Add):
                sku, qty, price = command.sku, command.qty, command.price
                theirs.append(seconds(lambda a=(sku, qty, price): act("add", *a)))
            else:
                theirs.append(seconds(lambda: act("confirm")))
    db.close()
    log.close()
    median = statistics.median
    return median(bare), median(ours), median(theirs), cpu / len(ours)


def grouped(folder: Path, orders: int, rounds: int) -> tuple[float, float]:
    """Return commands a second in groups, by the clock and by CPU time: medians."""
    walls, cpus = [], []
    for number in range(rounds):
        many = [command for order in range(orders) for command in life(order)]
        with create(folder / f"grouped-{number}") as log:
            commands = log.commands(Order)
            commands.send_many(life(orders))
            start, cpu = time.perf_counter(), time.process_time()
            ended = commands.send_many(many)
            walls.append(len(many) / (time.perf_counter() - start))
            cpus.append(len(many) / (time.process_time() - cpu))
            assert all(isinstance(one, Outcome) for one in ended)
    return statistics.median(walls), statistics.median(cpus)


def loading(folder: Path, length: int) -> float:
    """Return the median seconds to load an aggregate with a snapshot, of a stream of a length."""
    frame = pa.table(
        {
            "stream": ["order-1"] * length,
            "event_type": ["Added"] * length,
            "data": [f'{{"sku":"SKU{n % 7}","qty":1,"price":"1.50"}}' for n in range(length)],
        }
    )
    with create(folder / f"long-{length}") as log:
        log.append_frame(frame)
        orders = Repository(log, Order)
        assert orders.get("1").revision == length - 1
        log.append("order-1", [Added(sku="SKU1", qty=1, price="1.50") for _ in range(50)])
        orders.get("1")
        return statistics.median(seconds(lambda: orders.get("1")) for _ in range(50))


def peer_loading(folder: Path, length: int) -> float:
    """Return the same of the peer, its snapshot as old as ours."""
    app = peer(folder / f"peer-long-{length}.sqlite", snapshots=True)
    order = peer_class()("ann")
    for _ in range(length):
        order.add("SKU1", 1, Decimal("1.50"))
    app.save(order)
    app.take_snapshot(order.id)
    for _ in range(50):
        order.add("SKU1", 1, Decimal("1.50"))
    app.save(order)
    return statistics.median(seconds(lambda: app.repository.get(order.id)) for _ in range(50))


def main() -> None:
    bench = Bench("write")
    folder = bench.folder
    bare, ours, theirs, cpu = one_by_one(folder, 300)
    what = "commands one by one, each durable"
    bench.row(
        what, 1 / ours, "/s", "bare SQLite inserts", 1 / bare, bare / ours, "≥ 0.4",
        bare / ours >= 0.4,
    )  # fmt: skip
    bench.row(
        what, 1 / ours, "/s", "eventsourcing, SQLite", 1 / theirs, theirs / ours, "≥ 1",
        theirs >= ours,
    )  # fmt: skip
    bench.row("CPU time of one command", cpu * 1e6, "µs", "none", 0, 0, "none", True)
    wall, by_cpu = grouped(folder, 2000, 5)
    what = "commands in groups"
    bench.row(what, wall, "/s", "limit", 10_000, wall / 10_000, "≥ 1", wall >= 10_000)
    bench.row(what, by_cpu, "per CPU s", "limit", 10_000, by_cpu / 10_000, "≥ 1", by_cpu >= 10_000)
    bench.row(
        what, wall, "/s", "eventsourcing, one by one", 1 / theirs, wall * theirs, "≥ 5",
        wall * theirs >= 5,
    )  # fmt: skip
    short, long = loading(folder, 1_000), loading(folder, 1_000_000)
    bench.row(
        "load with snapshot, a stream of 1,000,000 events", long * 1e3, "ms",
        "a stream of 1,000", short * 1e3, long / short, "≤ 1.5", long / short <= 1.5,
    )  # fmt: skip
    peers = peer_loading(folder, 1_000)
    bench.row(
        "load with snapshot, a stream of 1,000 events", short * 1e3, "ms",
        "eventsourcing, SQLite", peers * 1e3, short / peers, "none", True,
    )  # fmt: skip
    bench.done()


if __name__ == "__main__":
    main()
