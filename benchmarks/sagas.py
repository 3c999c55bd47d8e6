"""Sagas: steps a second of order, payment, stock, shipment; eventsourcing's processes beside.

A step is an event that is looked at, and the command that follows from it: another aggregate is
made.  All is durable at the end, ours in a log on disk, the peer's in SQLite files.  Ours also
keeps the decision before the command is sent, and its outcome after it, so that a crash repeats
nothing; the peer keeps the outcome and how far it has read in one transaction.
"""

from __future__ import annotations

import statistics
import time
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from measure import Bench

from esnb import Aggregate, Command, Event, EventLog, Saga, create, handles

ORDERS, FEWER, STEPS = 2000, 150, 3


class Placed(Event):
    amount: int


class Requested(Event):
    order_id: str
    amount: int


class Reserved(Event):
    order_id: str


class Booked(Event):
    order_id: str


class Request(Command):
    payment_id: str
    amount: int


class Reserve(Command):
    stock_id: str


class Book(Command):
    shipment_id: str


class Payment(Aggregate):
    amount: int = 0

    def when_requested(self, e: Requested) -> None:
        self.amount = e.amount

    @handles(Request, creates=True)
    def request(self, command: Request) -> Requested:
        return Requested(order_id=command.payment_id, amount=command.amount)


class Stock(Aggregate):
    def when_reserved(self, e: Reserved) -> None: ...

    @handles(Reserve, creates=True)
    def reserve(self, command: Reserve) -> Reserved:
        return Reserved(order_id=command.stock_id)


class Shipment(Aggregate):
    def when_booked(self, e: Booked) -> None: ...

    @handles(Book, creates=True)
    def book(self, command: Book) -> Booked:
        return Booked(order_id=command.shipment_id)


class Fulfilment(Saga, by="order", begins=Placed):
    amount: int = 0

    def when_placed(self, e: Placed) -> None:
        self.amount = e.amount
        self.send(Request(payment_id=self.id, amount=e.amount))

    def when_requested(self, e: Requested) -> None:
        self.send(Reserve(stock_id=self.id))

    def when_reserved(self, e: Reserved) -> None:
        self.send(Book(shipment_id=self.id))

    def when_booked(self, e: Booked) -> None:
        self.done()


def orders(first: int, count: int) -> pa.Table:
    """Return events of orders that are placed."""
    return pa.table(
        {
            "stream": [f"order-{number}" for number in range(first, first + count)],
            "event_type": ["Placed"] * count,
            "data": [f'{{"amount":{number % 90}}}' for number in range(count)],
        }
    )


def check(log: EventLog, count: int) -> None:
    """See that every order went all the way."""
    found = log.sql(
        "select count(*) from events where event_type = 'SagaEnded' or category = 'shipment'"
    )
    assert found.fetchall() == [(2 * count,)]


def catching_up(folder: Path) -> tuple[float, float]:
    """Return steps a second for orders that wait already, by the clock and by CPU time."""
    with create(folder) as log:
        log.append_frame(orders(0, ORDERS))
        sagas = log.saga(Fulfilment, log.commands(Payment, Stock, Shipment))
        began, cpu = time.perf_counter(), time.process_time()
        sagas.run()
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        check(log, ORDERS)
        return ORDERS * STEPS / wall, ORDERS * STEPS / cpu


def as_they_come(folder: Path) -> float:
    """Return steps a second for orders that come one after the other, each taken to its end."""
    with create(folder, maintain=False) as log:
        sagas = log.saga(Fulfilment, log.commands(Payment, Stock, Shipment))
        began = time.perf_counter()
        for number in range(FEWER):
            log.append(f"order-{number}", Placed(amount=number % 90))
            sagas.run()
        wall = time.perf_counter() - began
        check(log, FEWER)
        return FEWER * STEPS / wall


@cache
def peer_system() -> tuple[Any, Any, Any]:
    """Return aggregate, application and system of the peer; they may be defined once."""
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate as Theirs
    from eventsourcing.domain import event
    from eventsourcing.system import ProcessApplication, System

    class PeerOrder(Theirs):
        @event("Placed")
        def __init__(self, amount: int) -> None:
            self.amount = amount

    class PeerPayment(Theirs):
        @event("Requested")
        def __init__(self, order_id: Any, amount: int) -> None:
            self.order_id, self.amount = order_id, amount

    class PeerStock(Theirs):
        @event("Reserved")
        def __init__(self, order_id: Any) -> None:
            self.order_id = order_id

    class PeerShipment(Theirs):
        @event("Booked")
        def __init__(self, order_id: Any) -> None:
            self.order_id = order_id

    class Shop(Application):  # type: ignore[type-arg]
        pass

    class Process(ProcessApplication):  # type: ignore[type-arg]
        def policy(self, domain_event: Any, processing_event: Any) -> None:
            made: Any = None
            if isinstance(domain_event, PeerOrder.Placed):  # type: ignore[attr-defined]
                made = PeerPayment(domain_event.originator_id, domain_event.amount)
            elif isinstance(domain_event, PeerPayment.Requested):  # type: ignore[attr-defined]
                made = PeerStock(domain_event.order_id)
            elif isinstance(domain_event, PeerStock.Reserved):  # type: ignore[attr-defined]
                made = PeerShipment(domain_event.order_id)
            if made is not None:
                processing_event.collect_events(made)

    return PeerOrder, Shop, System([[Shop, Process, Process]])


def peer(folder: Path, waiting: int, coming: int) -> float:
    """Return steps a second of the peer, for orders that wait and then orders that come."""
    from eventsourcing.system import SingleThreadedRunner

    order_class, shop_class, system = peer_system()
    folder.mkdir()
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SHOP_SQLITE_DBNAME": str(folder / "shop.sqlite"),
        "PROCESS_SQLITE_DBNAME": str(folder / "process.sqlite"),
    }
    runner: Any = SingleThreadedRunner(system, env=environment)
    shop = runner.get(shop_class)
    shop.save(*(order_class(number % 90) for number in range(waiting)))
    runner.start()
    began = time.perf_counter()
    for number in range(max(1, coming)):
        shop.save(order_class(number % 90))
    wall = time.perf_counter() - began
    process = runner.apps["Process"]
    steps = (waiting + max(1, coming)) * STEPS
    assert process.recorder.max_notification_id() == steps
    runner.stop()
    return steps / wall


def main() -> None:
    bench = Bench("sagas")
    folder = bench.folder
    median = statistics.median
    ours = [catching_up(folder / f"many-{number}") for number in range(3)]
    theirs = median(peer(folder / f"peer-many-{n}", ORDERS, 0) for n in range(3))
    rate = median(wall for wall, _ in ours)
    what = f"sagas catching up, {ORDERS:,} at a time"
    bench.row(
        what, rate, "steps/s", "eventsourcing, SQLite", theirs, rate / theirs, "≥ 1",
        rate >= theirs,
    )  # fmt: skip
    by_cpu = median(cpu for _, cpu in ours)
    bench.row(what, by_cpu, "steps per CPU s", "none", 0, 0, "none", True)
    rate = median(as_they_come(folder / f"few-{number}") for number in range(3))
    theirs = median(peer(folder / f"peer-few-{n}", 0, FEWER) for n in range(3))
    bench.row(
        "sagas one by one", rate, "steps/s", "eventsourcing, SQLite", theirs, rate / theirs,
        "none", True,
    )  # fmt: skip
    bench.done()


if __name__ == "__main__":
    main()
