"""Appending: one event, bulk, four writers, against their peers in the same run."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from measure import Bench, orders, seconds

import esnb
from esnb import DomainEvent, RevisionConflictError

DATA = '{"sku":"SKU7","qty":3,"price":12.5}'


def one_by_one(folder: Path, rounds: int) -> tuple[float, float, float]:
    """Return the median seconds of one durable event: bare SQLite, ours, delta-rs.

    The three take turns, so that a slow moment of the disk meets all of them.
    """
    from deltalake import DeltaTable, write_deltalake

    db = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute(
        "create table e(position integer primary key, id text unique, stream text,"
        " revision int, data text, unique(stream, revision))"
    )
    row = pa.table({"position": [0], "stream": ["order-1"], "revision": [0], "data": [DATA]})
    write_deltalake(str(folder / "delta"), row.slice(0, 0))
    delta = DeltaTable(str(folder / "delta"))
    log = esnb.create(folder / "single")
    bare, ours, theirs = [], [], []
    for number in range(rounds):
        values = (number, f"id-{number}", f"order-{number % 100}", number // 100, DATA)
        bare.append(seconds(lambda v=values: db.execute("insert into e values (?,?,?,?,?)", v)))
        ours.append(
            seconds(lambda n=number: log.append(f"order-{n % 100}", DomainEvent("T", DATA)))
        )
        if number % 20 == 0:
            theirs.append(seconds(lambda: write_deltalake(delta, row, mode="append")))
    db.close()
    log.close()
    return statistics.median(bare), statistics.median(ours), statistics.median(theirs)


@cache
def order_class() -> Any:
    """Return an aggregate of the peer; it may be defined once."""
    from eventsourcing.domain import Aggregate, event

    class Order(Aggregate):
        @event("Placed")
        def __init__(self) -> None:
            self.total = 0

        @event("Added")
        def add(self, sku: str, qty: int, price: float) -> None:
            self.total += qty

    return Order


def eventsourcing_bulk(database: Path, orders_saved: int) -> float:
    """Save aggregates of 11 events each, one commit an aggregate, as the library does.

    Returns events a second.
    """
    os.environ |= {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": str(database),
    }
    from eventsourcing.application import Application

    Order = order_class()  # noqa: N806
    app: Application = Application()
    start = time.perf_counter()
    for _ in range(orders_saved):
        order = Order()
        for _ in range(10):
            order.add("SKU7", 3, 12.5)
        app.save(order)
    return orders_saved * 11 / (time.perf_counter() - start)


def bulk(folder: Path, rounds: int) -> tuple[float, float]:
    """Return the median events a second of our bulk append of 1 M events, and of the peer."""
    frame = orders(1_000_000)
    ours, theirs = [], []
    for number in range(rounds):
        with esnb.create(folder / f"bulk-{number}") as log:
            ours.append(1_000_000 / seconds(lambda log=log: log.append_frame(frame)))
        theirs.append(eventsourcing_bulk(folder / f"es-{number}.sqlite", 1000))
    return statistics.median(ours), statistics.median(theirs)


def writer_of_ours(folder: str, start: Any, duration: float, name: int, counts: Any) -> None:
    with esnb.open(folder, maintain=False) as log:
        done = 0
        start.wait()
        end = time.monotonic() + duration
        revision = {}
        while time.monotonic() < end:
            stream = f"hot-{done % 20}"
            expected = revision.get(stream, esnb.NO_STREAM)
            try:
                (made,) = log.append(stream, DomainEvent("T", DATA), expected_revision=expected)
                revision[stream] = made.revision
                done += 1
            except RevisionConflictError as conflict:
                revision[stream] = conflict.actual
        counts[name] = done


def writer_of_delta(folder: str, start: Any, duration: float, name: int, counts: Any) -> None:
    from deltalake import CommitProperties, DeltaTable, write_deltalake
    from deltalake.exceptions import CommitFailedError

    done = 0
    row = pa.table({"position": [0], "stream": ["order-1"], "revision": [0], "data": [DATA]})
    start.wait()
    end = time.monotonic() + duration
    while time.monotonic() < end:
        try:
            write_deltalake(
                DeltaTable(folder),
                row,
                mode="append",
                commit_properties=CommitProperties(max_commit_retries=0),
            )
            done += 1
        except CommitFailedError:
            pass
    counts[name] = done


def four_writers(work: Callable[..., None], folder: str, duration: float) -> float:
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 4)
    start = context.Barrier(4)
    processes = [
        context.Process(target=work, args=(folder, start, duration, name, counts))
        for name in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(counts) / duration


def main() -> None:
    bench = Bench("append")
    folder = bench.folder
    bare, ours, delta = one_by_one(folder, 2000)
    bench.row(
        "one durable append",
        ours * 1e3,
        "ms",
        "bare SQLite insert",
        bare * 1e3,
        ours / bare,
        "≤ 2",
        ours / bare <= 2,
    )
    bench.row(
        "one append against delta-rs",
        1 / ours,
        "/s",
        "delta-rs append",
        1 / delta,
        delta / ours,
        "≥ 10",
        delta / ours >= 10,
    )
    rate, peer = bulk(folder, 5)
    bench.row(
        "bulk append from Arrow, 1 M events",
        rate,
        "events/s",
        "eventsourcing, SQLite",
        peer,
        rate / peer,
        "≥ 50",
        rate / peer >= 50,
    )
    bench.row(
        "bulk append from Arrow, 1 M events",
        rate,
        "events/s",
        "limit",
        250_000,
        rate / 250_000,
        "≥ 1",
        rate >= 250_000,
    )
    esnb.create(folder / "four").close()
    mine = four_writers(writer_of_ours, str(folder / "four"), 5)
    from deltalake import write_deltalake

    empty = pa.table({"position": [0], "stream": ["o"], "revision": [0], "data": [DATA]}).slice(
        0, 0
    )
    write_deltalake(str(folder / "four-delta"), empty)
    theirs = four_writers(writer_of_delta, str(folder / "four-delta"), 5)
    bench.row(
        "four writers, revision checked",
        mine,
        "commits/s",
        "delta-rs, no retries",
        theirs,
        mine / theirs,
        "≥ 30",
        mine / theirs >= 30,
    )
    bench.done()


if __name__ == "__main__":
    main()
